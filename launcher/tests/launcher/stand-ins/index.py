"""A package index with one package, `ours`, for those who know the password: index.py USER PASSWORD [ADDRESS]. Prints its port.

Below /broken it fails, below /silent it never answers; below /slow it takes a second for each answer, below /flaky it fails twice, and
below /gone it does not have the file that it names.
"""

import base64
import http.server
import io
import sys
import threading
import time
import zipfile

INFO = "ours-1.0.dist-info"
WHEEL = "ours-1.0-py3-none-any.whl"


def wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as files:
        files.writestr("ours.py", "GREETING = 'hello'\n")
        files.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
        files.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nGenerator: index\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files.writestr(f"{INFO}/RECORD", f"ours.py,,\n{INFO}/METADATA,,\n{INFO}/WHEEL,,\n{INFO}/RECORD,,\n")
    return packed.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    allowed = "Basic " + base64.b64encode(":".join(sys.argv[1:3]).encode()).decode()
    answers = {
        "/simple/ours/": ("text/html", f'<a href="../../files/{WHEEL}">{WHEEL}</a>'.encode()),
        f"/files/{WHEEL}": ("application/octet-stream", wheel()),
    }

    failures = 2

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.path.startswith("/silent"):
            threading.Event().wait()
        path = self.path
        for prefix in ("/slow", "/flaky", "/gone"):
            path = path.removeprefix(prefix)
        kind, body = self.answers.get(path, ("text/plain", b""))
        if self.path.startswith("/slow"):
            time.sleep(1)
        if self.path.startswith("/gone/files"):
            kind, body = "text/plain", b""
        code = 200 if body else 404
        if self.headers.get("Authorization") != self.allowed:
            code, kind, body = 401, "text/plain", b"who are you?"
        if self.path.startswith("/broken"):
            code, kind, body = 500, "text/plain", b"out of order"
        if self.path.startswith("/flaky") and Index.failures > 0:
            Index.failures -= 1
            code, kind, body = 503, "text/plain", b"not now"
        self.send_response(code)
        if code == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1", 0), Index)
print(server.server_address[1], flush=True)
server.serve_forever()
