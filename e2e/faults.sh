#!/usr/bin/env bash
# The tests of faults, on a control plane of their own without nodes (`make test-faults`). Arguments go to the test program.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib.sh"
cd "$REPOSITORY"

plane=$(mktemp -d)
finish() { "$HERE/control_plane.sh" down "$plane"; }
trap finish EXIT
cargo build --locked --workspace --bins
"$HERE/control_plane.sh" up "$plane"
# One at a time: some wait for the moment in which helm runs. `--nocapture` shows the seeds.
KUBECONFIG=$plane/kubeconfig cargo test --locked --workspace --features e2e/cluster --test faults -- --test-threads=1 --nocapture "$@"
