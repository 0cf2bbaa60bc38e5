"""The bars of many models in full: what each weighs, and that memory comes back, cycle by cycle."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "many_models.py"


def test_a_hundred_models_and_five_hundred_cycles_keep_the_bars():
    told = subprocess.run(
        [sys.executable, str(SCRIPT), "--models", "100", "--cycles", "500", "--isolated", "100"],
        capture_output=True,
        check=False,
        timeout=1100,
    )
    found = json.loads(told.stdout)
    assert found["missed"] == [], found
    assert told.returncode == 0
