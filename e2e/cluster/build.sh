#!/usr/bin/env bash
# Builds the binaries of the local cluster (or only those named) from the modules pinned in go.mod, once, into a cache outside the checkout.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

declare -A packages=(
    [containerd]=github.com/containerd/containerd/v2/cmd/containerd
    [containerd-shim-runc-v2]=github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
    [coredns]=github.com/coredns/coredns
    [ctr]=github.com/containerd/containerd/v2/cmd/ctr
    [etcd]=go.etcd.io/etcd/server/v3
    [helm]=helm.sh/helm/v4/cmd/helm
    [kube-apiserver]=k8s.io/kubernetes/cmd/kube-apiserver
    [kube-controller-manager]=k8s.io/kubernetes/cmd/kube-controller-manager
    [kube-proxy]=k8s.io/kubernetes/cmd/kube-proxy
    [kube-scheduler]=k8s.io/kubernetes/cmd/kube-scheduler
    [kubectl]=k8s.io/kubernetes/cmd/kubectl
    [kubelet]=k8s.io/kubernetes/cmd/kubelet
)

# Fills $names and $mains with what is wanted and not in the cache yet.
find_missing() {
    local name
    names=() mains=()
    for name in "${wanted[@]}"; do
        [[ ! -x $BIN/$name ]] || continue
        names+=("$name")
        [[ -z ${packages[$name]:-} ]] || mains+=("${packages[$name]}")
    done
}

wanted=("$@")
((${#wanted[@]} > 0)) || wanted=("${!packages[@]}" runc uv)
find_missing
((${#names[@]} > 0)) || exit 0

mkdir -p "$BIN"
exec 9>"$CACHE/cluster/build.lock"
flock -n 9 || say "another build is running: waiting for it"
flock 9
find_missing # that build may have made them
((${#names[@]} > 0)) || exit 0

timings=$CACHE/cluster/timings
last=$(grep -sF "${names[*]} = " "$timings" | tail -n 1 | sed 's/.* = //') || true
say "building ${names[*]} (${last:+last time: }${last:-all of it: 15 minutes on 2 cores}), once, into $BIN"
start=$SECONDS
staging=$(mktemp -d "$BUILD/staging.XXXXXX")
trap 'rm -rf "$staging"' EXIT
cd "$HERE"

if ((${#mains[@]} > 0)); then
    # Without these, the API server calls itself v0.0.0 and charts that ask for a Kubernetes version refuse it.
    helm=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
    kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
    IFS=. read -r major minor _ <<<"${kubernetes#v}"
    version=k8s.io/component-base/version
    CGO_ENABLED=0 go build -trimpath -o "$staging/" \
        -ldflags "-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=$major -X $version.gitMinor=$minor -X helm.sh/helm/v4/internal/version.version=$helm" "${mains[@]}"
    [[ ! -e $staging/server ]] || mv "$staging/server" "$staging/etcd" # the folder of etcd's main package
fi
for name in "${names[@]}"; do
    case $name in
        runc) CGO_ENABLED=1 go build -trimpath -tags seccomp -ldflags '-s -w' -o "$staging/" github.com/opencontainers/runc ;;
        uv)
            python3 -m venv "$staging/venv"
            "$staging/venv/bin/pip" download -q --no-deps --require-hashes -d "$staging/wheel" -r requirements.txt
            unzip -q -j "$staging"/wheel/uv-*.whl '*/scripts/uv' -d "$staging"
            chmod +x "$staging/uv"
            ;;
    esac
    mv "$staging/$name" "$BIN/$name"
done

echo "${names[*]} = $((SECONDS - start)) s" >>"$timings"
say "built in $((SECONDS - start)) s"
