#!/usr/bin/env bash
# Stops or starts only the API server of the local cluster: apiserver.sh stop|start
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/local.sh"

[[ $(mode) == local ]] || fail "only the local cluster's API server can be stopped"
export KUBECONFIG=$STATE/kubeconfig
lock
case ${1:-} in
    stop) stop kube-apiserver ;;
    start) alive kube-apiserver || start_apiserver ;;
    *) fail "usage: apiserver.sh stop|start" ;;
esac
