"""Answers every visitor. After a visit to /break it fails whenever it starts."""

import os
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BROKEN = pathlib.Path("/data/broken")


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/break":
            BROKEN.touch()
        body = f"<!doctype html><title>Drowsy</title><p>Awake at {self.path}</p>".encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if BROKEN.exists():
    print("looking for the alarm clock", flush=True)
    raise RuntimeError("the alarm clock is <broken>")
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Answer).serve_forever()
