#!/bin/sh
# Installs the Debian packages of programs that are not there: packages.sh <program>:<package>…
# A path in place of a program is a file that has to be there. No service is started by that: tests and benchmarks start
# their own.
set -eu

missing=
for pair in "$@"; do
    [ -e "${pair%%:*}" ] || command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done

if [ -n "$missing" ]; then
    echo "Debian packages are needed:$missing"
    if ! command -v apt-get >/dev/null; then
        echo "This is no Debian; install what provides the programs of them, then try again." >&2
        exit 1
    fi
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    # shellcheck disable=SC2086 # lists of words are wanted
    { $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends $missing; } || {
        echo "They could not be installed; as root run: apt-get update && apt-get install$missing" >&2
        exit 1
    }
fi
