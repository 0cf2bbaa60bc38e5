#!/usr/bin/env bash
# Everything, the long tests too; leaves a dated summary in docs/test-runs/.
set -uo pipefail
cd "$(dirname "$0")/.."
out=docs/test-runs/$(date -u +%Y-%m-%d).md
mkdir -p docs/test-runs
log=$(mktemp)
python=.venv/bin/python
status=0
run() { # name, pytest arguments...
    local name=$1 began=$SECONDS
    shift
    "$python" -m pytest "$@" 2>&1 | tee "$log"
    local code=${PIPESTATUS[0]}
    [ "$code" -eq 0 ] || status=1
    printf '| %s | %s | %s s | %s |\n' "$name" "$(tail -n 1 "$log" | sed 's/=//g; s/|/ /g; s/ in .*//; s/^ *//; s/ *$//')" "$((SECONDS - began))" "$code" >> "$out"
}
missing() { # name, why
    printf '| %s | %s | | 1 |\n' "$1" "$2" >> "$out"
    status=1
}
{
    echo "# Full test run of $(date -u +%Y-%m-%d)"
    echo
    echo "\`make test-full\` at commit $(git rev-parse --short HEAD), $(nproc) cores, $("$python" --version)."
    echo
    echo "| part | result | time | exit |"
    echo "|---|---|---|---|"
} > "$out"
export HYPOTHESIS_PROFILE=full # ten times the examples, other ones every time
run "unit and contract" -m "(unit or contract) and not real and not long and not alone" -n 2 --dist worksteal --timeout 900
run "real parts and the story" -m "(real or story) and not long and not alone" -n 2 --dist loadfile --timeout 900
run "real parts that measure the machine" -m "alone and not long" tests/real tests/unit/serving
if compiled=$(bash scripts/compiled.sh .venv); then
    PYTHONPATH=$compiled run "the rooms of the request path, compiled" tests/unit/edge tests/unit/protocol tests/unit/serving -m "not alone" -n 2 --timeout 900
    PYTHONPATH=$compiled run "its real parts, compiled" tests/real/test_serving_*.py tests/real/test_edge_*.py -m "not alone" -n 2 --dist loadfile --timeout 900
else
    missing "the request path, compiled" "not built: no C compiler"
fi
if llamacpp=$(bash scripts/llamacpp.sh .venv); then
    PYTHONPATH=$llamacpp run "language models by llama.cpp" -m llamacpp tests/apart
else
    missing "language models by llama.cpp" "not built"
fi
if vllm=$(bash scripts/vllm.sh requirements/vllm.lock); then
    python=$vllm PYTHONPATH=tests run "language models by vLLM" --noconftest -m vllm tests/apart/test_language_vllm.py
else
    missing "language models by vLLM" "its environment was not made"
fi
run "long" -m "long" --timeout 1800
cat "$out"
exit $status
