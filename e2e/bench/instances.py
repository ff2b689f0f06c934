#!/usr/bin/env python3
"""What thousands of instances cost the operator, on a control plane of its own without nodes.

usage: instances.py OPERATOR OUT FLUX COUNT...

OPERATOR is the program, OUT the folder of the results. For COUNTs up to 1000: all instances are applied at once;
how long until every release is deployed and every status says so; then all are deleted. FLUX is the folder of Flux's
helm-controller and its CRDs, which then does the same on another control plane; `-` for none. For 10000 and more: the
objects are written as Helm would have left them; how soon the operator has caught up with them, what it costs
when nothing happens, and how fast it acts on one change among them.
"""

import base64
import collections
import gzip
import json
import os
import pathlib
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import flux
from control_plane import ControlPlane, Failure, await_condition, cpu_seconds, free_ports, rss_mib, run

REPOSITORY = pathlib.Path(__file__).parents[2]
CHART = REPOSITORY / "config/wave-instance"
NAMESPACE = "bench"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:wavestore-operator"
INSTANCES = f"/apis/wavestore.io/v1alpha1/namespaces/{NAMESPACE}/waveinstances"
APPS = f"/apis/wavestore.io/v1alpha1/namespaces/{NAMESPACE}/waveapps"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
DEPLOYED = {"labelSelector": "owner=helm,status=deployed"}
# From this count on the instances are there already, and none is installed.
EXISTING_FROM = 10000
CHANGES = 100
IDLE_SECONDS = 60
REST_SECONDS = 3
# The first operator's requests come in waves.
FIRST_REST_SECONDS = 10
# What an operator may ask that has nothing to compare; most of it are lists.
REQUESTS_TO_CATCH_UP = 500
REST_LOG_BYTES = 8192
WRITERS = 8
HELM_SECONDS_EACH = 3
FIRST_SECONDS = 1800
AGAIN_SECONDS = 300


def say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr, flush=True)


class Operator:
    """The operator as a process of this machine, with the rights that the store's chart gives it."""

    def __init__(self, plane: ControlPlane, program: pathlib.Path):
        self._plane = plane
        self._program = program
        self._kubeconfig = plane.folder / "operator.kubeconfig"
        self._process = None
        (self._port,) = free_ports(1)

    def start(self) -> float:
        """Starts it; returns when."""
        data = self._plane.folder / "data"
        (data / "imports").mkdir(parents=True, exist_ok=True)
        helm = run("sh", "-c", "command -v helm").strip()
        run(str(self._program.with_name("wavestore-router")), "migrate", "--database-url", f"sqlite://{data}/catalog.db")
        started = time.monotonic()
        self._process = self._plane.start(
            str(self._program), "--namespace", NAMESPACE, "--database-url", f"sqlite://{data}/catalog.db",
            "--blobs", f"file://{data}/blobs", "--import-dir", f"{data}/imports", "--helm", helm,
            "--chart", str(CHART), "--instance-image", "wavestore/instance:bench",
            "--health-port", str(self._port),
            environment={"PATH": os.environ["PATH"], "HOME": str(data), "KUBECONFIG": str(self._kubeconfig)},
        )  # fmt: skip
        return started

    def await_ready(self) -> None:
        await_condition(120, "the operator to be ready", lambda: self._probe("/readyz") == 200, self._process)

    def prepare(self) -> None:
        """Makes its account, rights and policy."""
        plane = self._plane
        rendered = run(
            "helm", "template", "wavestore", str(REPOSITORY / "config/wavestore"), "--namespace", NAMESPACE,
            "--show-only", "templates/operator.yaml", "--show-only", "templates/policy.yaml",
        )  # fmt: skip
        wanted = [part for part in rendered.split("\n---\n") if not re.search(r"^kind: (Deployment|PodDisruptionBudget)$", part, re.M)]
        plane.kubectl("apply", "--namespace", NAMESPACE, "--filename", "-", stdin="\n---\n".join(wanted))
        token = plane.kubectl("--namespace", NAMESPACE, "create", "token", "wavestore-operator", "--duration", "24h")
        plane.write_kubeconfig(self._kubeconfig, token.strip())

    def stop(self) -> None:
        self._plane.stop(self._process)

    def cpu_seconds(self) -> float:
        """CPU time of the operator itself."""
        return cpu_seconds(self._process)[0]

    def helm_cpu_seconds(self) -> float:
        """CPU time of the children that have ended: every one is a Helm."""
        return cpu_seconds(self._process)[1]

    def rss_mib(self, peak: bool) -> float:
        """Resident memory, now or at its most."""
        return rss_mib(self._process, peak)

    def _probe(self, path: str) -> int:
        answer = subprocess.run(
            ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "5", f"http://127.0.0.1:{self._port}{path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return int(answer.stdout or 0)


def manifest(name: str) -> dict:
    return {
        "apiVersion": "wavestore.io/v1alpha1",
        "kind": "WaveInstance",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"app": {"name": "hello", "version": "1.0.0"}, "owner": "alice", "visibility": "Private"},
    }


def collection_version(plane: ControlPlane, path: str) -> str:
    """From where a watch of `path` shows what comes next."""
    return plane.client().request("GET", f"{path}?limit=1")["metadata"]["resourceVersion"]


class Watcher:
    """Follows a watch in a thread, and lets others wait for what it shows."""

    def __init__(self, plane: ControlPlane, path: str, on_event, query=None, metadata_only=False):
        version = collection_version(plane, path)
        self._events = plane.client().watch(path, {"resourceVersion": version, **(query or {})}, metadata_only)
        self._on_event = on_event
        self.changed = threading.Condition()
        self.failure = None
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        try:
            for event in self._events:
                with self.changed:
                    self._on_event(event, time.monotonic())
                    self.changed.notify_all()
        except (OSError, Failure) as failure:
            with self.changed:
                self.failure = failure
                self.changed.notify_all()

    def await_true(self, holds, seconds: float, progress=None) -> None:
        deadline = time.monotonic() + seconds
        with self.changed:
            while not holds():
                if self.failure is not None:
                    raise Failure(f"a watch has ended: {self.failure}")
                if time.monotonic() > deadline:
                    raise Failure(f"gave up after {seconds:.0f} s" + (f": {progress()}" if progress else ""))
                self.changed.wait(1)


def deployed(item: dict) -> bool:
    """Does an instance's status say that its release is deployed?"""
    status = item.get("status", {})
    told = status.get("observedGeneration") == item["metadata"]["generation"] or "release" in status
    return told and status.get("release", {}).get("status") == "deployed"


class Progress:
    """What a watch has shown of the objects of one run, each of which is a release."""

    def __init__(self, count: int, is_deployed):
        self.count, self._is_deployed = count, is_deployed
        self.deployed, self.gone = {}, {}
        self._said = time.monotonic()

    def on_event(self, event: dict, now: float) -> None:
        item = event["object"]
        if event["type"] == "BOOKMARK":
            return
        name = item["metadata"]["name"]
        if event["type"] == "DELETED":
            self.gone[name] = now
        elif self._is_deployed(item):
            self.deployed.setdefault(name, now)
        if now - self._said > 10:
            self._said = now
            say(self.words())

    def words(self) -> str:
        return f"{len(self.deployed)} of {self.count} deployed, {len(self.gone)} gone"


def facts() -> dict:
    """What a figure means nothing without."""
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    dirty = run("git", "-C", str(REPOSITORY), "status", "--porcelain").strip()
    return {
        "commit": run("git", "-C", str(REPOSITORY), "rev-parse", "HEAD").strip() + ("-dirty" if dirty else ""),
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cores": os.cpu_count(),
            "processor": model[1] if model else platform.machine(),
            "kernel": platform.release(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "helm": run("helm", "version", "--template", "{{.Version}}"),
        "kubernetes": run("kube-apiserver", "--version").split()[-1],
    }


def publish_app(plane: ControlPlane, operator: Operator) -> None:
    """Publishes the sample app, and waits until it is imported."""
    bundle = plane.folder / "hello.wave"
    run(sys.executable, str(REPOSITORY / "e2e/apps/pack.py"), str(REPOSITORY / "e2e/apps/hello"), str(bundle))
    client = plane.client()
    client.request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", {
        "metadata": {"name": "bundle-hello"},
        "binaryData": {"app.wave": base64.b64encode(bundle.read_bytes()).decode()},
    })  # fmt: skip
    client.request("POST", APPS, {
        "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp", "metadata": {"name": "hello"},
        "spec": {"bundle": {"configMapRef": {"name": "bundle-hello", "key": "app.wave"}}, "owner": "admin", "visibility": "AllUsers"},
    })  # fmt: skip

    def imported() -> bool:
        operator.cpu_seconds()
        return "runtime" in client.request("GET", f"{APPS}/hello").get("status", {})

    await_condition(60, "the sample app to be imported", imported)


def install_crds(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("apply", "--filename", str(REPOSITORY / "config/crd"))
    plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinition", "--all")


def prepare(plane: ControlPlane, program: pathlib.Path) -> Operator:
    """A namespace with the CRDs, the operator at work, and the sample app."""
    install_crds(plane)
    operator = Operator(plane, program)
    operator.prepare()
    operator.start()
    operator.await_ready()
    publish_app(plane, operator)
    return operator


def requests(plane: ControlPlane) -> collections.Counter:
    """Requests so far, by who asked, Helm or the operator itself, and what for."""
    time.sleep(2)  # the audit log is written in batches
    count = collections.Counter()
    for (agent, what), times in plane.requests(ACCOUNT).items():
        count["helm" if agent == "Helm" else "operator", what] += times
    return count


def asked_by(asked: collections.Counter) -> dict:
    """How much Helm has asked, and how much the operator itself, in all and by what."""
    result = {}
    for who in ("helm", "operator"):
        by_what = {what: times for (asker, what), times in asked.most_common() if asker == who}
        result[who] = {"all": sum(by_what.values()), **by_what}
    return result


def since(after: dict, before: dict) -> dict:
    return {name: after[name] - before[name] for name in after}


class AtOnce:
    """Many objects, each of which becomes a release: applied at once, then deleted at once."""

    def __init__(self, plane: ControlPlane, path: str, manifests: list[dict], is_deployed):
        self._plane, self._path, self._manifests = plane, path, manifests
        self._progress = Progress(len(manifests), is_deployed)
        self._watcher = Watcher(plane, path, self._progress.on_event)
        self._patience = 60 + HELM_SECONDS_EACH * len(manifests)

    def apply(self) -> dict:
        """How long until every status says that its release is deployed; checks that all objects are there."""
        progress = self._progress
        cpu_before, start = self._plane.cpu_seconds(), time.monotonic()
        apply_all(self._plane, self._path, self._manifests)
        result = {"apply_seconds": round(time.monotonic() - start, 1)}
        self._watcher.await_true(lambda: len(progress.deployed) == progress.count, self._patience, progress.words)
        result["seconds"] = round(max(progress.deployed.values()) - start, 1)
        result["cpu_seconds_by"] = {name: round(value, 1) for name, value in since(self._plane.cpu_seconds(), cpu_before).items()}
        check_releases(self._plane, [item["metadata"]["name"] for item in self._manifests])
        return result

    def delete(self) -> dict:
        """How long until all are gone; checks that no release is left."""
        progress = self._progress
        manifests = self._plane.folder / "manifests.json"
        manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": self._manifests}))
        start = time.monotonic()
        self._plane.kubectl("delete", "--namespace", NAMESPACE, "--wait=false", "--filename", str(manifests))
        self._watcher.await_true(lambda: len(progress.gone) == progress.count, self._patience, progress.words)
        left = self._plane.client().request("GET", f"{SECRETS}?labelSelector=owner%3Dhelm&limit=1")["items"]
        if left:
            raise Failure(f"deleted, but {left[0]['metadata']['name']} is left")
        return {"delete_seconds": round(max(progress.gone.values()) - start, 1)}


def applied_at_once(program: pathlib.Path, count: int, peer: pathlib.Path | None) -> dict:
    """All instances are applied at once; then all are deleted. Then the peer does the same."""
    names = [f"bench-{number:05}" for number in range(count)]
    with ControlPlane() as plane:
        result = {"count": count, **facts()}
        plane.start_controllers()
        operator = prepare(plane, program)
        run_of = AtOnce(plane, INSTANCES, [manifest(name) for name in names], deployed)
        requests_before, helm_before = requests(plane), operator.helm_cpu_seconds()

        say(f"{count} instances are applied at once")
        result |= run_of.apply()
        result["helm_cpu_seconds"] = round(operator.helm_cpu_seconds() - helm_before, 1)
        asked = requests(plane) - requests_before
        result["api_requests"] = asked.total()
        result["api_requests_by"] = asked_by(asked)
        say(f"deployed after {result['seconds']} s; all are deleted")
        values = values_of(plane, names[0])

        helm_before = operator.helm_cpu_seconds()
        requests_before = requests(plane)
        result |= run_of.delete()
        result["delete_helm_cpu_seconds"] = round(operator.helm_cpu_seconds() - helm_before, 1)
        result["delete_api_requests"] = (requests(plane) - requests_before).total()
        result["operator_rss_mib"] = operator.rss_mib(peak=True)
    if peer is not None:
        result["peers"] = {"flux": flux_at_once(peer, names, values)}
        result["ratio_flux"] = round(result["seconds"] / result["peers"]["flux"]["seconds"], 2)
    return result


def flux_at_once(folder: pathlib.Path, names: list[str], values: dict) -> dict:
    """The same releases by Flux's helm-controller, on a control plane of its own."""
    with ControlPlane() as plane:
        plane.start_controllers()
        install_crds(plane)
        with flux.HelmController(plane, folder, NAMESPACE, CHART) as controller:
            result = controller.facts()
            manifests = [flux.manifest(name, NAMESPACE, values) for name in names]
            run_of = AtOnce(plane, flux.resource(NAMESPACE), manifests, flux.deployed)
            requests_before = flux_requests(plane)
            say(f"{len(names)} HelmReleases are applied at once")
            result |= run_of.apply()
            result["api_requests"] = flux_requests(plane) - requests_before
            say(f"deployed after {result['seconds']} s; all are deleted")
            result |= run_of.delete()
            result["rss_mib"] = rss_mib(controller.process, peak=True)
            return result


def flux_requests(plane: ControlPlane) -> int:
    time.sleep(2)  # the audit log is written in batches
    return plane.requests(f"system:serviceaccount:{NAMESPACE}:{flux.ACCOUNT}").total()


def values_of(plane: ControlPlane, name: str) -> dict:
    """What the operator gave to Helm for one instance: nothing in it is the instance's own."""
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
    return json.loads(run("helm", "get", "values", name, "--namespace", NAMESPACE, "--output", "json", env=environment))


def check_releases(plane: ControlPlane, names: list[str]) -> None:
    """Every instance has its release, at the first revision, and its objects."""
    deployed = plane.kubectl("get", "secrets", "--namespace", NAMESPACE, "--selector", "owner=helm,status=deployed", "--output", "name")
    wanted = {f"secret/sh.helm.release.v1.{name}.v1" for name in names}
    if set(deployed.split()) != wanted:
        raise Failure(f"the releases differ from the instances: {sorted(set(deployed.split()) ^ wanted)[:5]}")
    for kind in ("deployments", "services"):
        found = plane.kubectl("get", kind, "--namespace", NAMESPACE, "--output", "name").split()
        if len(found) != len(names):
            raise Failure(f"{len(found)} {kind} for {len(names)} instances")


def apply_all(plane: ControlPlane, path: str, manifests: list[dict]) -> None:
    """Applies all objects, by some clients at once."""

    def apply(part: int) -> None:
        client = plane.client()
        for item in manifests[part::WRITERS]:
            client.request("PATCH", f"{path}/{item['metadata']['name']}?fieldManager=bench", item, "application/apply-patch+yaml")

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(apply, range(WRITERS)))


class Seed:
    """One instance's objects, as the operator and Helm left them, and copies of them under other names."""

    NAME = "seed-00000"

    def __init__(self, client):
        self._instance = client.request("GET", f"{INSTANCES}/{self.NAME}")
        self._deployment = client.request("GET", f"{DEPLOYMENTS}/{self.NAME}")
        self._service = client.request("GET", f"{SERVICES}/{self.NAME}")
        self._secret = client.request("GET", f"{SECRETS}/sh.helm.release.v1.{self.NAME}.v1")
        packed = base64.b64decode(base64.b64decode(self._secret["data"]["release"]))
        self._record = gzip.decompress(packed).decode()
        # The API server needs most of a second to find an address for each of thousands of Services.
        del self._service["spec"]["clusterIPs"]
        self._service["spec"]["clusterIP"] = "None"

    def _renamed(self, item: dict, name: str) -> dict:
        copy = json.loads(json.dumps(item).replace(self.NAME, name))
        for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
            copy["metadata"].pop(field, None)
        return copy

    def write(self, client, name: str) -> None:
        """Writes all objects of one instance."""
        client.request("POST", SERVICES, self._renamed(self._service, name))
        client.request("POST", DEPLOYMENTS, self._renamed(self._deployment, name))
        secret = self._renamed(self._secret, name)
        packed = gzip.compress(self._record.replace(self.NAME, name).encode(), 9)
        secret["data"]["release"] = base64.b64encode(base64.b64encode(packed)).decode()
        client.request("POST", SECRETS, secret)
        instance = self._renamed(self._instance, name)
        made = client.request("POST", INSTANCES, instance)
        made["status"] = instance["status"]
        client.request("PUT", f"{INSTANCES}/{name}/status", made)


def write_all(plane: ControlPlane, names: list[str]) -> None:
    """Writes the objects of all instances, by some processes at once."""
    children = []
    for part in range(WRITERS):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                client = plane.client()
                seed = Seed(client)
                for number, name in enumerate(names[part::WRITERS]):
                    seed.write(client, name)
                    if part == 0 and number % 500 == 499:
                        say(f"about {(number + 1) * WRITERS} of {len(names)} are written")
                code = 0
            except Exception as failure:  # noqa: BLE001 - it ends the process
                say(f"a writer has failed: {failure}")
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise Failure("not all objects could be written")


def caught_up_after(plane: ControlPlane, operator: Operator, started: float, patience: float, rest: float = REST_SECONDS) -> tuple[float, float]:
    """Seconds until it is ready, and until it rests: the first of so many seconds with hardly any CPU time and requests."""
    operator.await_ready()
    ready = time.monotonic() - started
    samples = []
    while time.monotonic() - started < patience:
        now = time.monotonic()
        samples.append((now, operator.cpu_seconds(), plane.audit_log.stat().st_size))
        then = next((sample for sample in reversed(samples) if sample[0] <= now - rest), None)
        if then is not None:
            core = (samples[-1][1] - then[1]) / (now - then[0])
            # A request is half a kilobyte and more in the log.
            if core <= 0.1 and samples[-1][2] - then[2] <= REST_LOG_BYTES:
                return ready, then[0] - started
        time.sleep(0.1)
    raise Failure(f"the operator does not come to rest within {patience:.0f} s")


def change_seconds(plane: ControlPlane, names: list[str]) -> list[float]:
    """Seconds from an edit of one instance to its deployed revision, for some of them, one after the other."""
    deployed = {}

    def on_event(event: dict, now: float) -> None:
        labels = event["object"]["metadata"].get("labels", {})
        if event["type"] in ("ADDED", "MODIFIED"):
            deployed.setdefault((labels["name"], labels["version"]), now)

    watcher = Watcher(plane, SECRETS, on_event, DEPLOYED, metadata_only=True)
    client = plane.client()
    seconds = []
    for name in random.Random(4).sample(names, CHANGES):
        start = time.monotonic()
        client.request("PATCH", f"{INSTANCES}/{name}", {"spec": {"visibility": "AllUsers"}}, "application/merge-patch+json")
        watcher.await_true(lambda name=name: (name, "2") in deployed, 60)
        seconds.append(deployed[name, "2"] - start)
    return seconds


def existing(program: pathlib.Path, count: int) -> dict:
    """The instances are there; none of them is installed by Helm but the one that all are copies of."""
    with ControlPlane() as plane:
        result = {"count": count, **facts()}
        operator = prepare(plane, program)
        client = plane.client()
        client.request("POST", INSTANCES, manifest(Seed.NAME))

        def seeded() -> bool:
            operator.cpu_seconds()
            status = client.request("GET", f"{INSTANCES}/{Seed.NAME}").get("status", {})
            return status.get("release", {}).get("status") == "deployed"

        await_condition(60, "the instance that all are copies of", seeded)
        time.sleep(3)  # it may still be judged anew
        operator.stop()
        names = [f"copy-{number:05}" for number in range(count)]
        say(f"the objects of {count} instances are written")
        write_all(plane, names)
        say("a first operator compares every copy with its release")
        caught_up_after(plane, operator, operator.start(), FIRST_SECONDS, FIRST_REST_SECONDS)
        operator.stop()

        say("a second operator starts")
        requests_before = requests(plane)
        started = operator.start()
        ready, caught_up = caught_up_after(plane, operator, started, AGAIN_SECONDS)
        result["ready_seconds"], result["seconds"] = round(ready, 1), round(caught_up, 1)
        result["caught_up_cpu_seconds"] = round(operator.cpu_seconds(), 1)
        # Helm's version was asked for.
        result["helm_cpu_seconds"] = round(operator.helm_cpu_seconds(), 1)
        asked = asked_by(requests(plane) - requests_before)
        helm, own = asked["helm"]["all"], asked["operator"]["all"]
        result["api_requests"], result["api_requests_by"] = helm + own, asked
        say(f"caught up after {result['seconds']} s with {result['api_requests']} requests; idle for {IDLE_SECONDS} s")
        if helm:
            raise Failure(f"Helm ran: {helm} requests, though nothing had changed")
        if own > REQUESTS_TO_CATCH_UP:
            raise Failure(f"the operator compared again what another one had compared: {own} requests")

        asked_so_far = requests(plane)
        before, start = operator.cpu_seconds(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        result["idle_cpu_percent"] = round(100 * (operator.cpu_seconds() - before) / (time.monotonic() - start), 2)
        result["idle_rss_mib"] = operator.rss_mib(peak=False)
        asked = requests(plane) - asked_so_far
        result["idle_api_requests"] = asked.total()
        say(f"idle: {result['idle_cpu_percent']} % of a core; {CHANGES} are changed")
        seconds = sorted(change_seconds(plane, names))
        result["change_p50_seconds"] = round(statistics.median(seconds), 3)
        result["change_p99_seconds"] = round(seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))], 3)
        result["operator_rss_mib"] = operator.rss_mib(peak=True)
        return result


def main() -> int:
    if len(sys.argv) < 5:
        print(__doc__, file=sys.stderr)
        return 2
    program, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    peer = None if sys.argv[3] == "-" else pathlib.Path(sys.argv[3]).resolve()
    # As Ctrl-C does: everything that was started ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out.mkdir(parents=True, exist_ok=True)
    for count in map(int, sys.argv[4:]):
        try:
            result = existing(program, count) if count >= EXISTING_FROM else applied_at_once(program, count, peer)
        except Failure as failure:
            print(f"error: {failure}", file=sys.stderr)
            return 1
        text = json.dumps(result, indent=2)
        (out / f"operator-{count}.json").write_text(text + "\n")
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
