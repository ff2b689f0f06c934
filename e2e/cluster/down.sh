#!/usr/bin/env bash
# Takes the cluster down and leaves nothing behind but the cache of binaries. An existing cluster is only forgotten.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/local.sh"

lock
if [[ $(mode) == kind ]]; then
    docker info >/dev/null 2>&1 || export KIND_EXPERIMENTAL_PROVIDER=podman
    kind delete cluster --name wavestore --kubeconfig "$STATE/kubeconfig"
fi
if [[ $(mode) == kind || $(mode) == existing ]]; then
    for pid in "$PIDS"/*; do
        [[ ! -e $pid ]] || stop "${pid##*/}"
    done
    rm -rf "$STATE"/{cache,images,kubeconfig,logs,mode,pids}
    rmdir "$STATE" 2>/dev/null || true
else
    local_down
fi
say "down"
