#!/usr/bin/env bash
# Measures the operator with so many instances: operator.sh COUNT...; results go to target/bench/operator-<COUNT>.json
# FLUX=FOLDER measures Flux beside it: its program helm-controller, and its CRDs as *.yaml, are in that folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../cluster/lib.sh"

[[ -z ${FLUX:-} || -x $FLUX/helm-controller ]] || fail "there is no program helm-controller in FLUX=$FLUX"
"$HERE/build.sh" etcd helm kube-apiserver kube-controller-manager kube-scheduler kubectl
(cd "$REPOSITORY" && cargo build --locked --release --package operator --package router --bin wavestore-operator --bin wavestore-router)
exec python3 "$REPOSITORY/e2e/bench/instances.py" "$CARGO_TARGET_DIR/release/wavestore-operator" "$REPOSITORY/target/bench" "${FLUX:--}" "$@"
