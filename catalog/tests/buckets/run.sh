#!/usr/bin/env bash
# Runs the tests of the blob store (main.rs) on an S3, an Azure Blob and a Google Cloud Storage server of this machine, with credentials
# where the store takes them from: the environment. The servers are built or installed once, into the cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WAVESTORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wavestore}
versitygw=$("$here/s3_server.sh")
gcs=$("$here/gcs_server.sh")
azure=$cache/buckets/azure-$(sha256sum <"$here/package-lock.json" | cut -c1-16)
if [[ ! -d $azure/node_modules/azurite ]]; then
    mkdir -p "$azure"
    cp "$here"/package{,-lock}.json "$azure"
    npm ci --prefix "$azure" --silent
fi

folder=$(mktemp -d)
pids=()
finish() {
    ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$folder"
}
trap finish EXIT

# Four ports that nobody has.
read -r s3 az gs proxy < <(python3 -c 'import socket
free = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*[each.getsockname()[1] for each in free])')

export AWS_ACCESS_KEY_ID=store AWS_SECRET_ACCESS_KEY=the-secret-of-the-store AWS_REGION=us-east-1
export AWS_ENDPOINT_URL=http://127.0.0.1:$s3 AWS_ALLOW_HTTP=true
mkdir -p "$folder/s3/wavestore"
ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
    "$versitygw" --quiet --port "127.0.0.1:$s3" posix "$folder/s3" >"$folder/s3.log" 2>&1 &
pids+=($!)

# The account that every Azurite has.
export AZURE_STORAGE_ACCOUNT_NAME=devstoreaccount1 AZURE_ALLOW_HTTP=true
export AZURE_STORAGE_ACCOUNT_KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
export AZURE_STORAGE_ENDPOINT=http://127.0.0.1:$az/$AZURE_STORAGE_ACCOUNT_NAME
NODE_PATH=$azure/node_modules node "$here/azure.js" "$az" "$folder/az" wavestore >"$folder/az.log" 2>&1 &
pids+=($!)

export GOOGLE_SERVICE_ACCOUNT_KEY='{"gcs_base_url": "http://127.0.0.1:'$gs'", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}'
"$gcs" "127.0.0.1:$gs" wavestore >"$folder/gs.log" 2>&1 &
pids+=($!)

run() {
    WAVESTORE_BUCKETS="s3://wavestore/some/folder az://wavestore gs://wavestore" \
        cargo test --locked --package catalog --test buckets -- --ignored "$@" &&
        # The same S3 server, behind a proxy that breaks what it passes on.
        WAVESTORE_S3=127.0.0.1:$s3 WAVESTORE_PROXY=127.0.0.1:$proxy AWS_ENDPOINT_URL=http://127.0.0.1:$proxy \
            cargo test --locked --package catalog --test faults -- --ignored --skip folder:: "$@" &&
        # A volume that these processes alone see.
        mkdir "$folder/volume" &&
        WAVESTORE_VOLUME=$folder/volume unshare --map-root-user --mount bash -c \
            'mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@"' "$folder/volume" \
            cargo test --locked --package catalog --test faults -- --ignored --skip bucket:: "$@"
}

for _ in $(seq 300); do
    if grep -q ready "$folder/az.log" && curl -s -o "$folder/answer" "http://127.0.0.1:$s3/" && curl -s -o "$folder/answer" "http://127.0.0.1:$gs/"; then
        code=0
        run "$@" || code=$?
        ((code == 0)) || tail -n 20 "$folder"/*.log >&2
        exit "$code"
    fi
    kill -0 "${pids[@]}" 2>/dev/null || break
    sleep 0.1
done
tail -n 20 "$folder"/*.log >&2
echo "buckets: a server did not start" >&2
exit 1
