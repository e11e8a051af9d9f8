#!/bin/sh
# Installs what Ebb needs to build and is missing, from Debian's packages; does nothing if all is there.
set -eu

fail()
{
    echo "ebb: $*" >&2
    exit 1
}

missing=
need_program() # program package
{
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need_header() # header package
{
    printf '#include <%s>\n' "$1" | ${CC:-cc} -E - >/dev/null 2>&1 || missing="$missing $2"
}

need_program "${CC:-cc}" gcc
need_header stdlib.h libc6-dev
need_program pkg-config pkg-config
need_program meson meson
need_program ninja ninja-build
need_program dot graphviz
need_header oneapi/dnnl/dnnl.h libdnnl-dev
need_header zlib.h zlib1g-dev
need_header png.h libpng-dev
need_header check.h check
[ -n "$missing" ] || exit 0
missing=${missing# }

if ! command -v apt-get >/dev/null 2>&1 || [ ! -e /etc/debian_version ]; then
    fail "this is not Debian, so please install by hand (Debian's names): $missing"
fi

root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 ||
        fail "needs root or sudo to install: $missing"
    # Without a terminal nobody can type a password.
    if [ -t 0 ]; then root=sudo; else root='sudo -n'; fi
    $root true 2>/dev/null || fail "needs root (sudo refused) to install: $missing"
fi

echo "ebb: installing Debian packages: $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt()
{
    $root env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=1 "$@" >>"$log" 2>&1 </dev/null
}
# update may fail in part (one source of several), so that only install decides; its complaint comes first in the log.
apt update || true
# $missing is a list of words.
# shellcheck disable=SC2086
if ! apt install -y --no-install-recommends $missing; then
    reason=$(grep -m 1 -E '^(E|W|Err):' "$log" || tail -n 1 "$log")
    fail "could not install $missing: ${reason:-apt-get failed}"
fi
echo "ebb: installed"
