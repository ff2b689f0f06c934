#!/usr/bin/env bash
# From a bare machine to a running store with a sample app (`make up`). Every step can be run again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib.sh"

NAMESPACE=wavestore
PORT=${WAVESTORE_PORT:-8080}
TIMINGS=$CACHE/up-timings
# Of cargo: `release` to measure, `dev` to be quick.
PROFILE=${WAVESTORE_PROFILE:-dev}

# Says what begins, and how long it took the last time: step TITLE
step() {
    local now=$SECONDS last
    if [[ -n ${title:-} ]]; then
        echo "    done in $((now - began)) s"
        sed -i "/^$title	/d" "$TIMINGS" 2>/dev/null || true
        printf '%s\t%s\n' "$title" "$((now - began))" >>"$TIMINGS"
    fi
    title=$1 began=$now count=$((${count:-0} + 1))
    last=$(sed -n "s/^$title	//p" "$TIMINGS" 2>/dev/null || true)
    printf '[%s/7] %s%s\n' "$count" "$title" "${last:+ (last time: $last s)}"
}

mkdir -p "$CACHE"
step "packages of this machine"
"$HERE/prerequisites.sh"

step "binaries of the cluster, and the store's own"
# Both use all cores; side by side neither waits for the other's slow links and downloads.
"$HERE/build.sh" &
cluster_build=$!
(cd "$REPOSITORY" && cargo build --locked --workspace --bins --profile "$PROFILE")
wait "$cluster_build"

step "the cluster"
"$HERE/up.sh"
export KUBECONFIG=$STATE/kubeconfig PATH=$STATE/bin:$PATH

step "images"
bins=$CARGO_TARGET_DIR/${PROFILE/dev/debug}
tag=dev-$({
    cat "$bins"/wavestore-{operator,router,launcher} "$REPOSITORY"/config/images/*.Containerfile
    find "$REPOSITORY/config/wave-instance" -type f -print0 | sort -z | xargs -0 cat
} | sha256sum | cut -c1-12)
"$HERE/images.sh" "$bins" "$tag"
images=wavestore
[[ $(mode) != existing ]] || images=$IMAGE_REGISTRY

step "the store"
kubectl create namespace "$NAMESPACE" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
settings=()
# Where a company, or this machine, intercepts TLS, pods must trust the same authorities.
if [[ -r ${SSL_CERT_FILE:-} ]]; then
    kubectl -n "$NAMESPACE" create configmap extra-ca --from-file=ca.crt="$SSL_CERT_FILE" --dry-run=client -o yaml |
        kubectl apply --server-side --force-conflicts -f - >/dev/null
    settings+=(--set instances.caConfigMap=extra-ca)
fi
helm upgrade --install wavestore "$REPOSITORY/config/wavestore" --namespace "$NAMESPACE" --take-ownership --force-conflicts \
    --set images.store="$images/store:$tag" --set images.instance="$images/instance:$tag" \
    --set "runtimes[0].name=python3.13,runtimes[0].image=$images/instance:$tag-python3.13" \
    --set "customImages[0]=$images/instance" \
    --set-json 'sizes=[{"name": "small", "limits": {"memory": "300Mi"}, "nodeSelector": {"kubernetes.io/os": "linux"}}]' \
    --set instances.disk=2Gi --set storeUrl="http://localhost:$PORT" --set appsDomain="localhost:$PORT" "${settings[@]}" >/dev/null
for deployment in wavestore-operator wavestore-router; do
    kubectl -n "$NAMESPACE" rollout status "deployment/$deployment" --timeout=180s || {
        kubectl -n "$NAMESPACE" get pods
        kubectl -n "$NAMESPACE" logs "deployment/$deployment" --tail=30
        kubectl -n "$NAMESPACE" logs --selector app.kubernetes.io/component=migrate --tail=10
        fail "$deployment does not become ready; its last words are above"
    }
done
"$HERE/expose.sh" "$NAMESPACE" wavestore 80 "$PORT"

step "the sample apps"
bundle=$(mktemp --suffix=.wave)
trap 'rm -f "$bundle"' EXIT
for app in hello docs-link; do
    python3 "$REPOSITORY/e2e/apps/pack.py" "$REPOSITORY/e2e/apps/$app" "$bundle"
    kubectl -n "$NAMESPACE" create configmap "bundle-$app" --from-file=app.wave="$bundle" --dry-run=client -o yaml |
        kubectl apply --server-side --force-conflicts --field-manager=e2e -f - >/dev/null
    kubectl -n "$NAMESPACE" apply --server-side --force-conflicts --field-manager=e2e -f - <<APP
apiVersion: wavestore.io/v1alpha1
kind: WaveApp
metadata: {name: $app}
spec:
  bundle: {configMapRef: {name: bundle-$app, key: app.wave}}
  owner: admin
  visibility: AllUsers
APP
done
kubectl -n "$NAMESPACE" wait --for=condition=Ready waveapp/hello waveapp/docs-link --timeout=120s

step "done"
cat <<DONE

The store is at    http://localhost:$PORT/
  Name             admin
  Password         $(kubectl -n "$NAMESPACE" get secret wavestore-admin -o jsonpath='{.data.password}' | base64 -d)

Use its cluster    export KUBECONFIG=$KUBECONFIG PATH=$STATE/bin:\$PATH
                   kubectl config set-context --current --namespace $NAMESPACE
Run the sample     kubectl apply -f config/samples/hello.yaml
  or with Helm     helm install sales config/wave-instance --wait --set-string app.name=hello,app.version=1.0.0,owner=admin
Open it            http://hello.localhost:$PORT/   or   http://sales.localhost:$PORT/
Watch              kubectl get waveinstances --watch
Open to everybody  helm upgrade sales config/wave-instance --reuse-values --set visibility=Public
End it             kubectl delete waveinstance hello   or   helm uninstall sales
Take all down      make down
DONE
