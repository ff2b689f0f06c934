"""A Kubernetes control plane of its own for one measurement: etcd and the API server, and what else is asked for, but no node.

The binaries are those of `make cluster`, on PATH. Everything ends and goes with the `with` block.
"""

import base64
import collections
import contextlib
import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse

START_SECONDS = 60
REQUEST_SECONDS = 60


class Failure(Exception):
    """What kept a measurement from being made."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def run(*command: str, stdin: str | None = None, **options) -> str:
    """The output of a command that has to succeed."""
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command[:4])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def await_condition(seconds: float, what: str, holds, alive=None) -> None:
    """Waits until `holds()`, as long as the process `alive` lives."""
    deadline = time.monotonic() + seconds
    while not holds():
        if alive is not None and alive.poll() is not None:
            raise Failure(f"{alive.args[0]} has ended while waiting for {what}; its log: {alive.log}")
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


def cpu_seconds(process: subprocess.Popen) -> tuple[float, float]:
    """CPU time so far of a process that lives, and of its children that have ended."""
    if process.poll() is not None:
        words = "\n".join(process.log.read_text().splitlines()[-10:])
        raise Failure(f"{pathlib.Path(process.args[0]).name} has ended; its last words:\n{words}")
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, (int(fields[13]) + int(fields[14])) / ticks


def rss_mib(process: subprocess.Popen, peak: bool) -> float:
    """Resident memory of a process, now or at its most."""
    name = "VmHWM" if peak else "VmRSS"
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return round(int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1024, 1)


class Client:
    """One connection to the API server, for one thread."""

    def __init__(self, server: str, token: str, authority: pathlib.Path):
        self._address = urllib.parse.urlsplit(server).netloc
        self._context = ssl.create_default_context(cafile=authority)
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "bench", "Accept": "application/json"}
        self._connection = None

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self._address, context=self._context, timeout=timeout)
        connection.connect()
        # Headers and body are two writes: Nagle's algorithm would wait for an acknowledgement in between.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def request(self, method: str, path: str, body=None, content_type="application/json", accept=None) -> dict:
        """The answer to one request; raises `Failure` for every other status than 2xx."""
        if self._connection is None:
            self._connection = self._connect(REQUEST_SECONDS)
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = content_type
            body = json.dumps(body)
        if accept is not None:
            headers["Accept"] = accept
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self._connection = None
            raise
        if response.status >= 300:
            raise Failure(f"{method} {path}: {response.status} {text[:500].decode()}")
        return json.loads(text) if text.startswith(b"{") else {"text": text.decode()}

    def watch(self, path: str, query: dict, metadata_only=False):
        """The events of a watch from the resourceVersion in `query` on, without end."""
        connection = self._connect(None)
        headers = dict(self._headers)
        if metadata_only:
            headers["Accept"] = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        query = {**query, "watch": "true", "timeoutSeconds": "3600"}
        connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}", None, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise Failure(f"watch of {path}: {response.status} {response.read(500).decode()}")
        for line in response:
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise Failure(f"watch of {path}: {event['object'].get('message')}")
            yield event


class ControlPlane:
    """etcd and an API server on the loopback, with an audit log of what service accounts ask."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wavestore-bench-"))
        self._processes = []
        self.token = secrets.token_urlsafe(24)
        etcd, peer, api = free_ports(3)
        self._etcd, self._peer = (f"http://127.0.0.1:{port}" for port in (etcd, peer))
        self._port = api
        self.server = f"https://127.0.0.1:{api}"
        self.authority = self.folder / "ca.crt"
        self.audit_log = self.folder / "audit.log"
        self.kubeconfig = self.folder / "kubeconfig"

    def __enter__(self):
        try:
            self._certificates()
            self._audit_policy()
            self.write_kubeconfig(self.kubeconfig, self.token)
            self._start_etcd()
            self._start_api_server()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        for process in reversed(self._processes):
            self.stop(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self) -> Client:
        return Client(self.server, self.token, self.authority)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        return run("kubectl", *arguments, stdin=stdin, env=environment)

    def start(self, name: str, *arguments: str, environment=None, cwd=None) -> subprocess.Popen:
        """Starts a program that ends with the block; its words go to `<folder>/<name>.log`."""
        log = self.folder / f"{pathlib.Path(name).name}.log"
        with log.open("ab") as words:
            # A group of its own: Ctrl-C reaches us alone, and we end it in order.
            process = subprocess.Popen(
                [name, *arguments], stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                env=environment, cwd=cwd, start_new_session=True,
            )
        process.log, process.environment = log, environment
        self._processes.append(process)
        return process

    def stop(self, process: subprocess.Popen, patience: float = 70) -> None:
        """Ends a program that `start` has started."""
        if process in self._processes:
            self._processes.remove(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def write_kubeconfig(self, path: pathlib.Path, token: str) -> None:
        authority = base64.b64encode(self.authority.read_bytes()).decode()
        path.touch(mode=0o600)
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "clusters": [{"name": "bench", "cluster": {"server": self.server, "certificate-authority-data": authority}}],
            "users": [{"name": "bench", "user": {"token": token}}],
        }))

    def start_controllers(self) -> None:
        """Starts the controller manager and a scheduler: pods come into being, and find no node."""
        keys = ["--service-account-private-key-file", str(self.folder / "accounts.key"), "--root-ca-file", str(self.authority)]
        common = ["--kubeconfig", str(self.kubeconfig), "--leader-elect=false", "--secure-port", "0", "--kube-api-qps", "100", "--kube-api-burst", "200"]
        self.start("kube-controller-manager", *common, *keys, "--use-service-account-credentials")
        self.start("kube-scheduler", *common)

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far of everything that was started, by program; children not counted."""
        return {pathlib.Path(process.args[0]).name: cpu_seconds(process)[0] for process in self._processes}

    def requests(self, user: str) -> collections.Counter:
        """How many requests `user` has made so far, by the first part of the user agent and what was asked: `Helm`, `get secrets`."""
        count = collections.Counter()
        with self.audit_log.open() as lines:
            for line in lines:
                event = json.loads(line)
                if event["user"]["username"] == user:
                    agent = event.get("userAgent", "none").split("/")[0]
                    of = event.get("objectRef")
                    subject = "/".join(filter(None, [of["resource"], of.get("subresource")])) if of else event["requestURI"].split("?")[0]
                    count[agent, f"{event['verb']} {subject}"] += 1
        return count

    def _certificates(self) -> None:
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        authority_key, request = self.folder / "ca.key", self.folder / "server.csr"
        run("openssl", "req", "-x509", *new_key, "-keyout", authority_key, "-out", self.authority, "-subj", "/CN=bench-ca")
        run(
            "openssl", "req", *new_key, "-keyout", self.folder / "server.key", "-out", request, "-subj", "/CN=kube-apiserver",
            "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "extendedKeyUsage=serverAuth",
        )
        run(
            "openssl", "x509", "-req", "-copy_extensions", "copy", "-in", request, "-CA", self.authority, "-CAkey", authority_key,
            "-out", self.folder / "server.crt",
        )
        run("openssl", "genrsa", "-out", self.folder / "accounts.key", "2048")
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n')

    def _audit_policy(self) -> None:
        rules = [
            {"level": "Metadata", "userGroups": ["system:serviceaccounts:bench"], "omitStages": ["RequestReceived", "ResponseStarted"]},
            {"level": "None"},
        ]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
        (self.folder / "audit.json").write_text(json.dumps(policy))

    def _start_etcd(self) -> None:
        etcd = self.start(
            "etcd", "--name", "bench", "--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
            "--quota-backend-bytes", str(8 << 30),
            "--listen-client-urls", self._etcd, "--advertise-client-urls", self._etcd,
            "--listen-peer-urls", self._peer, "--initial-advertise-peer-urls", self._peer,
            "--initial-cluster", f"bench={self._peer}",
        )  # fmt: skip
        port = urllib.parse.urlsplit(self._etcd).port

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        await_condition(START_SECONDS, "etcd to listen", listens, etcd)

    def _start_api_server(self) -> None:
        folder = self.folder
        server = self.start(
            "kube-apiserver", "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", str(self._port),
            "--etcd-servers", self._etcd, "--authorization-mode", "RBAC", "--token-auth-file", str(folder / "tokens.csv"),
            "--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.96.0.0/16",
            "--tls-cert-file", str(folder / "server.crt"), "--tls-private-key-file", str(folder / "server.key"),
            "--service-account-issuer", "https://bench", "--api-audiences", "https://bench",
            "--service-account-key-file", str(folder / "accounts.key"), "--service-account-signing-key-file", str(folder / "accounts.key"),
            "--audit-policy-file", str(folder / "audit.json"), "--audit-log-path", str(self.audit_log), "--audit-log-mode", "batch",
            "--audit-log-maxsize", "2000",
        )  # fmt: skip
        client = self.client()

        def ready() -> bool:
            with contextlib.suppress(OSError, Failure):
                return client.request("GET", "/readyz")["text"] == "ok"
            return False

        await_condition(START_SECONDS, "the API server", ready, server)
