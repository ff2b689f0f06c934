(() => {
  const phase = document.getElementById("phase");
  const message = document.getElementById("message");
  const show = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
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
      const state = await answer.json();
      show(phase, state.phase);
      show(message, state.detail ?? "");
      message.hidden = !state.detail;
    } catch {
      // The network may be away for a moment.
    }
    setTimeout(ask, 1000);
  };
  setTimeout(ask, 1000);
})();
