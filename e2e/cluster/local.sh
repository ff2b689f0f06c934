#!/usr/bin/env bash
# The local cluster: every real component as a process of this machine. To be sourced after lib.sh.

DAEMONS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy)
API=https://$BRIDGE_IP:6443
ETCD=http://127.0.0.1:12379

# Copies a file of local/ with its @NAMES@ filled in: render SOURCE TARGET
render() {
    local resolv=/etc/resolv.conf
    # systemd-resolved's stub listens on the loopback of the machine, where no pod reaches it.
    [[ ! -e /run/systemd/resolve/resolv.conf ]] || resolv=/run/systemd/resolve/resolv.conf
    sed -e "s|@STATE@|$STATE|g; s|@RUN@|$RUN|g; s|@LOGS@|$LOGS|g; s|@BIN@|$BIN|g; s|@NODE@|$NODE|g" \
        -e "s|@BRIDGE@|$BRIDGE|g; s|@BRIDGE_IP@|$BRIDGE_IP|g; s|@POD_CIDR@|$POD_CIDR|g; s|@DNS_IP@|$DNS_IP|g" \
        -e "s|@RESOLV_CONF@|$resolv|g" "$HERE/local/$1" >"$2"
}

# Makes a key and a certificate signed by the cluster's CA: issue FILE ORGANIZATION NAME [ALTERNATIVE_NAMES]
issue() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "/O=$2/CN=$3" \
        -addext extendedKeyUsage=clientAuth,serverAuth ${4:+-addext "subjectAltName=$4"} 2>/dev/null |
        openssl x509 -req -copy_extensions copy -CA ca.crt -CAkey ca.key -days 3650 -out "$1.crt" 2>/dev/null
}

# Writes a kubeconfig for a certificate made by issue: kubeconfig CERTIFICATE FILE
kubeconfig() {
    (
        umask 077
        cat >"$2" <<YAML
apiVersion: v1
kind: Config
current-context: wavestore
contexts: [{ name: wavestore, context: { cluster: wavestore, user: $1 } }]
clusters: [{ name: wavestore, cluster: { server: "$API", certificate-authority-data: $(base64 -w0 ca.crt) } }]
users: [{ name: $1, user: { client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key") } }]
YAML
    )
}

write_configuration() (
    mkdir -p "$STATE"/{config/cni,pki} "$LOGS" "$PIDS" "$RUN"
    ln -sfn "$BIN" "$STATE/bin"
    render containerd.toml "$STATE/config/containerd.toml"
    render cni.conflist "$STATE/config/cni/10-wavestore.conflist"
    render kubelet.yaml "$STATE/config/kubelet.yaml"
    render kube-proxy.yaml "$STATE/config/kube-proxy.yaml"
    render network.nft "$STATE/config/network.nft"
    render addons.yaml "$STATE/config/addons.yaml"
    cd "$STATE/pki" || exit
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 3650 -subj /CN=wavestore-ca 2>/dev/null
    openssl genrsa -out service-accounts.key 2048 2>/dev/null
    issue apiserver wavestore kube-apiserver \
        "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$KUBERNETES_IP,IP:$BRIDGE_IP"
    issue kubelet-server system:nodes "system:node:$NODE" "DNS:$NODE,IP:$BRIDGE_IP"
    issue apiserver-kubelet system:masters apiserver-kubelet
    issue admin system:masters admin
    issue kubelet system:nodes "system:node:$NODE"
    issue kube-controller-manager wavestore system:kube-controller-manager
    issue kube-scheduler wavestore system:kube-scheduler
    issue kube-proxy wavestore system:kube-proxy
    for name in kubelet kube-controller-manager kube-scheduler kube-proxy; do
        kubeconfig "$name" "$STATE/config/$name.kubeconfig"
    done
    kubeconfig admin "$STATE/kubeconfig"
)

# Sets a kernel parameter and remembers what it was.
set_sysctl() {
    local was
    was=$(sysctl -n "$1")
    [[ $was == "$2" ]] || { echo "$1=$was" >>"$STATE/sysctl.before" && sysctl -qw "$1=$2"; }
}

start_network() {
    modprobe -q br_netfilter 2>/dev/null || true # built into some kernels
    set_sysctl net.ipv4.ip_forward 1
    # Without this, an answer between two pods on the bridge would miss the translation of the service's address.
    set_sysctl net.bridge.bridge-nf-call-iptables 1
    ip link add "$BRIDGE" type bridge
    ip address add "$BRIDGE_IP/24" dev "$BRIDGE"
    ip link set "$BRIDGE" up
    # No packet for a service may leave the machine.
    ip route replace "$SERVICE_CIDR" dev "$BRIDGE"
    # This route leads back to where pods' packets come from. Redirects would be sent for each, and starve (by the limit
    # of ICMP messages per host) the refusal that a service without endpoints answers with.
    set_sysctl net.ipv4.conf.all.send_redirects 0
    sysctl -qw "net.ipv4.conf.$BRIDGE.send_redirects=0"
    nft -f "$STATE/config/network.nft"
}

start_apiserver() {
    start kube-apiserver kube-apiserver --advertise-address "$BRIDGE_IP" --bind-address "$BRIDGE_IP" --secure-port 6443 \
        --etcd-servers "$ETCD" --allow-privileged --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
        --service-cluster-ip-range "$SERVICE_CIDR" --client-ca-file "$STATE/pki/ca.crt" \
        --tls-cert-file "$STATE/pki/apiserver.crt" --tls-private-key-file "$STATE/pki/apiserver.key" \
        --kubelet-certificate-authority "$STATE/pki/ca.crt" --kubelet-preferred-address-types InternalIP \
        --kubelet-client-certificate "$STATE/pki/apiserver-kubelet.crt" --kubelet-client-key "$STATE/pki/apiserver-kubelet.key" \
        --service-account-issuer https://kubernetes.default.svc.cluster.local \
        --service-account-key-file "$STATE/pki/service-accounts.key" --service-account-signing-key-file "$STATE/pki/service-accounts.key"
    await 60 "the API server to be ready" kube-apiserver kubectl get --raw /readyz
}

# Makes an image of one binary, once: system_image NAME BINARY [ARGUMENT]
system_image() {
    local archive=$BUILD/$1.tar context
    [[ ! -e $archive ]] || return 0
    context=$(mktemp -d)
    cp "$2" "$context/binary"
    printf 'FROM scratch\nCOPY binary /binary\nENTRYPOINT ["/binary"%s]\n' "${3:+, \"$3\"}" >"$context/Containerfile"
    buildah build --quiet --tag "wavestore/$1:local" "$context" >/dev/null
    buildah push --quiet "wavestore/$1:local" "oci-archive:$archive.part:docker.io/wavestore/$1:local"
    mv "$archive.part" "$archive"
    rm -rf "$context"
}

node_ready() {
    [[ $(kubectl get node "$NODE" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}') == True ]]
}

# Did every daemon (but for those named) survive?
daemons_alive() {
    local name
    for name in "${DAEMONS[@]}"; do
        [[ " $* " == *" $name "* ]] || alive "$name" || return 1
    done
}

local_up() {
    export KUBECONFIG=$STATE/kubeconfig
    if daemons_alive kube-apiserver; then
        alive kube-apiserver || start_apiserver
        kubectl get --raw /readyz >/dev/null 2>&1 && return
    fi
    [[ $EUID == 0 ]] || fail "the local cluster needs root"
    "$HERE/prerequisites.sh"
    "$HERE/build.sh"
    local_down
    local start=$SECONDS
    mkdir -p "$STATE"
    echo local >"$STATE/mode"
    write_configuration
    system_image pause /usr/bin/catatonit -P
    system_image coredns "$BIN/coredns"
    start_network
    say "starting ${DAEMONS[*]}"

    start etcd etcd --name "$NODE" --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" \
        --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
        --initial-cluster "$NODE=http://127.0.0.1:12380"
    start containerd containerd --config "$STATE/config/containerd.toml"
    start_apiserver
    # The host-path provisioner makes a volume's folder with mode 0750, and a hostPath ignores fsGroup: the folder must
    # belong to the user that the product's pods run as.
    start kube-controller-manager setpriv --reuid "$POD_USER" --regid "$POD_USER" --clear-groups \
        --inh-caps +dac_override --ambient-caps +dac_override \
        kube-controller-manager --bind-address 127.0.0.1 --leader-elect=false \
        --kubeconfig "$STATE/config/kube-controller-manager.kubeconfig" --use-service-account-credentials \
        --root-ca-file "$STATE/pki/ca.crt" --service-account-private-key-file "$STATE/pki/service-accounts.key" \
        --enable-hostpath-provisioner --kube-api-qps 100 --kube-api-burst 200 \
        --node-monitor-grace-period 10m # tests stop the API server: its node must not look dead afterwards
    start kube-scheduler kube-scheduler --bind-address 127.0.0.1 --leader-elect=false \
        --kubeconfig "$STATE/config/kube-scheduler.kubeconfig" --kube-api-qps 100 --kube-api-burst 200
    await 30 "containerd to answer" containerd ctr_cluster version
    local image
    for image in pause coredns; do
        ctr_cluster images import "$BUILD/$image.tar" >/dev/null
    done
    start kubelet kubelet --config "$STATE/config/kubelet.yaml" --kubeconfig "$STATE/config/kubelet.kubeconfig" \
        --root-dir "$STATE/kubelet" --cert-dir "$STATE/pki" --hostname-override "$NODE" --node-ip "$BRIDGE_IP"
    start kube-proxy kube-proxy --config "$STATE/config/kube-proxy.yaml"
    kubectl apply -f "$STATE/config/addons.yaml" >/dev/null
    await 60 "the node to be ready" kubelet node_ready
    if ! kubectl -n kube-system rollout status deployment/coredns --timeout 60s >/dev/null; then
        kubectl -n kube-system describe pods >&2
        fail "CoreDNS did not come up"
    fi
    say "up in $((SECONDS - start)) s"
}

# The daemons and shims of this cluster that run, whether or not their pids are on record.
processes() {
    local directory
    for directory in /proc/[0-9]*; do
        case $(readlink "$directory/exe" 2>/dev/null) in
            "$CACHE"/cluster/*/bin/etcd* | "$CACHE"/cluster/*/bin/kube-* | "$CACHE"/cluster/*/bin/kubelet* | "$CACHE"/cluster/*/bin/containerd*) ;;
            *) continue ;;
        esac
        ! tr '\0' '\n' 2>/dev/null <"$directory/cmdline" | grep -qF "$STATE/" || echo "${directory#/proc/}"
    done
}

# Removes everything that local_up or a cluster of its own left, in whatever state it is.
local_down() {
    local name pid container target link
    [[ -e $STATE ]] || [[ -e /sys/class/net/$BRIDGE ]] || return 0
    say "removing what is left of a local cluster"
    for name in "$PIDS"/*; do
        [[ ! -e $name ]] || [[ ${name##*/} == containerd ]] || stop "${name##*/}" KILL
    done
    # Containers outlive their shims, shims outlive containerd: from the inside out.
    for container in "$RUN"/runc/k8s.io/*; do
        [[ ! -e $container ]] || runc --root "$RUN/runc/k8s.io" delete --force "${container##*/}" 2>/dev/null || true
    done
    for pid in $(processes); do
        kill -KILL "$pid" 2>/dev/null || true
    done
    awk -v prefix="$STATE/" 'index($2, prefix) == 1 { print $2 }' /proc/mounts | sort -r | while read -r target; do
        umount "$target" 2>/dev/null || umount -l "$target" || true
    done
    for link in /sys/class/net/"$BRIDGE"/brif/*; do
        [[ ! -e $link ]] || ip link delete "${link##*/}" 2>/dev/null || true
    done
    ip link delete "$BRIDGE" 2>/dev/null || true # its routes go with it
    for table in "ip kube-proxy" "ip6 kube-proxy" "ip wavestore-cluster"; do
        # shellcheck disable=SC2086 # family and name
        nft delete table $table 2>/dev/null || true
    done
    find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
    [[ ! -e $STATE/sysctl.before ]] || xargs -r sysctl -qw <"$STATE/sysctl.before"
    # Places that kubelet, containerd and the host-path provisioner do not let one choose.
    find /var/log/containers -lname "$LOGS/*" -delete 2>/dev/null || true
    rm -rf /var/lib/kubelet/device-plugins /var/lib/cni/results/{wavestore,cni-loopback}-*
    # The volumes of another control plane may be there, too, such as of the tests of faults.
    pgrep -f -- --enable-hostpath-provisioner >/dev/null || rm -rf /tmp/hostpath_pv
    [[ -S /run/containerd/containerd.sock ]] || rm -rf /run/containerd/s
    rmdir /var/log/containers /var/lib/{cni/results,cni,kubelet} /run/containerd 2>/dev/null || true
    rm -rf --one-file-system "${STATE:?}"/{bin,cache,config,containerd,etcd,images,ipam,kubeconfig,kubelet,logs,mode,opt,pids,pki,run,sysctl.before,volume-plugins}
    rmdir "$STATE" 2>/dev/null || say "left alone, not of the cluster: $(echo "$STATE"/*)"
}
