"""Folders of killed imports go with `collect`; those of imports under way stay."""

import subprocess
import sys

import pytest

from modelworks.control.scratch import clear, scratch

pytestmark = pytest.mark.unit
HOLD = (
    "import sys; from pathlib import Path; from modelworks.control.scratch import scratch\n"
    "with scratch(Path(sys.argv[1]), 'import') as f:\n"
    "    (f / 'model').write_bytes(b'x' * 1000); print(f, flush=True); sys.stdin.read()"
)


def test_only_the_folder_of_a_dead_process_is_cleared(tmp_path):
    (tmp_path / "served.json").write_text("{}")
    (tmp_path / "endpoints").mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline()
        with scratch(tmp_path, "upload") as mine:
            assert clear(tmp_path, young_s=0) == 0
            assert len(list(tmp_path.iterdir())) == 4
            child.kill()
            child.wait(20)
            assert clear(tmp_path) == 0  # too young to judge
            assert clear(tmp_path, young_s=0) == 1000
            assert mine.exists()
    finally:
        child.kill()
        child.communicate(timeout=20)
    assert {path.name for path in tmp_path.iterdir()} == {"served.json", "endpoints"}
