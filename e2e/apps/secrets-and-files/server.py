"""Answers every request with what app.toml gave this app, one thing a line."""

import http.server
import os
import pathlib


def given() -> str:
    files = ["conf/bundled.txt", "conf/default.txt", "conf/settings.txt", "/etc/secrets-and-files/key.txt"]
    lines = [f"{name}: {os.environ.get(name)}" for name in ("TOKEN", "EXTRA")]
    lines += [f"{file}: {pathlib.Path(file).read_text().strip()}" for file in files]
    return "\n".join(lines)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = given().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
