#!/usr/bin/env bash
# Makes a Service reachable on this machine's loopback until the cluster goes down: expose.sh NAMESPACE SERVICE SERVICE_PORT LOCAL_PORT
# or until it is taken back: expose.sh LOCAL_PORT
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if (($# == 1)); then
    stop "expose-$1"
    exit
fi
(($# == 4)) || fail "usage: expose.sh NAMESPACE SERVICE SERVICE_PORT LOCAL_PORT | expose.sh LOCAL_PORT"
namespace=$1 service=$2 service_port=$3 local_port=$4
name=expose-$local_port
export KUBECONFIG=$STATE/kubeconfig

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$local_port") 2>/dev/null; }

case $(mode) in
    local)
        ip=$(kubectl -n "$namespace" get service "$service" -o jsonpath='{.spec.clusterIP}')
        command=(socat "TCP-LISTEN:$local_port,bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=1024" "TCP:$ip:$service_port,nodelay")
        ;;
    kind | existing)
        # shellcheck disable=SC2016 # for the inner shell
        command=(bash -c 'while :; do kubectl "$@" || :; sleep 0.5; done' - -n "$namespace" port-forward
            --address 127.0.0.1 "service/$service" "$local_port:$service_port")
        ;;
    *) fail "no cluster is up (make cluster)" ;;
esac

# Running already, and for the same target?
if alive "$name" && [[ $(cat "$PIDS/$name.target" 2>/dev/null) == "${command[*]}" ]]; then
    exit 0
fi
stop "$name"
! port_open || fail "port $local_port is taken by another program"
start "$name" "${command[@]}"
echo "${command[*]}" >"$PIDS/$name.target"
if ! (await 20 "port $local_port to be open" "$name" port_open); then
    stop "$name"
    exit 1
fi
say "service $namespace/$service:$service_port is on http://127.0.0.1:$local_port"
