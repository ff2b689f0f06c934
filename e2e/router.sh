#!/usr/bin/env bash
# The tests of the router's binary, on a control plane of their own without nodes (`make test-router`). Arguments go to the
# test program. With KUBECONFIG set they run on that cluster instead.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib.sh"
cd "$REPOSITORY"

# Python programs cannot be moved, so a half-made folder is made anew.
contract=$CACHE/tools/schemathesis-$(sha256sum <e2e/contract/requirements.txt | cut -c1-16)
if [[ ! -e $contract/complete ]]; then
    rm -rf "$contract"
    python3 -m venv "$contract"
    "$contract/bin/pip" install -q --no-deps --disable-pip-version-check -r e2e/contract/requirements.txt
    touch "$contract/complete"
fi
export SCHEMATHESIS=$contract/bin/schemathesis
for package in oidc axe; do
    npm ci --prefix e2e/$package --ignore-scripts --no-audit --no-fund --loglevel=error
done
export AXE=$REPOSITORY/e2e/axe/node_modules/axe-core/axe.min.js
cargo build --locked --workspace --bins
if [[ -z ${KUBECONFIG:-} ]]; then
    plane=$(mktemp -d)
    finish() { "$HERE/control_plane.sh" down "$plane"; }
    trap finish EXIT
    "$HERE/control_plane.sh" up "$plane"
    export KUBECONFIG=$plane/kubeconfig
fi
cargo test --locked --workspace --features e2e/cluster --test router -- --test-threads=3 "$@"
