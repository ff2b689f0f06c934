#!/usr/bin/env bash
# Prints the path of an OCI registry. Builds it once, into the cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WAVESTORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wavestore}
bin=$cache/registry/$(cat "$here"/go.{mod,sum} "$here/main.go" | sha256sum | cut -c1-16)

if [[ ! -x $bin/registry ]]; then
    echo "registry: building the OCI registry, once, into $bin (a minute)" >&2
    mkdir -p "$bin"
    (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$bin/registry" .)
fi
echo "$bin/registry"
