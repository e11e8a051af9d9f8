#!/bin/sh
# Builds the fuzz targets (tests/fuzz) with clang and its sanitizers, and runs each for some seconds.
#
#   fuzz.sh BUILD SECONDS
#
# An input that is not handled well is kept as BUILD/fuzz/bad-NAME-...; `BUILD/tests/fuzz/fuzz_NAME FILE` shows it again.
set -eu
cd "$(dirname "$0")/.."
build=$1
seconds=$2

# Ends if there is nothing to fuzz with.
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
cat >"$probe/probe.c" <<'END'
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) { return data && n_bytes ? 0 : 0; }
END
if ! clang -fsanitize=fuzzer,address,undefined "$probe/probe.c" -o "$probe/probe" >/dev/null 2>&1; then
    echo "skipped: fuzz (clang or its fuzzer runtime is not installed)"
    exit 0
fi

if [ ! -f "$build/build.ninja" ]; then
    CC=clang meson setup "$build" -Dfuzz=true --buildtype=debugoptimized -Db_sanitize=address,undefined \
        -Db_lundef=false
fi
ninja -C "$build" fuzzers
corpus=$build/fuzz
mkdir -p "$corpus"
"$build/tests/fuzz/fuzz_seeds" "$corpus"

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
failed=0
for name in text npy safetensors model idx png pnm csv; do
    set -- -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$corpus/bad-$name-"
    [ "$name" != text ] || set -- "$@" -dict="$corpus/text.dict"
    if "$build/tests/fuzz/fuzz_$name" "$@" "$corpus/$name" >"$corpus/$name.log" 2>&1; then
        echo "fuzz $name: $(sed -n 's/^Done \([0-9]* runs in [0-9]* second\).*/\1s/p' "$corpus/$name.log")"
    else
        echo "fuzz $name: FAILED"
        tail -n 40 "$corpus/$name.log"
        failed=1
    fi
done
exit $failed
