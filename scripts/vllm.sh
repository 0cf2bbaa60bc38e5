#!/usr/bin/env bash
# Makes the environment of the tests of vLLM on the CPU, and prints its Python: vllm.sh LOCK
# Of its own, for vLLM and the rest of our tests want other versions of the same libraries.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1 venv=$PWD/.venv-vllm
stamp=$venv/.stamp-$(sha256sum "$lock" pyproject.toml | sha256sum | cut -c1-16)
if [ ! -e "$stamp" ]; then
    echo "making the environment of vLLM (some minutes, once)" >&2
    [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet torch==2.13.0 >&2
    "$venv/bin/pip" install --quiet --no-deps -r "$lock" >&2
    "$venv/bin/pip" install --quiet hatchling editables >&2
    "$venv/bin/pip" install --quiet --no-deps --no-build-isolation --editable . >&2
    rm -f "$venv"/.stamp-*
    touch "$stamp"
fi
echo "$venv/bin/python"
