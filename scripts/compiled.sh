#!/usr/bin/env bash
# Builds the wheel whose request path is compiled, and prints the folder it lies unpacked in:
# compiled.sh VENV. Built once for each state of the sources; it takes two minutes.
#
# In a copy: the compiler leaves its modules beside their sources, where they would go on answering
# for Python that somebody has changed since.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1/bin
contents=(src pyproject.toml README.md LICENSE)
state=$(find "${contents[@]}" -type f ! -name '*.pyc' ! -name '*.so' -print0 | sort -z |
    xargs -0 sha256sum | sha256sum | cut -c1-16)
tag=$("$bin/python" -c 'import sys; print(sys.implementation.cache_tag)')
out=$PWD/build/compiled/$tag-$state
if [ ! -e "$out/done" ]; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -r "${contents[@]}" "$copy"
    find "$copy" -name '*.so' -delete
    echo "compiling the request path (two minutes, once for each state of the sources)" >&2
    (cd "$copy" && HATCH_BUILD_HOOKS_ENABLE=true "$bin/hatchling" build -t wheel -d dist >&2) || {
        echo "not compiled: is there a C compiler, and are the headers of Python here?" >&2
        exit 1
    }
    rm -rf build/compiled
    mkdir -p "$out"
    "$bin/python" -m zipfile -e "$copy"/dist/*.whl "$out"
    cp "$copy"/dist/*.whl build/compiled/
    touch "$out/done"
fi
echo "$out"
