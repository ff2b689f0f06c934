#!/usr/bin/env bash
# Installs the Debian packages that the local cluster, the images and the end-to-end tests need.
set -euo pipefail

packages=(
    ca-certificates curl git jq make openssl pkg-config procps unzip  # everyday tools
    build-essential libseccomp-dev                                    # runc is built with cgo
    containernetworking-plugins conntrack iproute2 nftables socat     # the pod network
    buildah catatonit debootstrap                                     # images without a container engine
    chromium chromium-driver                                          # browser tests
    libfaketime                                                       # tests with a clock that steps
    postgresql postgresql-client                                      # tests of the catalog
    python3 python3-venv
)

# For the OIDC provider of the router's tests; others than Debian's will do.
command -v npm >/dev/null || packages+=(nodejs npm)

missing=()
for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "prerequisites: all ${#packages[@]} Debian packages are installed"
    exit 0
fi

if [[ $EUID != 0 ]]; then
    echo "prerequisites: run as root, or install these yourself: ${missing[*]}" >&2
    exit 1
fi

# The tests start their own PostgreSQL servers: Debian's default one would only take port 5432.
if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
fi

echo "prerequisites: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null
echo "prerequisites: done"
