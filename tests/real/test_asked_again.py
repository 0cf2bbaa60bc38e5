"""`scripts/tests.sh`: who is asked once more, and what is said of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
TEXT = """
import pathlib
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_unsteady(n):
    seen = pathlib.Path(__file__).with_name(f"seen{{n}}")
    again = seen.exists()
    seen.touch()
    assert again and {holds}
"""


def asked(text):
    """What the script does with a file of tests; it lies where the tests' settings hold."""
    name = f"planted{os.getpid()}"
    folder = ROOT / ".pytest_cache" / f"{name}-tests"
    folder.mkdir(parents=True)
    (folder / "test_planted.py").write_text(text)
    try:
        return subprocess.run(
            ["bash", str(ROOT / "scripts/tests.sh"), name, "-q", str(folder)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("count", "holds", "code", "named"),
    [(1, True, 0, 1), (3, True, 0, 3), (1, False, 1, 0), (4, True, 1, 0)],
    ids=["one", "three", "one that does not hold", "four"],
)
def test_what_fails_once_is_named_and_what_fails_twice_fails(count, holds, code, named):
    ran = asked(TEXT.format(count=count, holds=holds))
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ran.stdout.count("UNSTEADY") == named


def test_a_file_that_cannot_be_read_fails_at_once():
    ran = asked("import nothing_of_this_name\n")
    assert ran.returncode != 0
    assert "asked once more" not in ran.stdout
