#!/usr/bin/env python3
"""The router beside nginx, HAProxy and configurable-http-proxy, all before the same upstream.

usage: router.py BINARIES PEERS OUT CASE...

BINARIES is the folder of `wavestore-router` and `sockets`, PEERS that of the npm packages, OUT that of the results. Cases:

  small, 10k, 1m     requests of 0.1, 10 and 1000 kB over 50 connections; -1000 as in small-1000 takes 1000 connections
  connects           small ones, each over a connection of its own
  upload, download   100 MB
  sockets-1000       WebSockets that are open at once, and echo; any number will do
  endpoint           from an endpoint that is ready to the first 200
  churn              100,000 clients that break off in every state of a connection, beside some that are slow
  table              10,000 instances in the table
  instructions       of small ones, what each costs outside the kernel: counted by callgrind, so that no other load matters

One proxy after the other has core 0 for itself, in three rounds; the load and the upstream share core 1. All of it lives in a
network namespace of its own, so that nothing else of the machine is in reach. The router has a session to check, authorizes,
counts, and writes its access log; nginx writes one, too.
"""

import contextlib
import html.parser
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import urllib.parse

from control_plane import ControlPlane, Failure, await_condition, run
from instances import facts, say

REPOSITORY = pathlib.Path(__file__).parents[2]
NAMESPACE = "bench"
# Endpoints may not be on the loopback's own network.
ADDRESS = "10.77.0.1"
UPSTREAM, ECHO, ROUTER, NGINX, HAPROXY, CHP, INTERNAL, CHP_API = range(9000, 9008)
PORTS = {"ours": ROUTER, "nginx": NGINX, "haproxy": HAPROXY, "chp": CHP}
SITE = f"localhost:{ROUTER}"
ROUNDS = 3
SECONDS = 6
PASSWORD = "a password for one measurement"
PROXY_CORE, LOAD_CORE = "0", "1"
INSTANCES = f"/apis/wavestore.io/v1alpha1/namespaces/{NAMESPACE}/waveinstances"
APPS = f"/apis/wavestore.io/v1alpha1/namespaces/{NAMESPACE}/waveapps"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
FILES = {"small": 100, "10k": 10_000, "1m": 1_000_000, "100m": 100_000_000}
ENDPOINT_CHANGES = 500
TABLE_SIZE = 10_000
TRANSFERS = 5
CHURN = 100_000
# Clients that stay while the others come and go: of each kind of slow ones.
SLOW_CLIENTS = 100
# What a long run may need more than a short one.
MORE_MIB, MORE_FILES = 8, 16


def on_core(core: str, *command: str) -> list[str]:
    return ["taskset", "--cpu-list", core, *command]


def request(port: int, host: str, method: str, path: str, headers=None, body=None):
    """One answer, and its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Host": host, **(headers or {})})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


class Hidden(html.parser.HTMLParser):
    """The hidden fields of a page's forms."""

    def __init__(self):
        super().__init__()
        self.fields = {}

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "input" and attributes.get("type") == "hidden":
            self.fields[attributes.get("name")] = attributes.get("value", "")


class Visitor:
    """A browser of the least kind: cookies by host, and redirects."""

    def __init__(self):
        self._cookies = {}

    def ask(self, method: str, url: str, form=None):
        parts = urllib.parse.urlsplit(url)
        cookies = self._cookies.setdefault(parts.netloc, {})
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{parts.netloc}"}
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        answer, text = request(ROUTER, parts.netloc, method, path or "/", headers, body)
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.split(";")[0].partition("=")
            cookies[name] = value
        location = answer.getheader("Location")
        if answer.status in (302, 303, 307) and location:
            return self.ask("GET", urllib.parse.urljoin(url, location))
        return answer, text.decode(errors="replace")

    def sign_in(self) -> None:
        _, page = self.ask("GET", f"http://{SITE}/sign-in")
        hidden = Hidden()
        hidden.feed(page)
        form = {**hidden.fields, "name": "admin", "password": PASSWORD}
        answer, text = self.ask("POST", f"http://{SITE}/sign-in", form)
        if answer.status != 200:
            raise Failure(f"the sign-in was answered with {answer.status}: {text[:500]}")

    def cookie(self, host: str) -> str:
        """The session of a host, once it has been visited."""
        answer, text = self.ask("GET", f"http://{host}/small")
        cookies = [f"{name}={value}" for name, value in self._cookies[host].items() if value and "visit" not in name]
        if len(cookies) != 1:
            raise Failure(f"the visit of {host} made no session, but an answer of {answer.status}: {text[:500]}")
        return cookies[0]


def instance(name: str) -> dict:
    return {
        "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance", "metadata": {"name": name},
        "spec": {"app": {"name": "bench", "version": "1.0.0"}, "owner": "admin", "visibility": "Private"},
    }  # fmt: skip


def endpoints(name: str, port: int, uid: str = "1") -> dict:
    labels = {"kubernetes.io/service-name": name, "wavestore.io/instance": name}
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name, "uid": uid}}],
    }  # fmt: skip


class Stand:
    """Everything that a measurement needs but the load."""

    def __init__(self, plane: ControlPlane, binaries: pathlib.Path, peers: pathlib.Path, out: pathlib.Path):
        self.plane, self.binaries, self.peers, self.out = plane, binaries, peers, out
        self.processes = {}
        self.folder = plane.folder
        self.cookies = {}

    def prepare(self) -> None:
        plane, client = self.plane, self.plane.client()
        plane.kubectl("create", "namespace", NAMESPACE)
        plane.kubectl("apply", "--filename", str(REPOSITORY / "config/crd"))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinition", "--all")
        client.request("POST", APPS, {
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp", "metadata": {"name": "bench"},
            "spec": {"bundle": {"configMapRef": {"name": "none", "key": "none"}}, "owner": "admin", "visibility": "AllUsers"},
        })  # fmt: skip
        status = {
            "app": {"name": "bench", "version": "1.0.0"}, "routingMode": "Domain", "digest": "0" * 64,
            "runtime": self.runtime(),
        }  # fmt: skip
        client.request("PATCH", f"{APPS}/bench/status", {"status": status}, "application/merge-patch+json")
        for name, port in (("files", UPSTREAM), ("echo", ECHO)):
            client.request("POST", INSTANCES, instance(name))
            client.request("POST", SLICES, endpoints(name, port))
        self._start_upstreams()
        self._start_peers()

    @staticmethod
    def runtime() -> dict:
        # A Python app: PUT and POST reach it.
        return {
            "app": {"name": "bench", "version": "1.0.0"}, "digest": "0" * 64, "image": "none", "imagePullPolicy": "Never",
            "mode": "Python", "module": "app", "port": UPSTREAM, "resources": {}, "routingMode": "Domain", "storeUrl": "http://none",
        }  # fmt: skip

    def _start_upstreams(self) -> None:
        files = self.folder / "files"
        files.mkdir()
        for name, size in FILES.items():
            (files / name).write_bytes(b"x" * size)
        self._nginx("upstream", LOAD_CORE, f"""
            server {{
                listen {ADDRESS}:{UPSTREAM} backlog=4096;
                root {files};
                open_file_cache max=100;
                client_max_body_size 0;
                location = /upload {{ return 200 "stored"; }}
            }}""", "access_log off;")  # fmt: skip
        echo = on_core(LOAD_CORE, str(self.binaries / "sockets"), "serve", f"{ADDRESS}:{ECHO}")
        self.processes["echo"] = self.plane.start(*echo)

    def _nginx(self, name: str, core: str, servers: str, log: str) -> None:
        folder = self.folder / name
        folder.mkdir()
        config = folder / "nginx.conf"
        config.write_text(f"""
            daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 65536; user root;
            pid {folder}/pid; error_log {folder}/error.log warn;
            events {{ worker_connections 32768; }}
            http {{
                {log}
                keepalive_requests 1000000; keepalive_timeout 75s; tcp_nodelay on; sendfile on;
                client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
                {servers}
            }}""")
        program = on_core(core, "/usr/sbin/nginx", "-p", str(folder), "-c", str(config), "-e", f"{folder}/error.log")
        self.processes[name] = self.plane.start(*program)

    def _start_peers(self) -> None:
        self._nginx("nginx", PROXY_CORE, f"""
            upstream files {{ server {ADDRESS}:{UPSTREAM}; keepalive 64; keepalive_requests 1000000; }}
            upstream echo {{ server {ADDRESS}:{ECHO}; }}
            server {{
                listen 127.0.0.1:{NGINX} backlog=4096;
                client_max_body_size 0;
                proxy_http_version 1.1;
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-For $remote_addr;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_buffering off; proxy_request_buffering off;
                location / {{ proxy_set_header Connection ""; proxy_pass http://files; }}
                location /echo {{
                    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
                    proxy_read_timeout 600s; proxy_pass http://echo;
                }}
            }}""", f"access_log {self.folder}/nginx-access.log;")  # fmt: skip
        config = self.folder / "haproxy.cfg"
        config.write_text(f"""
global
    nbthread 1
defaults
    mode http
    option forwardfor
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout tunnel 600s
frontend all
    bind 127.0.0.1:{HAPROXY}
    use_backend echo if {{ path /echo }}
    default_backend files
backend files
    http-reuse always
    server one {ADDRESS}:{UPSTREAM}
backend echo
    server one {ADDRESS}:{ECHO}
""")
        self.processes["haproxy"] = self.plane.start(*on_core(PROXY_CORE, "/usr/sbin/haproxy", "-f", str(config)))
        chp = self.peers / "node_modules/.bin/configurable-http-proxy"
        self.processes["chp"] = self.plane.start(
            *on_core(
                PROXY_CORE, str(chp), "--ip", "127.0.0.1", "--port", str(CHP), "--api-port", str(CHP_API),
                "--default-target", f"http://{ADDRESS}:{UPSTREAM}", "--log-level", "warn",
            ),
            environment={**os.environ, "CONFIGPROXY_AUTH_TOKEN": "bench"},
        )  # fmt: skip

        for name in ("nginx", "haproxy", "chp"):

            def serves(port=PORTS[name]) -> bool:
                with contextlib.suppress(OSError):
                    return request(port, SITE, "GET", "/small")[0].status == 200
                return False

            await_condition(60, name, serves, self.processes[name])
        route = json.dumps({"target": f"http://{ADDRESS}:{ECHO}"})
        answer, text = request(CHP_API, "localhost", "POST", "/api/routes/echo", {"Authorization": "token bench"}, route)
        if answer.status != 201:
            raise Failure(f"configurable-http-proxy took no route: {answer.status} {text.decode()}")

    def start_router(self) -> float:
        """Starts the router; seconds until it is ready."""
        data = self.folder / "data"
        (data / "blobs").mkdir(parents=True, exist_ok=True)
        password = data / "password"
        password.write_text(PASSWORD)
        run(str(self.binaries / "wavestore-router"), "migrate", "--database-url", f"sqlite://{data}/catalog.db")
        access_log = ["--access-log"] if "--access-log" in run(str(self.binaries / "wavestore-router"), "--help") else []
        started = time.monotonic()
        self.processes["ours"] = self.plane.start(
            *on_core(
                PROXY_CORE, str(self.binaries / "wavestore-router"), "--namespace", NAMESPACE,
                "--database-url", f"sqlite://{data}/catalog.db", "--blobs", f"file://{data}/blobs",
                "--store-url", f"http://{SITE}", "--apps-domain", SITE, "--listen", f"127.0.0.1:{ROUTER}",
                "--internal-listen", f"127.0.0.1:{INTERNAL}", "--admin-password-file", str(password),
                "--max-connections", "20000", *access_log,
            ),
            environment={"PATH": os.environ["PATH"], "HOME": str(data), "KUBECONFIG": str(self.plane.kubeconfig)},
        )  # fmt: skip

        def serves() -> bool:
            with contextlib.suppress(OSError):
                return request(INTERNAL, "localhost", "GET", "/readyz")[0].status == 200
            return False

        await_condition(60, "the router to be ready", serves, self.processes["ours"])
        ready = time.monotonic() - started
        visitor = Visitor()
        visitor.sign_in()
        self.cookies = {name: visitor.cookie(host(name)) for name in ("files", "echo")}
        return ready

    def headers(self, proxy: str, name: str) -> list[str]:
        """The headers that a proxy needs to let a request through to an instance."""
        if proxy != "ours":
            return [f"Host: {SITE}"]
        return [f"Host: {host(name)}", f"Cookie: {self.cookies[name]}"]

    def open_files(self, proxy: str) -> int:
        return len(os.listdir(f"/proc/{self.processes[proxy].pid}/fd"))

    def gauge(self, name: str) -> int:
        """A number that the router tells of itself."""
        _, text = request(INTERNAL, "localhost", "GET", "/metrics")
        return int(float(re.search(rf"^{name} (\S+)$", text.decode(), re.MULTILINE)[1]))

    def rss_mib(self, proxy: str) -> float:
        status = pathlib.Path(f"/proc/{self.processes[proxy].pid}/status").read_text()
        return round(int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024, 1)


def host(name: str) -> str:
    return f"{name}.{SITE}"


def wrk(port: int, path: str, connections: int, headers: list[str], seconds: float = SECONDS) -> dict:
    """What one client thread gets through a proxy."""
    lines = [argument for line in headers for argument in ("--header", line)]
    words = run(
        *on_core(LOAD_CORE, "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--latency", "--timeout", "30s"),
        *lines, f"http://127.0.0.1:{port}{path}",
    )  # fmt: skip
    if "Non-2xx" in words or "Socket errors" in words:
        raise Failure(f"not every request to port {port} succeeded:\n{words}")
    milliseconds = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}

    def latency(percent: int) -> float:
        value, unit = re.search(rf"\b{percent}%\s+([\d.]+)(us|ms|s|m)\b", words).groups()
        return float(value) * milliseconds[unit]

    return {
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", words)[1]), "p50_ms": latency(50), "p99_ms": latency(99),
        "requests": int(re.search(r"(\d+) requests in", words)[1]),
    }  # fmt: skip


def count_instructions(stand: Stand, proxy: str) -> dict:
    """Starts a proxy anew under callgrind, and divides what it does by the requests that it serves."""
    old = stand.processes[proxy]
    stand.plane.stop(old)
    counts = stand.out / f"callgrind-{proxy}.out"
    counts.unlink(missing_ok=True)
    process = stand.plane.start(
        "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={counts}", *old.args[len(on_core("0")) :],
        environment=old.environment,
    )  # fmt: skip
    stand.processes[proxy] = process
    port, lines = PORTS[proxy], stand.headers(proxy, "files")
    wanted = dict(line.split(": ", 1) for line in lines)

    def serves() -> bool:
        with contextlib.suppress(OSError):
            return request(port, wanted["Host"], "GET", "/small", wanted)[0].status == 200
        return False

    await_condition(120, f"{proxy} under callgrind", serves, process)
    wrk(port, "/small", 50, lines)
    run("callgrind_control", "--instr=on", str(process.pid))
    found = wrk(port, "/small", 50, lines)
    run("callgrind_control", "--instr=off", str(process.pid))
    stand.plane.stop(process)
    stand.processes[proxy] = stand.plane.start(*old.args, environment=old.environment)
    await_condition(60, proxy, serves, stand.processes[proxy])
    total = int(re.search(r"^totals: (\d+)", counts.read_text(), re.MULTILINE)[1])
    return {"requests": found["requests"], "instructions_each": total // found["requests"]}


def instructions_case(stand: Stand) -> dict:
    return compared({proxy: count_instructions(stand, proxy) for proxy in ("ours", "nginx", "haproxy")}, "instructions_each", min)


def rounds(measure) -> dict:
    """The medians of what each proxy does, in turns that start with another one each time."""
    found = {proxy: [] for proxy in PORTS}
    for turn in range(ROUNDS):
        proxies = list(PORTS)
        for proxy in proxies[turn:] + proxies[:turn]:
            found[proxy].append(measure(proxy))
    return {
        proxy: {name: round(statistics.median(one[name] for one in figures), 3) for name in figures[0]}
        for proxy, figures in found.items()
    }


def compared(figures: dict, name: str, better=max) -> dict:
    """The figures with the ratios of ours to the others'; more than 1 is better."""

    def ratio(peer: str) -> float:
        ours, theirs = figures["ours"][name], figures[peer][name]
        return round(ours / theirs if better is max else theirs / ours, 3)

    return {**figures, **{f"ratio_{peer}": ratio(peer) for peer in figures if peer != "ours"}}


def requests_case(stand: Stand, file: str, connections: int, extra=()) -> dict:
    def measure(proxy: str) -> dict:
        found = wrk(PORTS[proxy], f"/{file}", connections, [*stand.headers(proxy, "files"), *extra])
        return {**found, "rss_mib": stand.rss_mib(proxy)}

    for proxy in PORTS:
        wrk(PORTS[proxy], f"/{file}", connections, [*stand.headers(proxy, "files"), *extra], 1)
    return compared(rounds(measure), "rps")


def curl(stand: Stand, proxy: str, *arguments: str) -> float:
    """Seconds that one transfer takes."""
    lines = [argument for line in stand.headers(proxy, "files") for argument in ("--header", line)]
    done = run(
        *on_core(LOAD_CORE, "curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", "--write-out", "%{time_total}"),
        "--header", "Expect:", *lines, *arguments,
    )  # fmt: skip
    return float(done)


def transfer_case(stand: Stand, path: str, *arguments: str) -> dict:
    def measure(proxy: str) -> dict:
        url = f"http://127.0.0.1:{PORTS[proxy]}{path}"
        seconds = sorted(curl(stand, proxy, *arguments, url) for _ in range(TRANSFERS))
        rate = TRANSFERS / sum(seconds)
        return {
            "rps": rate, "p50_ms": 1000 * statistics.median(seconds), "p99_ms": 1000 * seconds[-1],
            "mib_per_second": rate * FILES["100m"] / 2**20, "rss_mib": stand.rss_mib(proxy),
        }  # fmt: skip

    return compared(rounds(measure), "rps")


def sockets_case(stand: Stand, count: int) -> dict:
    def measure(proxy: str) -> dict:
        idle = stand.rss_mib(proxy)
        driver = subprocess.Popen(
            on_core(
                LOAD_CORE, str(stand.binaries / "sockets"), "drive", f"127.0.0.1:{PORTS[proxy]}", str(count), str(SECONDS),
                *stand.headers(proxy, "echo"),
            ),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with driver:
            if driver.stdout.readline() != "open\n":
                raise Failure(f"{proxy} did not open {count} sockets: {driver.stderr.read()}")
            opened = stand.rss_mib(proxy)
            words, errors = driver.communicate("\n", timeout=120)
        if driver.returncode != 0:
            raise Failure(f"{proxy} did not keep {count} sockets: {errors}")
        kib_each = (opened - idle) * 1024 / count
        return {**json.loads(words), "idle_mib": idle, "open_mib": opened, "busy_mib": stand.rss_mib(proxy), "kib_each": kib_each}

    return compared(rounds(measure), "rps")


def endpoint_case(stand: Stand) -> dict:
    """From the API server's answer to the change of an endpoint to the first 200, with the change of the pod in between."""
    client, seconds = stand.plane.client(), []
    wanted = {"Host": host("files"), "Cookie": stand.cookies["files"]}
    for number in range(ENDPOINT_CHANGES):
        for ready in (False, True):
            slice_ = endpoints("files", UPSTREAM, f"pod-{number}")
            slice_["endpoints"][0]["conditions"]["ready"] = ready
            client.request("PUT", f"{SLICES}/files", slice_)
            start = time.monotonic()
            while (request(ROUTER, host("files"), "GET", "/small", wanted)[0].status == 200) != ready:
                if time.monotonic() - start > 30:
                    raise Failure(f"30 s after endpoint {number} became {ready} the router still says otherwise")
        seconds.append(time.monotonic() - start)
    at = lambda percent: round(1000 * sorted(seconds)[len(seconds) * percent // 100], 2)  # noqa: E731
    return {"ours": {"p50_ms": at(50), "p99_ms": at(99)}, "changes": ENDPOINT_CHANGES}


def table_case(stand: Stand) -> dict:
    """What thousands of instances cost: memory, the time of a request, and a new start."""
    before = wrk(ROUTER, "/small", 50, stand.headers("ours", "files"))
    idle = stand.rss_mib("ours")
    client = stand.plane.client()
    for number in range(TABLE_SIZE):
        client.request("POST", INSTANCES, instance(f"other-{number:05}"))
        client.request("POST", SLICES, endpoints(f"other-{number:05}", UPSTREAM))
        if number % 1000 == 999:
            say(f"{number + 1} of {TABLE_SIZE} instances are written")
    last = f"other-{TABLE_SIZE - 1:05}"
    stand.plane.stop(stand.processes["ours"])
    ready = stand.start_router()
    after = wrk(ROUTER, "/small", 50, stand.headers("ours", "files"))
    visible = request(ROUTER, host(last), "GET", "/small", {"Cookie": stand.cookies["files"]})[0].status
    return {
        "ours": {**after, "rss_mib": stand.rss_mib("ours"), "rss_mib_before": idle, "ready_seconds": round(ready, 2)},
        "rps_ratio_to_two_instances": round(after["rps"] / before["rps"], 3),
        "instances": TABLE_SIZE,
        "last_one_answers": visible,
    }


def beginnings(stand: Stand) -> list[bytes]:
    """What clients send before they break off."""

    def head(method: str, path: str, name: str, *more: str) -> str:
        lines = [f"{method} {path} HTTP/1.1", *stand.headers("ours", name), *more]
        return "".join(f"{line}\r\n" for line in lines)

    socket_ = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    texts = [
        "", "G", head("GET", "/small", "files") + "X-Half", head("GET", "/small", "files") + "\r\n",
        head("GET", "/1m", "files") + "\r\n", head("POST", "/upload", "files", "Content-Length: 1000") + "\r\nhalf",
        head("GET", "/echo", "echo", *socket_) + "\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ]  # fmt: skip
    return [text.encode() for text in texts]


def come_and_go(texts: list[bytes], number: int) -> None:
    with socket.create_connection(("127.0.0.1", ROUTER), timeout=30) as client:
        client.sendall(texts[number % len(texts)])
        # Some wait for the beginning of an answer, some leave by a reset.
        if number % 3 == 0:
            client.settimeout(0.02)
            with contextlib.suppress(OSError):
                client.recv(100)
        if number % 2 == 0:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def slow_clients(texts: list[bytes]) -> list[socket.socket]:
    """Clients that say half of what they want, read nothing of a large answer, or have ended their half already."""
    clients = []
    for number in range(3 * SLOW_CLIENTS):
        client = socket.create_connection(("127.0.0.1", ROUTER), timeout=30)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall((texts[2], texts[4], texts[3])[number % 3])
        if number % 3 == 2:
            client.shutdown(socket.SHUT_WR)
        clients.append(client)
    return clients


def churn_case(stand: Stand) -> dict:
    texts = beginnings(stand)
    files = stand.open_files("ours")

    def after(count: int) -> dict:
        slow = slow_clients(texts)
        begin = time.monotonic()
        for number in range(count):
            come_and_go(texts, number)
        seconds = time.monotonic() - begin
        for client in slow:
            client.close()
        gauges = ("wavestore_router_connections", "wavestore_router_sockets")
        await_condition(120, "everything to be let go of", lambda: all(stand.gauge(name) == 0 for name in gauges))
        # Connections to pods are kept for some seconds.
        await_condition(60, "files to be closed", lambda: stand.open_files("ours") <= files + MORE_FILES)
        return {"clients": count, "rps": round(count / seconds, 1), "rss_mib": stand.rss_mib("ours"), "open_files": stand.open_files("ours")}

    first, then = after(CHURN // 5), after(CHURN - CHURN // 5)
    if then["rss_mib"] - first["rss_mib"] > MORE_MIB:
        raise Failure(f"clients that break off leave memory behind: {first}, then {then}")
    return {"ours": then, "first": first, "slow_clients": 3 * SLOW_CLIENTS}


def measure(stand: Stand, case: str) -> dict:
    file, _, connections = case.partition("-")
    if file in ("small", "10k", "1m"):
        return requests_case(stand, file, int(connections or 50))
    if case == "connects":
        return requests_case(stand, "small", 50, ["Connection: close"])
    if case == "upload":
        return transfer_case(stand, "/upload", "--upload-file", str(stand.folder / "files/100m"))
    if case == "download":
        return transfer_case(stand, "/100m")
    if file == "sockets":
        return sockets_case(stand, int(connections))
    if case == "churn":
        return churn_case(stand)
    if case == "endpoint":
        return endpoint_case(stand)
    if case == "table":
        return table_case(stand)
    if case == "instructions":
        return instructions_case(stand)
    raise Failure(f"there is no case `{case}`")


def enter_network() -> None:
    """Goes on in a network namespace of its own, with an address that endpoints may have."""
    if os.environ.get("BENCH_ROUTER_NETWORK") != "own":
        os.environ["BENCH_ROUTER_NETWORK"] = "own"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("10000 65000")
    pathlib.Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("1")


def main() -> int:
    if len(sys.argv) < 5:
        print(__doc__, file=sys.stderr)
        return 2
    enter_network()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    binaries, peers, out = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    # As Ctrl-C does: everything that was started ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out.mkdir(parents=True, exist_ok=True)
    try:
        with ControlPlane() as plane:
            stand = Stand(plane, binaries, peers, out)
            stand.prepare()
            stand.start_router()
            for case in sys.argv[4:]:
                say(case)
                result = {**facts(), "case": case, **measure(stand, case)}
                text = json.dumps(result, indent=2)
                (out / f"router-{case}.json").write_text(text + "\n")
                print(text, flush=True)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
