#!/usr/bin/env python3
"""From `kubectl apply` to an app that answers, on the store of `make up`, and how soon sharing is in force.

usage: usable.py [RUNS]

Each run applies a new public instance of the sample app, asks for its page through the router until it
answers 200, closes and opens it to strangers again, and deletes it. Helm's share is read off the operator's log.
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
    return until(name, 200) - start


def until(name: str, wanted: int) -> float:
    """When a stranger gets this status."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while status(name) != wanted:
        if time.monotonic() > deadline:
            raise SystemExit(f"error: {name} does not answer {wanted}: see `kubectl describe waveinstance {name}`")
        time.sleep(0.005)
    return time.monotonic()


def in_force_after(name: str, visibility: str, wanted: int) -> float:
    """Seconds from the API server's answer to a change until the router acts on it."""
    patch = json.dumps({"spec": {"visibility": visibility}})
    kubectl("patch", "waveinstance", name, "--type=merge", "--patch", patch)
    start = time.monotonic()
    return until(name, wanted) - start


def helm_took(name: str, log: list[str]) -> float | None:
    """Seconds between the operator's lines before and after Helm; nothing where Helm was too quick to be told of."""

    def at(words: str) -> datetime.datetime | None:
        line = next((line for line in log if f"Instance {name}{words}" in line), None)
        return line and datetime.datetime.fromisoformat(line.split()[0].replace("Z", "+00:00"))

    began, ended = at(": Helm installs"), at(" is installed")
    return (ended - began).total_seconds() if began and ended else None


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    names = [f"bench-{os.getpid()}-{run}" for run in range(runs)]
    usable, closed, opened = [], [], []
    for name in names:
        usable.append(usable_after(name))
        closed.append(in_force_after(name, "Private", 401))
        opened.append(in_force_after(name, "Public", 200))
        print(f"{name}: usable after {usable[-1]:.2f} s", file=sys.stderr)
        kubectl("delete", "waveinstance", name)
    # Of all replicas: one of them leads.
    operators = "--selector=app.kubernetes.io/component=operator"
    log = kubectl("logs", operators, "--since=1h", "--tail=-1").splitlines()
    helm = [took for name in names if (took := helm_took(name, log)) is not None]
    rows = {
        "apply to usable": usable,
        "of it Helm": helm,
        "change to closed": closed,
        "change to open": opened,
    }
    for what, seconds in rows.items():
        if not seconds:
            continue
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{what:16} min {low:.3f} s  median {middle:.3f} s  max {high:.3f} s  ({len(seconds)} runs)")


if __name__ == "__main__":
    main()
