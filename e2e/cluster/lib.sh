#!/usr/bin/env bash
# Paths and small helpers that the cluster scripts share. To be sourced.
# shellcheck disable=SC2034 # the names are used by those who source this

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$HERE/../.." && pwd)
CACHE=${WAVESTORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wavestore}
STATE=${WAVESTORE_STATE:-/var/lib/wavestore-cluster}
BUILD=$CACHE/cluster/$(cat "$HERE"/{go.mod,go.sum,requirements.txt,build.sh} | sha256sum | cut -c1-16)
BIN=$BUILD/bin
LOGS=$STATE/logs
PIDS=$STATE/pids
RUN=$STATE/run

BRIDGE=wavestore0
BRIDGE_IP=10.244.0.1
POD_CIDR=10.244.0.0/24
SERVICE_CIDR=10.96.0.0/16
KUBERNETES_IP=10.96.0.1
DNS_IP=10.96.0.10
NODE=wavestore
POD_USER=65532

export PATH=$BIN:$PATH
export KUBECACHEDIR=$STATE/cache

say() { echo "cluster: $*"; }
fail() {
    echo "cluster: $*" >&2
    exit 1
}

# What kind of cluster is up: local, kind, existing, or nothing.
mode() { cat "$STATE/mode" 2>/dev/null || true; }

# The client of the local cluster's containerd.
ctr_cluster() { CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 ctr --address "$RUN/containerd/containerd.sock" --namespace k8s.io "$@"; }

# Buildah with a storage of its own, in the cache.
buildah() {
    BUILDAH_ISOLATION=chroot command buildah --root "$CACHE/containers" --runroot "$CACHE/containers-run" --storage-driver overlay "$@"
}

# One script at a time changes the cluster. Daemons must not inherit the lock: start closes it.
lock() {
    mkdir -p "$CACHE/cluster"
    exec 8>"$CACHE/cluster/up.lock"
    flock 8
}

# The time a living process started, in clock ticks after boot: with the pid, it names a process for good.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

# Is the daemon of this name the one that start recorded, and still running?
alive() {
    local pid started
    read -r pid started 2>/dev/null <"$PIDS/$1" || return 1
    [[ $(started_at "$pid") == "$started" ]]
}

# Starts a daemon in a session of its own: start NAME COMMAND...
start() {
    local name=$1
    shift
    setsid nohup "$@" </dev/null >>"$LOGS/$name.log" 2>&1 8>&- &
    local pid=$!
    echo "$pid $(started_at "$pid")" >"$PIDS/$name"
}

# Ends a daemon with all its children, and waits until it is gone: stop NAME [SIGNAL]
stop() {
    local name=$1 signal=${2:-TERM} pid _ deadline=$((SECONDS + 5))
    if alive "$name"; then
        read -r pid _ <"$PIDS/$name"
        kill "-$signal" -- "-$pid" 2>/dev/null || true
        while alive "$name"; do
            ((SECONDS < deadline)) || kill -KILL -- "-$pid" 2>/dev/null || true
            sleep 0.05
        done
    fi
    rm -f "$PIDS/$name"
}

# Waits for a command to succeed: await SECONDS WHAT NAME COMMAND... (NAME is the daemon whose log explains a failure).
await() {
    local seconds=$1 what=$2 name=$3 deadline=$((SECONDS + $1))
    shift 3
    until "$@" >/dev/null 2>&1; do
        if ! alive "$name"; then
            tail -n 30 "$LOGS/$name.log" >&2
            fail "$name ended while waiting for: $what. Its log is $LOGS/$name.log"
        fi
        if ((SECONDS >= deadline)); then
            tail -n 30 "$LOGS/$name.log" >&2
            fail "waited $seconds s in vain for: $what. The log of $name is $LOGS/$name.log"
        fi
        sleep 0.1
    done
}
