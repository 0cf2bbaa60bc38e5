#!/usr/bin/env bash
# Makes the development environment: setup.sh VENV LOCK
set -euo pipefail
venv=$1 lock=$2
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "Modelworks needs Python 3.11 to 3.13, $("$python" --version) was found: PYTHON=python3.11 make setup" >&2
    exit 1
}
echo "setup: environment in $venv (once for each lock file; one to three minutes)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# PyTorch first and by its exact version: a later, looser wish would bring gigabytes of CUDA.
# Without a build for this Python the torch importer's tests are skipped (a failure with CI=true).
"$venv/bin/pip" install --quiet --no-warn-script-location 'torch==2.13.0' 2>/dev/null ||
    echo "setup: no torch 2.13.0 to be had for this Python; the torch importer stays without tests" >&2
"$venv/bin/pip" install --quiet --no-deps -r "$lock" 2>/dev/null ||
    "$venv/bin/pip" install --no-deps -r "$lock"
"$venv/bin/pip" install --quiet --no-deps --no-build-isolation --editable .
"$venv/bin/python" -m compileall -q "$venv"/lib/python3*/site-packages/{click,rich} src || true
