(() => {
  const at = (id) => document.getElementById(id);
  const form = at("publish");
  const input = at("bundle");
  const button = form.querySelector("button");
  const fail = (words) => {
    at("problem").textContent = words;
    at("problem").hidden = false;
    at("progress").hidden = true;
    button.disabled = false;
    at("problem").scrollIntoView({ block: "nearest" });
  };
  const say = (words, share) => {
    at("phase").textContent = words;
    if (share === undefined) at("bar").removeAttribute("value");
    else at("bar").value = share;
  };
  const refusal = (text, status) => {
    try {
      const problem = JSON.parse(text);
      const hint = problem.hint ? ` Next: ${problem.hint}.` : "";
      const words = problem.detail ?? problem.title;
      return `${words.charAt(0).toUpperCase()}${words.slice(1)}.${hint}`;
    } catch {
      return `The store answered ${status}. Try again in a minute.`;
    }
  };
  const send = (file) =>
    new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      const visibility = form.querySelector("input[name=visibility]:checked").value;
      request.open("PUT", `/api/v1/apps?visibility=${visibility}`);
      request.setRequestHeader("accept", "application/json");
      request.setRequestHeader("content-type", "application/zip");
      request.upload.onprogress = (event) => {
        if (event.loaded < event.total) say(`Uploading: ${Math.floor((100 * event.loaded) / event.total)} %`, event.loaded / event.total);
        else say("Checking the bundle");
      };
      request.onload = () => {
        if (request.status === 202) done(JSON.parse(request.responseText));
        else failed(new Error(refusal(request.responseText, request.status)));
      };
      request.onerror = () => failed(new Error("The connection to the store broke off. Nothing was published; try again."));
      request.send(file);
    });
  const imported = async (app) => {
    while (app.state === "Importing") {
      await new Promise((later) => setTimeout(later, 700));
      const answer = await fetch(`/api/v1/apps/${app.name}`, { headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(refusal(await answer.text(), answer.status));
      app = await answer.json();
    }
    if (app.state === "Failed") throw new Error(app.message);
    return app;
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    at("problem").hidden = true;
    at("progress").hidden = false;
    button.disabled = true;
    say("Uploading", 0);
    try {
      const app = await send(input.files[0]);
      say("Importing");
      location.assign((await imported(app)).page);
    } catch (error) {
      fail(error.message);
    }
  });
  for (const kind of ["dragover", "drop"]) {
    form.addEventListener(kind, (event) => {
      event.preventDefault();
      if (kind === "drop" && event.dataTransfer.files.length === 1) input.files = event.dataTransfer.files;
    });
  }
})();
