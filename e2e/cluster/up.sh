#!/usr/bin/env bash
# Brings up the cluster for tests: CLUSTER=auto|local|kind|existing. Does nothing when it is up already.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/local.sh"

engine_answers() { docker info >/dev/null 2>&1 || podman info >/dev/null 2>&1; }

kind_up() {
    command -v kind >/dev/null || fail "CLUSTER=kind needs kind on the PATH"
    docker info >/dev/null 2>&1 || export KIND_EXPERIMENTAL_PROVIDER=podman
    if ! kind get clusters 2>/dev/null | grep -qx wavestore; then
        kind create cluster --name wavestore --kubeconfig "$STATE/kubeconfig" --wait 180s
    fi
    kind get kubeconfig --name wavestore >"$STATE/kubeconfig"
    echo kind >"$STATE/mode"
}

existing_up() {
    [[ -n ${KUBECONFIG:-} ]] || fail "CLUSTER=existing needs KUBECONFIG: the file of the cluster to use"
    kubectl get --raw /readyz >/dev/null || fail "the cluster of $KUBECONFIG does not answer"
    kubectl config view --raw --flatten --minify >"$STATE/kubeconfig.part"
    mv "$STATE/kubeconfig.part" "$STATE/kubeconfig" # $KUBECONFIG may be this very file
    echo existing >"$STATE/mode"
}

cluster=${CLUSTER:-auto}
if [[ $cluster == auto ]]; then
    cluster=$(mode)
    if [[ -z $cluster ]]; then
        cluster=local
        ! command -v kind >/dev/null || ! engine_answers || cluster=kind
    fi
fi
lock
[[ -z $(mode) || $(mode) == "$cluster" ]] || fail "a cluster of kind $(mode) is up: take it down first (make cluster-down)"
umask 022
case $cluster in
    local) local_up ;;
    kind | existing)
        mkdir -p "$STATE" "$LOGS" "$PIDS"
        (umask 077 && "${cluster}_up")
        ;;
    *) fail "CLUSTER is one of auto, local, kind, existing; not $cluster" ;;
esac
say "$cluster cluster ready. export KUBECONFIG=$STATE/kubeconfig"
