#!/usr/bin/env bash
# Prints the path of a Google Cloud Storage server. Builds it once, into the cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/gcs
cache=${WAVESTORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wavestore}
bin=$cache/buckets/$(cat "$here"/go.{mod,sum} "$here/main.go" | sha256sum | cut -c1-16)

if [[ ! -x $bin/gcs ]]; then
    echo "buckets: building the Google Cloud Storage server, once, into $bin (two minutes)" >&2
    mkdir -p "$bin"
    (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$bin/" .)
fi
echo "$bin/gcs"
