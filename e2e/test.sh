#!/usr/bin/env bash
# Every test there is (`make test`). It brings up what is missing, and takes down what it brought up; KEEP=1 leaves the cluster.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib.sh"
cd "$REPOSITORY"

# What a dead cluster left behind does not count.
was_up=$(PATH=$STATE/bin:$PATH kubectl --kubeconfig "$STATE/kubeconfig" --request-timeout=5s get --raw /readyz 2>/dev/null || true)
finish() {
    local code=$?
    if ((code != 0)) && [[ -r $STATE/kubeconfig ]]; then
        echo "--- the store when it failed ---"
        export KUBECONFIG=$STATE/kubeconfig PATH=$STATE/bin:$PATH
        kubectl -n wavestore get waveapps,waveinstances,pods -o wide 2>&1 | head -60 || true
        kubectl -n wavestore logs deployment/wavestore-operator --tail=60 2>&1 || true
        kubectl -n wavestore logs deployment/wavestore-router --tail=40 2>&1 || true
    fi
    if [[ -z $was_up && -z ${KEEP:-} ]]; then "$HERE/down.sh"; fi
    exit "$code"
}
trap finish EXIT

"$HERE/prerequisites.sh"
# The quick checks first; the cluster's binaries are built beside them.
"$HERE/build.sh" &
cluster_build=$!
make --no-print-directory lint
wait "$cluster_build"
make --no-print-directory test-unit
make --no-print-directory test-buckets
# Those of a few minutes; `make test-faults` has all.
make --no-print-directory test-faults TEST="drift:: imports:: leadership:: lost_update:: foreign:: transparent::"
make --no-print-directory test-router
make --no-print-directory up
make --no-print-directory test-e2e
