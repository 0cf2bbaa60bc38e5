"""What measures the machine (`alone`) runs beside nothing, whichever run selects it."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]


def test_no_run_of_two_processes_takes_what_runs_alone():
    files = [ROOT / "Makefile", *(ROOT / "scripts").glob("*.sh")]
    lines = [line for file in files for line in file.read_text().replace("\\\n", "").splitlines()]
    beside = [line for line in lines if " -n 2" in line]
    assert beside
    assert [line for line in beside if "not alone" not in line] == []
