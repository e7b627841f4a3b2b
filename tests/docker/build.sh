#!/bin/sh
# Builds the images that tests and the demo run: `redis` and `nginx` from Debian's packages of those servers,
# `lictor-whoami` from examples/whoami.rs. Nothing is pulled, so it works without a registry.
#
#   tests/docker/build.sh [redis|nginx|whoami]...      default: all three
#
# An image is built when it is missing or when its inputs changed. An image called `redis` or `nginx` that is not
# ours (no label lictor-inputs) is left alone and used: it is the official one, whose shape ours has.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${CARGO_TARGET_DIR:-$top/target}/docker-images
export DOCKER_BUILDKIT=0 # the builder that every engine has

fail() {
    echo "tests/docker/build.sh: $*" >&2
    exit 1
}

command -v docker >/dev/null ||
    fail "the docker command is missing; get Docker with: apt-get install docker.io"
docker version >/dev/null 2>&1 ||
    fail "no Docker Engine answers at ${DOCKER_HOST:-unix:///var/run/docker.sock}; start it with: systemctl start docker (or dockerd &)"
mkdir -p "$cache"

# Tests run in parallel processes: the first one builds, the others wait and find it done.
exec 9>"$cache/lock"
flock 9

# The server packages, and the libraries they name directly or through each other.
libraries_of() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$@" | grep -E '^(lib|zlib)' | grep -vE '^lib(debian-installer|textwrap|newt|slang)' | sort -u
}

# unpack <directory> <package>...: the packages and their libraries, below <directory>
unpack() {
    into=$1
    shift
    command -v apt-get >/dev/null ||
        fail "these images are built from Debian packages and this is no Debian (apt-get is missing)"
    apt-cache show "$@" >/dev/null 2>&1 || apt-get update -qq ||
        fail "the package lists are empty and cannot be fetched; run as root: apt-get update"
    rm -rf "$into"
    mkdir -p "$into/debs"
    # shellcheck disable=SC2046 # a list of words is wanted
    (cd "$into/debs" && apt-get download -qq $(libraries_of "$@") "$@" 2>"$into/log") ||
        fail "cannot download the Debian packages $*: $(cat "$into/log"); is the package mirror reachable?"
    for package in "$into"/debs/*.deb; do
        dpkg -x "$package" "$into"
    done
    rm -rf "$into/debs"
}

# install_program <unpacked> <program> <image root>: the program, its loader and exactly the libraries it loads
install_program() {
    loader=$(find -L "$1/lib" "$1/lib64" "$1/usr/lib" "$1/usr/lib64" -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
    libraries=$(dirname "$loader")
    mkdir -p "$3/lib64" "$3/lib" "$3$(dirname "$2")" "$3/etc" "$3/run" "$3/tmp" "$3/var/log" "$3/var/lib"
    cp -L "$1$2" "$3$2"
    paths="$libraries:$(find "$1" -type d -path '*/usr/lib/*-linux-gnu*' -prune | tr '\n' ':')"
    "$loader" --library-path "$paths" --list "$1$2" | sed -n 's/.* => \(\/[^ ]*\).*/\1/p' | while read -r library; do
        case $library in
            */ld-linux*) ;;
            *) cp -L "$library" "$3/lib/" ;;
        esac
    done
    # Where the program looks for its loader is written in the program; both usual places are served.
    cp -L "$loader" "$3/lib64/"
    cp -L "$loader" "$3/lib/"
    echo 'root:x:0:0:root:/:/none' >"$3/etc/passwd"
    echo 'root:x:0:' >"$3/etc/group"
}

fill_redis() {
    unpack "$cache/redis.unpacked" redis-server redis-tools
    install_program "$cache/redis.unpacked" /usr/bin/redis-server "$1"
    mkdir -p "$1/data"
}

fill_nginx() {
    unpack "$cache/nginx.unpacked" nginx
    install_program "$cache/nginx.unpacked" /usr/sbin/nginx "$1"
    mkdir -p "$1/etc/nginx" "$1/usr/share/nginx/html" "$1/var/lib/nginx" "$1/var/log/nginx"
    cp "$here/nginx/nginx.conf" "$1/etc/nginx/"
    cp "$here/nginx/index.html" "$1/usr/share/nginx/html/"
}

fill_whoami() {
    mkdir -p "$1"
    command -v rustc >/dev/null || fail "rustc is missing; get Rust from https://rustup.rs"
    rustc --edition 2024 --crate-name whoami -O -C target-feature=+crt-static -C strip=symbols -C panic=abort \
        -o "$1/whoami" "$top/examples/whoami.rs"
}

# build <name> <tag> <input>...
build() {
    name=$1
    tag=$2
    shift 2
    inputs=$(cat "$0" "$@" | sha256sum | cut -c 1-16)
    if present=$(docker image inspect --format '{{index .Config.Labels "lictor-inputs"}}' "$tag" 2>/dev/null); then
        [ -z "$present" ] && echo "$tag: present and not ours, used as it is" && return
        [ "$present" = "$inputs" ] && echo "$tag: fresh" && return
    fi
    echo "$tag: building"
    context=$cache/$name
    rm -rf "$context"
    mkdir -p "$context/root"
    "fill_$name" "$context/root"
    cp "$here/$name/Dockerfile" "$context/"
    docker build --quiet --label "lictor-inputs=$inputs" --tag "$tag" "$context" >"$context.log" 2>&1 ||
        fail "building the image $tag: $(cat "$context.log")"
    rm -rf "$context" "$cache/$name.unpacked"
}

[ $# -gt 0 ] || set -- redis nginx whoami
for image in "$@"; do
    case $image in
        redis) build redis redis "$here/redis/Dockerfile" ;;
        nginx) build nginx nginx "$here/nginx/Dockerfile" "$here/nginx/nginx.conf" "$here/nginx/index.html" ;;
        whoami) build whoami lictor-whoami "$here/whoami/Dockerfile" "$top/examples/whoami.rs" ;;
        *) fail "unknown image $image; known are redis, nginx, whoami" ;;
    esac
done
