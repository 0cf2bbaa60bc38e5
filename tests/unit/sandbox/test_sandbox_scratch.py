"""Folders of models' processes: nothing is left of whoever ended, nothing is taken from others."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelworks.sandbox.scratch import Scratch

pytestmark = pytest.mark.unit


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_many_at_once_keep_what_is_theirs(root):
    """Each sweeps while others are between making a folder and holding its lock."""

    def one(_):
        mine = Scratch()
        (mine.work / "file").write_text("mine")
        held = (mine.work / "file").read_text()
        mine.remove()
        return held

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(800))) == {"mine"}
    assert list(root.iterdir()) == []


def test_what_the_killed_left_goes_and_nothing_else(root):
    left, torn, young, other = (
        root / f"modelworks-model-{name}" for name in ("left", "torn", "young", "other")
    )
    (left / "work").mkdir(parents=True)
    (left / "lock").touch()
    (torn / "work").mkdir(parents=True)  # its owner was killed in removing it
    os.utime(torn, (0, 0))
    young.mkdir()  # its owner is about to make the lock
    other.symlink_to(root / "elsewhere")
    mine = Scratch()
    assert {path for path in root.iterdir() if path != mine.work.parent} == {young, other}
    mine.remove()
