#!/usr/bin/env bash
# Measures the router beside its peers: router.sh CASE...; results go to target/bench/router-<CASE>.json
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../cluster/lib.sh"

peers=$WAVESTORE_CACHE/bench-peers
needed=(haproxy nginx npm wrk)
if [[ " $* " == *" instructions "* ]]; then needed+=(valgrind); fi
for program in "${needed[@]}"; do
    if ! command -v "$program" >/dev/null && [[ ! -x /usr/sbin/$program ]]; then
        echo "bench: $program is not installed: apt-get install haproxy nginx-light npm wrk valgrind" >&2
        exit 1
    fi
done
"$HERE/build.sh" etcd helm kube-apiserver kubectl
mkdir -p "$peers"
cp "$REPOSITORY/e2e/bench/package.json" "$REPOSITORY/e2e/bench/package-lock.json" "$peers"
npm ci --prefix "$peers" --silent
(cd "$REPOSITORY" && cargo build --locked --release --package router --bin wavestore-router --package e2e --bin sockets)
exec python3 "$REPOSITORY/e2e/bench/router.py" "$CARGO_TARGET_DIR/release" "$peers" "$REPOSITORY/target/bench" "$@"
