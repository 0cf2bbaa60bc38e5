#!/usr/bin/env bash
# The tests that need a GPU of NVIDIA's, in an environment of their own: test-gpu.sh LOCK
# Without a GPU it says so and ends well; with CI=true that is a failure, as every skip is.
# MODELWORKS_TEST_DEVICE=cpu rehearses the same tests on the processor, in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1 venv=.venv-gpu
if [ "${MODELWORKS_TEST_DEVICE:-}" = cpu ]; then
    echo "test-gpu: a rehearsal on the processor; it says nothing of any GPU"
    exec .venv/bin/python -m pytest -m gpu tests/gpu
fi
if ! names=$(nvidia-smi -L 2>/dev/null) || [ -z "$names" ]; then
    echo "test-gpu: no GPU: not run (nvidia-smi finds none here; docs/gpu.md says when it last ran)" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi
# Never both builds of ONNX Runtime in one environment: they overwrite each other.
version=$(sed -n 's/^onnxruntime==//p' "$lock")
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet torch==2.13.0
sed '/^onnxruntime==/d; /^torch==/d' "$lock" > "$venv/lock"
"$venv/bin/pip" install --quiet --no-deps -r "$venv/lock"
"$venv/bin/pip" install --quiet "onnxruntime-gpu[cuda,cudnn]==$version"
"$venv/bin/pip" install --quiet --no-deps --no-build-isolation --editable .
out=docs/test-runs/gpu-$(date -u +%Y-%m-%d).md
code=0
"$venv/bin/python" -m pytest -m gpu tests/gpu 2>&1 | tee "$venv/log" || code=$?
{
    echo "# Tests on a GPU, $(date -u +%Y-%m-%d)"
    echo
    echo "\`make test-gpu\` at commit $(git rev-parse --short HEAD), onnxruntime-gpu $version, exit $code."
    echo
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | sed 's/^/- /'
    echo
    echo "\`$(tail -n 1 "$venv/log" | sed 's/=//g; s/^ *//; s/ *$//')\`"
} > "$out"
echo "test-gpu: written to $out"
exit "$code"
