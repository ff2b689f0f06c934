(() => {
  const element = (id) => document.getElementById(id);
  const show = (id, text) => {
    if (element(id).textContent !== text) element(id).textContent = text;
  };
  const ask = async () => {
    try {
      const answer = await fetch(location.href, {
        headers: { accept: "application/json" },
        cache: "no-store",
        redirect: "manual",
      });
      if (answer.headers.get("x-wavestore-error") !== "NotReady") {
        answer.body?.cancel();
        location.reload();
        return;
      }
      const now = await answer.json();
      show("title", now.title);
      show("phase", now.phase);
      show("detail", now.detail ?? "");
      element("detail").hidden = !now.detail;
      element("detail").classList.toggle("bad", now.failing);
    } catch {
      // The network may be away for a moment.
    }
    setTimeout(ask, 1000);
  };
  setTimeout(ask, 1000);
})();
