(() => {
  const place = document.currentScript;
  const lines = document.getElementById("log");
  const MOST = 2000;
  const show = (text) => {
    const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 4;
    // Colours and other orders to a terminal mean nothing here.
    const plain = text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "").replace(/\r/g, "");
    const all = (lines.textContent + plain).split("\n");
    lines.textContent = all.slice(-MOST).join("\n");
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  };
  const follow = async () => {
    const answer = await fetch(place.dataset.log, { headers: { accept: "text/plain" } });
    if (!answer.ok) return;
    lines.textContent = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      show(value);
    }
  };
  // What was there when the page was made stays when it cannot be followed.
  follow().catch(() => {});
})();
