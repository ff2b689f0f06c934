(() => {
  const place = document.currentScript;
  const rows = document.querySelectorAll("[data-instance]");
  const stale = document.getElementById("stale");
  const set = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };
  // What its switch does follows what was asked for last, here or elsewhere.
  const turn = (row, suspended) => {
    const wanted = row.querySelector("input[name=suspended]");
    if (!wanted) return;
    wanted.value = String(!suspended);
    const button = wanted.form.querySelector("button");
    set(button, suspended ? "Resume" : "Suspend");
    button.setAttribute("aria-label", `${button.textContent} ${row.dataset.instance}`);
  };
  // When it will be deleted, and what can be done about that, follow who asks for it or takes it back, here or elsewhere.
  const part = (row, at) => {
    const notice = row.querySelector(".deletion");
    if (!notice) return;
    notice.hidden = !at;
    const time = notice.querySelector("time");
    if (at && time.dateTime !== at) {
      time.dateTime = at;
      set(time, new Date(at).toLocaleString());
    }
    for (const form of row.querySelectorAll(".undo")) form.hidden = !at;
  };
  const show = (row, now) => {
    const pill = row.querySelector(".pill");
    set(pill, now ? now.state : "Gone");
    pill.classList.toggle("good", Boolean(now?.ready));
    pill.classList.toggle("bad", Boolean(now?.failing));
    const detail = row.querySelector(".detail");
    set(detail, now?.detail ?? "");
    detail.hidden = !now?.detail;
    detail.classList.toggle("bad", Boolean(now?.failing));
    part(row, now?.deleteAfter);
    if (now) turn(row, now.suspended);
  };
  let failures = 0;
  const look = async () => {
    if (document.hidden) return;
    try {
      const states = new Map();
      const last = rows[rows.length - 1].dataset.instance;
      for (let next = place.dataset.states; next; ) {
        const answer = await fetch(next, { headers: { accept: "application/json" } });
        if (!answer.ok) throw new Error(answer.status);
        const page = await answer.json();
        for (const instance of page.items) states.set(instance.name, instance);
        // They come by name, as the rows do.
        next = page.items.some((instance) => instance.name >= last) ? null : page.next;
      }
      for (const row of rows) show(row, states.get(row.dataset.instance));
      failures = 0;
    } catch {
      failures += 1;
    }
    stale.hidden = failures < 3;
  };
  if (rows.length > 0) setInterval(look, 3000);
  document.addEventListener("visibilitychange", look);
})();
