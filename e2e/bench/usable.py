#!/usr/bin/env python3
"""From `kubectl apply` to an app that answers, on the store of `make up`, and Helm's share of it.

usage: usable.py [RUNS]

Each run applies a new public instance of the sample app, asks for its page through the router until it
answers 200, and deletes it. Helm's share is read off the operator's log.
"""

import datetime
import http.client
import json
import os
import statistics
import subprocess
import sys
import time

PORT = int(os.environ.get("WAVESTORE_PORT", "8080"))
PATIENCE_SECONDS = 120


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    command = ["kubectl", "--namespace", "wavestore", *arguments]
    return subprocess.run(command, input=stdin, text=True, check=True, stdout=subprocess.PIPE).stdout


def status(host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": f"{host}.localhost:{PORT}"})
        return connection.getresponse().status
    finally:
        connection.close()


def usable_after(name: str) -> float:
    """Seconds from before `kubectl apply` to the first 200."""
    manifest = {
        "apiVersion": "wavestore.io/v1alpha1",
        "kind": "WaveInstance",
        "metadata": {"name": name},
        "spec": {
            "app": {"name": "hello", "version": "1.0.0"},
            "owner": "admin",
            "visibility": "Public",
        },
    }
    start = time.monotonic()
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    while status(name) != 200:
        if time.monotonic() - start > PATIENCE_SECONDS:
            raise SystemExit(f"error: {name} does not answer: see `kubectl describe waveinstance {name}`")
        time.sleep(0.02)
    return time.monotonic() - start


def helm_took(name: str, log: list[str]) -> float:
    """Seconds between the operator's lines before and after Helm."""

    def at(words: str) -> datetime.datetime:
        line = next(line for line in log if f"Instance {name}{words}" in line)
        return datetime.datetime.fromisoformat(line.split()[0].replace("Z", "+00:00"))

    return (at(" is installed") - at(": Helm installs")).total_seconds()


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    names = [f"bench-{os.getpid()}-{run}" for run in range(runs)]
    usable = []
    for name in names:
        usable.append(usable_after(name))
        print(f"{name}: usable after {usable[-1]:.2f} s", file=sys.stderr)
        kubectl("delete", "waveinstance", name)
    log = kubectl("logs", "deployment/wavestore-operator", "--since=1h").splitlines()
    helm = [helm_took(name, log) for name in names]
    for what, seconds in (("apply to usable", usable), ("of it Helm", helm)):
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{what:16} min {low:.2f} s  median {middle:.2f} s  max {high:.2f} s  ({runs} runs)")


if __name__ == "__main__":
    main()
