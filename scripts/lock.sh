#!/usr/bin/env bash
# Resolves requirements/dev.in in a fresh environment and writes its exact versions: lock.sh LOCK
set -euo pipefail
lock=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'torch==2.13.0'
"$work/venv/bin/pip" install --quiet -r requirements/dev.in
"$work/venv/bin/pip" check
{
    echo "# Written by 'make lock' from requirements/dev.in; do not edit."
    # The local part of torch's version (+cpu) is one builder's name for it, not the registry's.
    "$work/venv/bin/pip" freeze --exclude pip | sed 's/+cpu$//' | grep -v -e '^-e' -e ' @ '
} > "$lock"
echo "lock: $(grep -c == "$lock") packages in $lock"
