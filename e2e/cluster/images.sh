#!/usr/bin/env bash
# Builds the product's images from compiled binaries and puts them into the cluster:
#   images.sh build BIN_DIR TAG    makes wavestore/store:TAG, wavestore/instance:TAG and wavestore/instance:TAG-python3.13
#   images.sh load TAG             gives them to the cluster that is up
#   images.sh BIN_DIR TAG          both
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

REGISTRY=docker.io/wavestore
# The store and most apps; apps that ask for Python 3.13.
DEBIAN_SUITE=bookworm
DEBIAN_SUITE_PYTHON3_13=trixie

if docker info >/dev/null 2>&1; then
    engine=docker
elif podman info >/dev/null 2>&1; then
    engine=podman
else
    engine=buildah
fi

has_image() {
    if [[ $engine == buildah ]]; then buildah inspect --type image "$1"; else "$engine" image inspect "$1"; fi >/dev/null 2>&1
}

# Sets `base` to Debian's image: debian_base SUITE. No registry can be reached where there is only buildah: it is made of
# Debian's packages there, once.
debian_base() {
    local suite=$1
    if [[ $engine != buildah ]]; then
        base=docker.io/library/debian:$suite-slim
        return
    fi
    base=localhost/wavestore/base:$suite-$(declare -f debian_base | sha256sum | cut -c1-12)
    ! has_image "$base" || return 0
    say "making the base image of Debian $suite's packages (about a minute, once)"
    local root container
    root=$(mktemp -d "$CACHE/images/debian.XXXXXX")
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$root/tree" >"$root/log" 2>&1 || {
        tail -n 20 "$root/log" >&2
        fail "debootstrap failed"
    }
    rm -rf "$root"/tree/var/cache/apt/* "$root"/tree/var/lib/apt/lists/* "$root"/tree/usr/share/{doc,info,man}/* "$root"/tree/dev/*
    find "$root/tree/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name 'C*' -exec rm -rf {} +
    tar -C "$root/tree" -cf "$root/tree.tar" .
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$root/tree.tar" / >/dev/null
    buildah config --cmd /bin/bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm "$container" "$base" >/dev/null
    rm -rf "$root"
}

# Names an image after all that goes into it, and builds it if there is none of that name: make_image NAME TAG FILE...
make_image() {
    local name=$1 tag=$2 file key context=$CACHE/images/context/$1
    shift 2
    key=$({
        echo "$engine $base"
        cat "$REPOSITORY/config/images/$name.Containerfile"
        for file in "$@"; do
            # A binary is known by its date and size, a folder of text by its content.
            if [[ -d $file ]]; then (cd "$file" && find . -type f -print0 | sort -z | xargs -0 sha256sum); else stat -L -c '%n %s %.Y' "$file"; fi
        done
    } | sha256sum | cut -c1-16)
    if ! has_image "$REGISTRY/$name:$key"; then
        local start=$SECONDS
        rm -rf "$context"
        mkdir -p "$context"
        cp "$REPOSITORY/config/images/$name.Containerfile" "$context/Containerfile"
        for file in "$@"; do
            if [[ $file == "$bin_dir"/* ]]; then strip --strip-debug -o "$context/${file##*/}" "$file"; else cp -rL "$file" "$context/"; fi
        done
        if [[ $engine == buildah ]]; then
            buildah build --quiet --layers --pull-never --build-arg "BASE=$base" --tag "$REGISTRY/$name:$key" "$context" >/dev/null
        else
            "$engine" build --quiet --build-arg "BASE=$base" --tag "$REGISTRY/$name:$key" --file "$context/Containerfile" "$context" >/dev/null
        fi
        say "built wavestore/$name:$tag in $((SECONDS - start)) s"
    fi
    "$engine" tag "$REGISTRY/$name:$key" "$REGISTRY/$name:$tag"
    echo "$key" >"$CACHE/images/$name@$tag"
}

build() {
    bin_dir=$(cd "$1" && pwd)
    "$HERE/build.sh" helm uv
    debian_base "$DEBIAN_SUITE"
    make_image store "$2" "$BIN/helm" "$REPOSITORY/config/wave-instance" "$bin_dir/wavestore-operator" "$bin_dir/wavestore-router"
    make_image instance "$2" "$BIN/uv" "$bin_dir/wavestore-launcher"
    debian_base "$DEBIAN_SUITE_PYTHON3_13"
    make_image instance "$2-python3.13" "$BIN/uv" "$bin_dir/wavestore-launcher"
    local image
    for image in $(all "$2"); do say "wavestore/${image/@/:} is $(cat "$CACHE/images/$image")"; done
}

# What is built and loaded, as NAME@TAG: all TAG
all() { echo "store@$1" "instance@$1" "instance@$1-python3.13"; }

# Writes an image into an archive: save IMAGE FILE
save() {
    if [[ $engine == buildah ]]; then
        buildah push --quiet --disable-compression "$1" "oci-archive:$2:$1"
    else
        "$engine" save --output "$2" "$1"
    fi
}

load_image() {
    local name=$1 tag=$2 key archive
    key=$(cat "$CACHE/images/$name@$tag" 2>/dev/null) || fail "there is no image wavestore/$name:$tag: build it first"
    archive=$CACHE/images/$name.$$.tar
    case $(mode) in
        local)
            if [[ -z $(ctr_cluster images ls -q "name==$REGISTRY/$name:$key") ]]; then
                save "$REGISTRY/$name:$key" "$archive"
                ctr_cluster images import "$archive" >/dev/null
            fi
            ctr_cluster images tag --force "$REGISTRY/$name:$key" "$REGISTRY/$name:$tag" >/dev/null
            ;;
        kind)
            save "$REGISTRY/$name:$tag" "$archive"
            kind load image-archive --name wavestore "$archive"
            ;;
        existing)
            [[ -n ${IMAGE_REGISTRY:-} ]] || fail "set IMAGE_REGISTRY to a registry that the cluster pulls from: the images are pushed to \$IMAGE_REGISTRY/store:$tag and \$IMAGE_REGISTRY/instance:$tag"
            "$engine" tag "$REGISTRY/$name:$key" "$IMAGE_REGISTRY/$name:$tag"
            "$engine" push "$IMAGE_REGISTRY/$name:$tag"
            ;;
        *) fail "no cluster is up (make cluster)" ;;
    esac
    rm -f "$archive"
}

load() {
    local image
    for image in $(all "$1"); do
        load_image "${image%@*}" "${image#*@}"
    done
    say "the cluster has wavestore/store:$1, wavestore/instance:$1 and wavestore/instance:$1-python3.13"
}

mkdir -p "$CACHE/images"
exec 9>"$CACHE/images/lock"
flock 9
[[ $engine != podman ]] || export KIND_EXPERIMENTAL_PROVIDER=podman
case $#-${1:-} in
    3-build) build "$2" "$3" ;;
    2-load) load "$2" ;;
    2-*)
        build "$1" "$2"
        load "$2"
        ;;
    *) fail "usage: images.sh [build] BIN_DIR TAG | images.sh load TAG" ;;
esac
