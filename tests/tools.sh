#!/bin/sh
# Sees to it that the programs which tests call are there, installing the Debian packages of those that are not.
# The Docker Engine itself is not installed: which one, and how, is the machine owner's decision.
set -eu

# Debian keeps the part of Python that makes virtual environments in a package of its own; no program is called so.
venv=
python3 -c 'import ensurepip' 2>/dev/null || venv=ensurepip:python3-venv

# The archive is what static binaries of the images are linked with.
"$(dirname "$0")"/packages.sh curl:curl dig:bind9-dnsutils redis-cli:redis-tools redis-server:redis-server haproxy:haproxy \
    openssl:openssl ip:iproute2 unshare:util-linux flock:util-linux cc:gcc htpasswd:apache2-utils h2load:nghttp2-client \
    wrk:wrk etcd:etcd-server etcdctl:etcd-client podman:podman runc:runc \
    "/usr/lib/$(uname -m)-linux-gnu/libc.a:libc6-dev" java:openjdk-17-jre-headless \
    /usr/share/java/zookeeper.jar:libzookeeper-java /usr/lib/python3/dist-packages/kazoo:python3-kazoo \
    /usr/lib/python3/dist-packages/grpc/__init__.py:python3-grpcio ${venv:+"$venv"}

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
