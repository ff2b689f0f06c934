#!/usr/bin/env bash
# Prints the path of an S3 server. Builds it once, into the cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WAVESTORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wavestore}
bin=$cache/buckets/$(cat "$here"/go.{mod,sum} | sha256sum | cut -c1-16)

if [[ ! -x $bin/versitygw ]]; then
    echo "buckets: building the S3 server, once, into $bin (two minutes)" >&2
    mkdir -p "$bin"
    (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$bin/" github.com/versity/versitygw/cmd/versitygw)
fi
echo "$bin/versitygw"
