#!/usr/bin/env python3
"""From `kubectl apply` to the first page of a Wave app, on the store of `make up`, beside venv and pip in a pod like its own.

usage: launch.py OUT CASE...

  bare      an app that requires h2o-wave alone
  data      h2o-wave, pandas and plotly
  large     about a gigabyte of packages
  at-once   twenty instances of `bare` at the same moment

Each case is measured in these ways, in turns; the page is what the app's own Python sends over the WebSocket:

  known     the environment was built when the app was imported
  volume    the environment is on the instance's volume: it was suspended and is resumed
  cold      there is none, and no index is asked before: uv installs in the pod
  pip       a pod with the same image, limits and files, which runs python -m venv, pip install, waved and uvicorn

The pods' addresses have to be in reach of this machine, as they are in a cluster of `make up`. Results go to
OUT/launch-<CASE>.json: medians of the seconds that each phase ended after, from before `kubectl apply`, and each run's own.
"""

import base64
import datetime
import io
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time
import zipfile

from instances import facts, say

PORT = int(os.environ.get("WAVESTORE_PORT", "8080"))
NAMESPACE = "wavestore"
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
AT_ONCE = 20
PATIENCE_SECONDS = 300
GREETING = "the first page"
CASES = {
    "bare": ["h2o-wave"],
    "data": ["h2o-wave", "pandas", "plotly"],
    "large": ["h2o-wave", "pandas", "plotly", "scipy", "scikit-learn", "pyarrow", "polars", "numba", "catboost", "opencv-python-headless"],
    "at-once": ["h2o-wave"],
}  # fmt: skip
# What an app of the case imports before it can answer.
IMPORTS = {"data": "import pandas, plotly", "large": "import pandas, plotly, scipy, sklearn, pyarrow"}
# Words of the launcher's log, and the phase that has ended with them.
LOGGED = [
    ("Starting", "launcher"),
    ("Fetched bundle", "bundle"),
    ("The Python environment is", "environment"),
    ("The app is ready", "registered"),
]  # fmt: skip
PIP = """
set -e
mark() { echo "$(date +%s.%N) $1"; }
mark launcher
cp /bundle/* /app/ && cd /app
python3 -m venv /resources/venv
mark venv
/resources/venv/bin/pip install --disable-pip-version-check --no-cache-dir --quiet --requirement requirements.txt
mark environment
# Or it forgets an app that does not listen yet when the first visitor comes.
(cd /resources/venv && H2O_WAVE_KEEP_APP_LIVE=1 exec ./waved -listen :10101) >/tmp/waved.log 2>&1 &
until python3 -c 'import socket; socket.create_connection(("127.0.0.1", 10101))' 2>/dev/null; do sleep 0.05; done
mark waved
H2O_WAVE_APP_ADDRESS=http://127.0.0.1:8000 H2O_WAVE_ADDRESS=http://127.0.0.1:10101 exec /resources/venv/bin/python -m uvicorn --port 8000 app:main
"""


class Failure(Exception):
    """What this measurement cannot go on without."""


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    command = ["kubectl", "--namespace", NAMESPACE, *arguments]
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode:
        raise Failure(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout


def apply(*objects: dict) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def await_condition(what: str, holds, pause: float = 0.2):
    """Asks until there is an answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if found := holds():
            return found
        if time.monotonic() > deadline:
            raise Failure(f"gave up waiting for {what}")
        time.sleep(pause)


def files(case: str) -> dict[str, str]:
    """The files of an app whose page needs everything that it requires."""
    app = f"""
from h2o_wave import Q, app, main, ui
{IMPORTS.get(case, "")}

@app("/")
async def serve(q: Q):
    q.page["it"] = ui.markdown_card(box="1 1 4 4", title="", content="{GREETING}")
    await q.page.save()
"""
    return {"app.py": app, "requirements.txt": "\n".join(CASES[case]) + "\n"}


def publish(name: str, case: str, on_volume: bool) -> None:
    """Publishes the app of a case, and waits until it is imported and its environment is built."""
    volume = 'ResourceVolumeSize = "4Gi"\n' if on_volume else ""
    toml = f'[App]\nName = "{name}"\nVersion = "1.0.0"\n[Runtime]\nModule = "app"\n{volume}'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in {"app.toml": toml, **files(case)}.items():
            archive.writestr(path, text)
    bundle = base64.b64encode(packed.getvalue()).decode()
    apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": {"app.wave": bundle}},
        {
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp", "metadata": {"name": name},
            "spec": {"bundle": {"configMapRef": {"name": name, "key": "app.wave"}}, "owner": "admin", "visibility": "AllUsers"},
        },
    )  # fmt: skip
    def built() -> bool:
        conditions = json.loads(kubectl("get", "waveapp", name, "--output=json")).get("status", {}).get("conditions", [])
        told = {condition["type"]: condition for condition in conditions}
        if told.get("EnvironmentReady", {}).get("status") == "False":
            raise Failure(told["EnvironmentReady"]["message"])
        return told.get("EnvironmentReady", {}).get("status") == "True"

    await_condition(f"the environment of {name}", built)
    say(f"{name}: imported, and its environment built")


def instance(name: str, app: str, suspended: bool = False) -> dict:
    return {
        "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance", "metadata": {"name": name},
        "spec": {"app": {"name": app, "version": "1.0.0"}, "owner": "admin", "visibility": "Public", "suspended": suspended},
    }  # fmt: skip


class Pods:
    """When pods with a label were seen in each state, by this machine's clock."""

    def __init__(self, selector: str):
        self.seen: dict[str, float] = {}
        self.address = None
        command = ["kubectl", "--namespace", NAMESPACE, "get", "pods", "--selector", selector, "--watch", "--output", "json"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        text, decoder = "", json.JSONDecoder()
        for line in self._process.stdout:
            text += line
            # An object ends with the brace of its first column.
            if line.rstrip() == "}":
                pod, _ = decoder.raw_decode(text)
                text = ""
                self._note(pod, time.time())

    def _note(self, pod: dict, now: float) -> None:
        status = pod.get("status", {})
        if "deletionTimestamp" in pod["metadata"]:
            return
        self.seen.setdefault("pod", now)
        if pod["spec"].get("nodeName"):
            self.seen.setdefault("scheduled", now)
        if any("running" in container.get("state", {}) for container in status.get("containerStatuses", [])):
            self.seen.setdefault("container", now)
            self.address = status.get("podIP", self.address)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def asks_for_page(address: tuple[str, int], host: str) -> bool:
    """Whether the app has answered a browser's first message with its page."""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall((
            f"GET /_s/ HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode())  # fmt: skip
        received = b""
        while b"\r\n\r\n" not in received:
            part = connection.recv(4096)
            if not part:
                return False
            received += part
        if not received.startswith(b"HTTP/1.1 101"):
            return False
        words, mask = b"+ / ", b"\1\2\3\4"
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(words))
        connection.sendall(bytes([0x81, 0x80 | len(words)]) + mask + masked)
        while GREETING.encode() not in received:
            part = connection.recv(65536)
            # The server says so of a page that no app is registered for.
            if not part or b"not_found" in part:
                return False
            received += part
    return True


def first_page(address: tuple[str, int], host: str) -> float:
    """When the first page came."""

    def comes() -> float | None:
        try:
            return time.time() if asks_for_page(address, host) else None
        except OSError:
            return None

    return await_condition(f"a page of {host}", comes, 0.02)


def logged(selector: str) -> dict[str, float]:
    """When the phases of a launcher ended, by its log."""
    found = {}
    for line in kubectl("logs", "--selector", selector, "--tail=-1").splitlines():
        stamp, _, words = line.partition(" ")
        for begin, phase in LOGGED:
            if words.strip().removeprefix("INFO ").strip().startswith(begin):
                at = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
                found[phase] = at.timestamp()
    return found


def launch(name: str, app: str, act) -> dict[str, float]:
    """Seconds of each phase of an instance that `act` starts."""
    selector = f"wavestore.io/instance={name}"
    pods = Pods(selector)
    started = time.time()
    act()
    page = first_page(("127.0.0.1", PORT), f"{name}.localhost:{PORT}")
    pods.end()
    return after(started, {**pods.seen, **logged(selector), "page": page})


def after(started: float, moments: dict[str, float]) -> dict[str, float]:
    return {phase: round(moment - started, 3) for phase, moment in moments.items()}


def gone(name: str) -> None:
    kubectl("delete", "waveinstance", name, "--ignore-not-found", "--wait", "--timeout=120s")
    selector = f"wavestore.io/instance={name}"
    await_condition(f"the pods of {name} to end", lambda: not kubectl("get", "pods", "--selector", selector, "--output=name"))


def known(run: str, app: str) -> dict[str, float]:
    name = f"bench-known-{run}"
    return launch(name, app, lambda: apply(instance(name, app)))


def volume(run: str, app: str) -> dict[str, float]:
    """The second start of an instance whose environment is on its volume."""
    name, on_volume = f"bench-volume-{run}", f"{app}-volume"
    launch(name, on_volume, lambda: apply(instance(name, on_volume)))
    apply(instance(name, on_volume, suspended=True))
    selector = f"wavestore.io/instance={name}"
    await_condition("its pod to end", lambda: not kubectl("get", "pods", "--selector", selector, "--output=name"))
    return launch(name, on_volume, lambda: apply(instance(name, on_volume)))


def cold(run: str, app: str) -> dict[str, float]:
    """A start whose release names no environment: the pod's launcher installs."""
    name = f"bench-cold-{run}"
    path = f"/data/blobs/envs/{environment_key(app)}"
    kubectl("exec", "deployment/wavestore-router", "--", "mv", path, f"{path}.away")
    try:
        return launch(name, app, lambda: apply(instance(name, app)))
    finally:
        kubectl("exec", "deployment/wavestore-router", "--", "mv", f"{path}.away", path)


def environment_key(app: str) -> str:
    return json.loads(kubectl("get", "waveapp", app, "--output=json"))["status"]["environment"]["key"]


def pip(run: str, app: str, case: str) -> dict[str, float]:
    """The same app in a pod of the same kind, by venv and pip."""
    name, label = f"bench-pip-{run}", {"bench": f"pip-{run}"}
    model = f"bench-model-{run}"
    # A pod as the store makes it, with another command.
    apply(instance(model, app, suspended=True))
    await_condition("its Deployment", lambda: kubectl("get", "deployments", "--selector", f"wavestore.io/instance={model}", "--output=name"))
    template = json.loads(kubectl("get", "deployment", model, "--output=json"))["spec"]["template"]
    gone(model)
    spec = template["spec"]
    container = spec["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        container.pop(probe, None)
    container["command"], container["args"] = ["/bin/sh", "-c", PIP], []
    container["volumeMounts"].append({"name": "bundle", "mountPath": "/bundle"})
    spec["volumes"].append({"name": "bundle", "configMap": {"name": name}})
    spec["restartPolicy"] = "Never"
    pods = Pods(f"bench=pip-{run}")
    try:
        apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files(case)})
        started = time.time()
        apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": label}, "spec": spec})

        def address() -> str | None:
            state = json.loads(kubectl("get", "pod", name, "--output=json"))["status"]
            if state.get("phase") in ("Failed", "Succeeded"):
                raise Failure(f"the pod of pip has ended: {kubectl('logs', name)}")
            return pods.address

        ip = await_condition("the pod's address", address)
        page = first_page((ip, 10101), f"{ip}:10101")
        marks = (line.split() for line in kubectl("logs", name).splitlines())
        moments = {mark[1]: float(mark[0]) for mark in marks if len(mark) == 2 and mark[1] in ("launcher", "venv", "environment", "waved")}
        return after(started, {**pods.seen, **moments, "page": page})
    finally:
        pods.end()


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    phases = {phase: [run[phase] for run in runs if phase in run] for phase in runs[0]}
    return {phase: round(statistics.median(values), 3) for phase, values in sorted(phases.items(), key=lambda item: statistics.median(item[1]))}


def withdraw(*names: str) -> None:
    kubectl("delete", "waveapp,configmap", *names, "--ignore-not-found", "--wait=false")


def measure_one(case: str) -> dict:
    app = f"bench-{case}"
    try:
        publish(app, case, False)
        publish(f"{app}-volume", case, True)
        return measure_ways(case, app)
    finally:
        clear(case)
        withdraw(app, f"{app}-volume")


def clear(case: str) -> None:
    """Ends everything that was started. Not earlier: for minutes after many files were deleted, ext4 makes new ones slowly."""
    for turn in range(RUNS):
        for way in ("known", "volume", "cold"):
            kubectl("delete", "waveinstance", f"bench-{way}-{case}-{turn}", "--ignore-not-found", "--wait=false")
        kubectl("delete", "pod,configmap", f"bench-pip-{case}-{turn}", "--ignore-not-found", "--wait=false")


def measure_ways(case: str, app: str) -> dict:
    ways = {
        "known": lambda run: known(run, app),
        "volume": lambda run: volume(run, app),
        "cold": lambda run: cold(run, app),
        "pip": lambda run: pip(run, app, case),
    }
    found = {way: [] for way in ways}
    for turn in range(RUNS):
        for way, measure in ways.items():
            found[way].append(measure(f"{case}-{turn}"))
            say(f"{case} {way}: a page after {found[way][-1]['page']} s")
    pages = {way: [run["page"] for run in runs] for way, runs in found.items()}
    return {
        "seconds": {way: medians(runs) for way, runs in found.items()},
        "page_seconds": pages,
        "runs": found,
        "ratio_pip": round(statistics.median(pages["pip"]) / statistics.median(pages["known"]), 2),
    }


def measure_at_once(case: str) -> dict:
    app = f"bench-{case}"
    names = [f"bench-{case}-{number:02}" for number in range(AT_ONCE)]
    pages = {}

    def wait(name: str) -> None:
        pages[name] = first_page(("127.0.0.1", PORT), f"{name}.localhost:{PORT}")

    try:
        publish(app, case, False)
        started = time.time()
        apply(*(instance(name, app) for name in names))
        threads = [threading.Thread(target=wait, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        kubectl("delete", "waveinstance", *names, "--ignore-not-found", "--wait", "--timeout=300s")
        withdraw(app)
    if len(pages) != len(names):
        raise Failure(f"{len(pages)} of {len(names)} instances have answered")
    seconds = sorted(page - started for page in pages.values())
    return {"count": AT_ONCE, "seconds": {"first": round(seconds[0], 1), "median": round(statistics.median(seconds), 1), "last": round(seconds[-1], 1)}}


def main() -> int:
    if len(sys.argv) < 3 or not set(sys.argv[2:]) <= set(CASES):
        print(__doc__, file=sys.stderr)
        return 2
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    try:
        for case in sys.argv[2:]:
            result = {"case": case, **facts(), **(measure_at_once(case) if case == "at-once" else measure_one(case))}
            text = json.dumps(result, indent=2)
            (out / f"launch-{case}.json").write_text(text + "\n")
            print(text)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
