#!/bin/sh
# Sees to it that the programs which tests call are there, installing the Debian packages of those that are not.
# The Docker Engine itself is not installed: which one, and how, is the machine owner's decision.
set -eu

# <program>:<Debian package>
programs="curl:curl dig:bind9-dnsutils redis-cli:redis-tools redis-server:redis-server haproxy:haproxy openssl:openssl ip:iproute2 unshare:util-linux flock:util-linux cc:gcc htpasswd:apache2-utils h2load:nghttp2-client wrk:wrk"

missing=
for pair in $programs; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
# The static binaries of the images need the C library's archive.
[ -e /usr/lib/"$(uname -m)"-linux-gnu/libc.a ] || missing="$missing libc6-dev"
# Debian keeps the part of Python that makes virtual environments in a package of its own.
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"

if [ -n "$missing" ]; then
    echo "The tests need these Debian packages:$missing"
    if ! command -v apt-get >/dev/null; then
        echo "This is no Debian; install what provides the programs of them, then run make test again." >&2
        exit 1
    fi
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    # shellcheck disable=SC2086 # lists of words are wanted
    { $as_root apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends $missing; } || {
        echo "They could not be installed; as root run: apt-get update && apt-get install$missing" >&2
        exit 1
    }
fi

if ! docker version >/dev/null 2>&1; then
    echo "The tests need a Docker Engine and none answers at ${DOCKER_HOST:-unix:///var/run/docker.sock}." >&2
    echo "Install one with: apt-get install docker.io    Start it with: systemctl start docker (or: dockerd &)" >&2
    exit 1
fi
if ! command -v dockerd >/dev/null; then
    echo "The tests of an engine that restarts start one of their own and need the program dockerd." >&2
    echo "Install it with: apt-get install docker.io" >&2
    exit 1
fi

# Client libraries of Consul from PyPI, each in a virtual environment of its own, since they share the module's name.
# They lie in cargo's folder for test data, where the tests look for them.
clients=${CARGO_TARGET_DIR:-target}/tmp
mkdir -p "$clients"
# Runs that share the folder install one after the other.
exec 9>"$clients/lock"
flock 9
for client in python-consul==1.1.0 py-consul==1.8.0; do
    home=$clients/${client%%==*}
    [ "$(cat "$home/version" 2>/dev/null)" = "$client" ] && continue
    echo "Installing $client from PyPI for the tests"
    if ! python3 -m venv --clear "$home" ||
        ! "$home/bin/pip" install --quiet --disable-pip-version-check "$client"; then
        echo "It could not be installed; is PyPI within reach?" >&2
        exit 1
    fi
    echo "$client" >"$home/version"
done
