#!/usr/bin/env bash
# The tests of the rooms whose modules can be compiled, against the compiled ones: test-compiled.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHONPATH=$(bash scripts/compiled.sh "$1")
export PYTHONPATH
"$1/bin/python" -m pytest tests/unit/edge tests/unit/protocol tests/unit/serving -m "not alone" -n 2 --dist worksteal
"$1/bin/python" -m pytest tests/real/test_serving_triton_client.py tests/real/test_serving_processes.py \
    tests/real/test_edge_processes.py tests/real/test_serving_fuzz.py tests/real/test_serving_routes.py -n 2 -m "not alone" --dist loadfile
"$1/bin/python" -m pytest -m "alone and not long" tests/unit/serving tests/real/test_serving_records_kinds.py
