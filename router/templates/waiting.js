(() => {
  const element = (id) => document.getElementById(id);
  const show = (id, text) => {
    if (element(id).textContent !== (text ?? "")) element(id).textContent = text ?? "";
    element(id).hidden = !text;
  };
  const go = () => location.replace(location.href);
  const phases = new EventSource(document.currentScript.dataset.phases);
  phases.onmessage = (event) => {
    const now = JSON.parse(event.data);
    show("title", now.title);
    show("phase", now.phase);
    show("detail", now.detail);
    show("log", now.log);
    element("logged").hidden = !now.log;
    element("detail").classList.toggle("bad", now.failing);
  };
  phases.addEventListener("ready", () => {
    phases.close();
    go();
  });
  // The browser asks again by itself, unless it was refused: signed out, busy, or the app is gone. The page itself says which.
  phases.onerror = () => {
    if (phases.readyState === EventSource.CLOSED) setTimeout(go, 3000);
  };
})();
