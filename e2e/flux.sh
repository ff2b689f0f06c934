#!/usr/bin/env bash
# The tests with Flux's own kustomize-controller, on a control plane of their own without nodes (`make test-flux`). Builds the controller
# once, into the cache: seven CPU-minutes and more, which is why `make test` leaves them out. Arguments go to the test program.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib.sh"
cd "$REPOSITORY"

# Whose CRDs the controller watches, and their module's checksum, which go.sum has only of what is built.
sources=github.com/fluxcd/source-controller@v1.9.0
checksum=h1:5msg2yyjVYDULZos+2ve8MZzcSqTpusiXmrOeBhc9yY=
controller=github.com/fluxcd/kustomize-controller

export FLUX=$CACHE/flux/$({ echo "$sources" && cat e2e/flux/go.{mod,sum}; } | sha256sum | cut -c1-16)
if [[ ! -e $FLUX/complete ]]; then
    say "building Flux's kustomize-controller, once, into $FLUX"
    mkdir -p "$FLUX"
    (
        cd e2e/flux
        CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$FLUX/" "$controller"
        cp "$(go list -m -f '{{.Dir}}' "$controller")"/config/crd/bases/*.yaml "$FLUX"
        read -r found folder < <(go mod download -json "$sources" | jq -r '"\(.Sum) \(.Dir)"')
        [[ $found == "$checksum" ]] || fail "$sources has the checksum $found, not $checksum"
        cp "$folder"/config/crd/bases/*.yaml "$FLUX"
    )
    chmod -R u+w "$FLUX"
    touch "$FLUX/complete"
fi

plane=$(mktemp -d)
finish() { "$HERE/control_plane.sh" down "$plane"; }
trap finish EXIT
cargo build --locked --workspace --bins
"$HERE/control_plane.sh" up "$plane"
KUBECONFIG=$plane/kubeconfig cargo test --locked --workspace --features e2e/cluster --test flux -- --nocapture "$@"
