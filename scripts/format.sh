#!/bin/sh
# Formats all C sources with clang-format 14 (Debian 12), or, with --check, only says which lines differ.
set -eu
cd "$(dirname "$0")/.."

if ! command -v clang-format >/dev/null 2>&1; then
    echo "skipped: format (no clang-format)"
    exit 0
fi
# Other versions break lines differently.
version=$(clang-format --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [ "$version" != 14 ]; then
    echo "skipped: format (clang-format is version $version, the style is that of 14)"
    exit 0
fi
folders=
for folder in include graph ops autodiff passes runtime backends nn io training examples docs tests bench tools; do
    [ ! -d "$folder" ] || folders="$folders $folder"
done
# shellcheck disable=SC2086
files=$(find $folders -name '*.[ch]' | sort)
if [ "${1:-}" = --check ]; then
    # shellcheck disable=SC2086
    clang-format --dry-run -Werror $files
    echo "format: all files as .clang-format says"
else
    # shellcheck disable=SC2086
    clang-format -i $files
fi
