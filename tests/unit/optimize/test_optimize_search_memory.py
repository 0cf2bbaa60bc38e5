"""Forms on the disk: whole or not there, damaged ones made again, the oldest gone first."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.optimizing.passes import Applied
from modelworks.optimize.memory import Cache

APPLIED = Applied("onnx", ("a", "b"), ("two operators",), {"nodes": 2.0})


def put(cache: Cache, key: str, data: bytes = b"bytes"):
    with cache.work() as work:
        into = work / "into"
        into.mkdir()
        (into / "model.onnx").write_bytes(data)
        return cache.put(key, into, APPLIED, 1.5)


def test_what_was_put_is_found_by_another_process_later(tmp_path: Path):
    with Cache(tmp_path) as cache:
        put(cache, "k")
    with Cache(tmp_path) as later:
        found = later.find("k")
        assert found is not None
        assert (found.folder / "model.onnx").read_bytes() == b"bytes"
        assert (found.applied, found.seconds) == (APPLIED, 1.5)
        assert later.find("other") is None
    assert [one.name for one in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("harm", ["changed", "gone", "told", "flipped", "more"])
def test_a_damaged_form_is_made_again(tmp_path: Path, harm: str):
    with Cache(tmp_path) as cache:
        made = put(cache, "k")
    file = made.folder / "model.onnx"
    if harm == "changed":
        file.write_bytes(b"bytez")
    elif harm == "gone":
        file.unlink()
    elif harm == "told":
        (tmp_path / "k" / "made.json").write_text("{")
    elif harm == "flipped":
        told = tmp_path / "k" / "made.json"
        told.write_text(told.read_text().replace("two operators", "two operatorz"))
    else:
        (made.folder / "more").symlink_to("/etc/passwd")
    with Cache(tmp_path) as cache:
        assert cache.find("k") is None
        assert not (tmp_path / "k").exists()
        assert put(cache, "k").digest == made.digest


def test_the_oldest_goes_and_what_is_held_stays(tmp_path: Path):
    with Cache(tmp_path) as old:
        put(old, "first", b"x" * 400)
        put(old, "second", b"x" * 400)
    for age, name in ((200, "first"), (100, "second")):
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    holder = Cache(tmp_path)
    assert holder.find("second") is not None
    os.utime(tmp_path / "second", (1, 1))  # the oldest of all, and held
    with holder, Cache(tmp_path, most=1200) as cache:
        put(cache, "third", b"x" * 400)
        put(cache, "fourth", b"x" * 400)
        left = {one.name for one in tmp_path.iterdir()}
    assert left == {"second", "third", "fourth"}


def test_links_and_nothing_are_no_form(tmp_path: Path):
    with Cache(tmp_path) as cache, cache.work() as work:
        (work / "into").mkdir()
        with pytest.raises(InvalidError, match="wrote nothing"):
            cache.put("k", work / "into", APPLIED, 0.0)
        (work / "into" / "model").symlink_to("/etc/passwd")
        with pytest.raises(InvalidError, match="links"):
            cache.put("k", work / "into", APPLIED, 0.0)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path):
    code = (
        "import sys, os, signal, pathlib\n"
        "from modelworks.optimize.memory import Cache\n"
        "with Cache(pathlib.Path(sys.argv[1])) as cache, cache.work() as work:\n"
        "    (work / 'half').write_text('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    [left] = tmp_path.iterdir()
    with Cache(tmp_path):
        assert left.exists()  # it may be a young one whose owner has no lock yet
    for then in (1, time.time() + 1e6):  # long ago; or the clock went back
        left.mkdir(exist_ok=True)
        os.utime(left, (then, then))
        with Cache(tmp_path):
            assert not left.exists()


def test_work_under_way_is_left_alone(tmp_path: Path):
    with Cache(tmp_path) as cache, cache.work() as work:
        os.utime(work, (1, 1))
        with Cache(tmp_path):
            assert work.exists()


def test_a_place_that_cannot_be_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="MODELWORKS_HOME"):
        Cache(tmp_path / "file" / "cache")
