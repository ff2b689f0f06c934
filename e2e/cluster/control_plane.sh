#!/usr/bin/env bash
# A control plane without nodes, beside the cluster: etcd, API server and controller manager on ports of their own, with
# the store's CRDs. Nothing runs on it; what the API server does to the operator is the real thing.
#   control_plane.sh up FOLDER        FOLDER/kubeconfig is its admin's; ETCD_QUOTA_BYTES makes its disk small
#   control_plane.sh down FOLDER
#   control_plane.sh stop|kill|start FOLDER etcd|kube-apiserver|kube-controller-manager
#   control_plane.sh defragment FOLDER    frees the disk of what was deleted, and allows writes again
set -euo pipefail
[[ $# -ge 2 && $2 == /* ]] || { echo "usage: control_plane.sh up|down|stop|kill|start|defragment FOLDER [DAEMON]" >&2 && exit 2; }
export WAVESTORE_STATE=$2
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/local.sh"
export KUBECONFIG=$STATE/kubeconfig

# Four ports in a row that nobody has, below those that the kernel gives to clients: API server, etcd, its peers, controller manager.
free_ports() {
    local port offset taken
    taken=$(ss -Htln | awk '{ sub(/.*:/, "", $4); print $4 }')
    while true; do
        port=$((20000 + RANDOM % 3000 * 4))
        for offset in 0 1 2 3; do
            ! grep -qx $((port + offset)) <<<"$taken" || continue 2
        done
        echo "$port"
        return
    done
}

start_daemon() {
    local port
    port=$(<"$STATE/port")
    API=https://127.0.0.1:$port
    ETCD=http://127.0.0.1:$((port + 1))
    alive "$1" || case $1 in
        etcd)
            start etcd etcd --name plane --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
                --quota-backend-bytes "$(<"$STATE/quota")" \
                --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" \
                --listen-peer-urls "http://127.0.0.1:$((port + 2))" --initial-advertise-peer-urls "http://127.0.0.1:$((port + 2))" \
                --initial-cluster "plane=http://127.0.0.1:$((port + 2))"
            await 60 "etcd to answer" etcd curl --silent --fail "$ETCD/readyz"
            ;;
        kube-apiserver)
            start kube-apiserver kube-apiserver --advertise-address 127.0.0.1 --bind-address 127.0.0.1 --secure-port "$port" \
                --etcd-servers "$ETCD" --authorization-mode RBAC --endpoint-reconciler-type none \
                --service-cluster-ip-range 10.97.0.0/16 --client-ca-file "$STATE/pki/ca.crt" \
                --tls-cert-file "$STATE/pki/apiserver.crt" --tls-private-key-file "$STATE/pki/apiserver.key" \
                --service-account-issuer https://kubernetes.default.svc.cluster.local \
                --service-account-key-file "$STATE/pki/service-accounts.key" --service-account-signing-key-file "$STATE/pki/service-accounts.key"
            await 60 "the API server to be ready" kube-apiserver kubectl get --raw /readyz
            ;;
        kube-controller-manager)
            start kube-controller-manager kube-controller-manager --bind-address 127.0.0.1 --secure-port $((port + 3)) --leader-elect=false \
                --kubeconfig "$STATE/kubeconfig" --root-ca-file "$STATE/pki/ca.crt" \
                --service-account-private-key-file "$STATE/pki/service-accounts.key" --enable-hostpath-provisioner \
                --kube-api-qps 200 --kube-api-burst 400
            ;;
        *) fail "unknown daemon: $1" ;;
    esac
}

# No node runs anything, so no object has to wait for the ready node that the cluster's other addons need.
storage_class() {
    sed -n '/^kind: StorageClass/,/^---/p' "$HERE/local/addons.yaml" | sed '1i apiVersion: storage.k8s.io/v1' | sed '/^---/d'
}

plane_up() {
    [[ ! -e $STATE/port ]] || fail "there is a control plane in $STATE already"
    mkdir -p "$STATE/pki" "$LOGS" "$PIDS"
    free_ports >"$STATE/port"
    echo "${ETCD_QUOTA_BYTES:-0}" >"$STATE/quota"
    API=https://127.0.0.1:$(<"$STATE/port")
    (
        cd "$STATE/pki" || exit
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 3650 -subj /CN=wavestore-ca 2>/dev/null
        openssl genrsa -out service-accounts.key 2048 2>/dev/null
        issue apiserver wavestore kube-apiserver DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1
        issue admin system:masters admin
        kubeconfig admin "$STATE/kubeconfig"
    )
    local daemon
    for daemon in etcd kube-apiserver kube-controller-manager; do
        start_daemon "$daemon"
    done
    storage_class | kubectl apply -f - >/dev/null
    kubectl apply --server-side -f "$REPOSITORY/config/crd" >/dev/null
    kubectl wait --for condition=Established --timeout 60s -f "$REPOSITORY/config/crd" >/dev/null
}

plane_down() {
    local name
    for name in "$PIDS"/*; do
        [[ ! -e $name ]] || stop "${name##*/}" KILL
    done
    rm -rf --one-file-system "${STATE:?}"/{etcd,kubeconfig,logs,pids,pki,port,quota,cache}
    rmdir "$STATE" 2>/dev/null || true
}

# Past revisions are what fills etcd; without them, the file shrinks, and the alarm that refuses writes can end.
plane_defragment() {
    local etcd revision
    etcd=http://127.0.0.1:$(($(<"$STATE/port") + 1))
    ask() { curl --silent --fail --max-time 30 --data "$2" "$etcd/v3/$1"; }
    revision=$(ask maintenance/status '{}' | jq -r .header.revision)
    ask kv/compaction "{\"revision\": \"$revision\", \"physical\": true}" >/dev/null || true # compacted already
    ask maintenance/defragment '{}' >/dev/null
    ask maintenance/alarm '{"action": "DEACTIVATE", "alarm": "NOSPACE"}' >/dev/null
}

case $1 in
    up) plane_up ;;
    down) plane_down ;;
    stop) stop "${3:?}" ;;
    kill) stop "${3:?}" KILL ;;
    start) start_daemon "${3:?}" ;;
    defragment) plane_defragment ;;
    *) fail "usage: control_plane.sh up|down|stop|kill|start|defragment FOLDER [DAEMON]" ;;
esac
