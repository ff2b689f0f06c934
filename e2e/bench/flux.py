"""Flux's helm-controller as a peer of the operator: the same chart with the same values, one HelmRelease for each instance.

Its source-controller takes no part: the chart lies in an OCIRepository as that one would have left it, and is served by this
process. What is waited for, checked, and asked of it is set to what the operator does.
"""

import functools
import hashlib
import http.server
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

from control_plane import ControlPlane, await_condition, free_ports, run

ACCOUNT = "helm-controller"
CHART = "wave-instance"
# What Flux's own benchmark takes. Its default of 4, and 20, take as much CPU time (docs/performance.md).
CONCURRENT = 10
# Its defaults of 50 and 300 would bound it by its own client, not by the machine.
REQUESTS_A_SECOND, BURST = 500, 1000


def resource(namespace: str) -> str:
    """The path of the HelmReleases of a namespace."""
    return f"/apis/helm.toolkit.fluxcd.io/v2/namespaces/{namespace}/helmreleases"


def manifest(name: str, namespace: str, values: dict) -> dict:
    """A HelmRelease that nobody waits for, as the operator does not wait either."""
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "interval": "1h",
            "chartRef": {"kind": "OCIRepository", "name": CHART},
            "install": {"disableWait": True, "disableOpenAPIValidation": True, "serverSideApply": False},
            "uninstall": {"disableWait": True},
            "values": values,
        },
    }


def deployed(item: dict) -> bool:
    """Does the status say that the release of this very spec is deployed?"""
    status = item.get("status", {})
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True" and condition.get("observedGeneration") == item["metadata"]["generation"]
        for condition in status.get("conditions", [])
    )
    return ready and [entry["status"] for entry in status.get("history", [])][:1] == ["deployed"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments) -> None:
        pass


class HelmController:
    """Flux's helm-controller as a process of this machine, with the rights that Flux gives it."""

    def __init__(self, plane: ControlPlane, folder: pathlib.Path, namespace: str, chart: pathlib.Path):
        self.program = folder / "helm-controller"
        self._plane, self._folder, self._namespace, self._chart = plane, folder, namespace, chart
        self._files = None
        self.process: subprocess.Popen | None = None

    def __enter__(self):
        self._install()
        self._serve_chart()
        self._start()
        return self

    def __exit__(self, *_exception):
        if self.process is not None:
            self._plane.stop(self.process)
        if self._files is not None:
            self._files.shutdown()
            self._files.server_close()

    def facts(self) -> dict:
        """Which program it is, and how it is set; its Helm's version where there is a Go to read it."""
        modules = run("go", "version", "-m", str(self.program)) if shutil.which("go") else ""
        helm = re.search(r"\shelm\.sh/helm/v\d+\s+(\S+)", modules)
        digest = hashlib.sha256(self.program.read_bytes()).hexdigest()
        return {"program_sha256": digest, "helm": helm[1] if helm else None, "concurrent": CONCURRENT}

    def _install(self) -> None:
        """The CRDs, and its account; everything is its to do, as Flux installs it."""
        plane, crds = self._plane, sorted(self._folder.glob("*.yaml"))
        plane.kubectl("apply", "--server-side", *(f"--filename={crd}" for crd in crds))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinition", "--all")
        plane.kubectl("create", "serviceaccount", ACCOUNT, "--namespace", self._namespace)
        plane.kubectl("create", "clusterrolebinding", ACCOUNT, "--clusterrole=cluster-admin", f"--serviceaccount={self._namespace}:{ACCOUNT}")

    def _serve_chart(self) -> None:
        """An OCIRepository with the packed chart as its artifact."""
        plane, files = self._plane, self._plane.folder / "files"
        files.mkdir()
        packed = pathlib.Path(run("helm", "package", "--destination", str(files), str(self._chart)).split()[-1])
        handler = functools.partial(_Quiet, directory=str(files))
        self._files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._files.serve_forever, daemon=True).start()
        digest = f"sha256:{hashlib.sha256(packed.read_bytes()).hexdigest()}"
        version = packed.stem.removeprefix(f"{CHART}-")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        collection = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{self._namespace}/ocirepositories"
        made = plane.client().request("POST", collection, {
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": CHART},
            "spec": {"interval": "1h", "url": f"oci://localhost/{CHART}", "ref": {"tag": version}},
        })  # fmt: skip
        made["status"] = {
            "observedGeneration": made["metadata"]["generation"],
            "artifact": {
                "path": packed.name, "url": f"http://127.0.0.1:{self._files.server_port}/{packed.name}",
                "revision": f"{version}@{digest}", "digest": digest, "size": packed.stat().st_size, "lastUpdateTime": now,
            },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact",
                "lastTransitionTime": now, "observedGeneration": made["metadata"]["generation"],
            }],
        }  # fmt: skip
        plane.client().request("PUT", f"{collection}/{CHART}/status", made)

    def _start(self) -> None:
        plane = self._plane
        kubeconfig = plane.folder / "flux.kubeconfig"
        token = plane.kubectl("--namespace", self._namespace, "create", "token", ACCOUNT, "--duration", "24h")
        plane.write_kubeconfig(kubeconfig, token.strip())
        health, metrics = free_ports(2)
        self.process = plane.start(
            str(self.program), f"--concurrent={CONCURRENT}", f"--kube-api-qps={REQUESTS_A_SECOND}", f"--kube-api-burst={BURST}",
            f"--health-addr=127.0.0.1:{health}", f"--metrics-addr=127.0.0.1:{metrics}",
            environment={
                "PATH": os.environ["PATH"], "HOME": str(plane.folder), "KUBECONFIG": str(kubeconfig), "RUNTIME_NAMESPACE": self._namespace,
            },
        )  # fmt: skip

        def ready() -> bool:
            answer = subprocess.run(
                ["curl", "--silent", "--fail", "--max-time", "5", f"http://127.0.0.1:{health}/readyz"], capture_output=True, check=False
            )
            return answer.returncode == 0

        await_condition(60, "helm-controller to be ready", ready, self.process)

