"""kill -9 at every step of a compaction, an erasure and a retention, and full disks."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress

import pyarrow.parquet as pq
import pytest

from modelworks.control.records.service import Records
from modelworks.core.errors import UnavailableError
from modelworks.core.home import Home
from modelworks.core.records import Scan
from modelworks.protocol.records import SegmentWriter
from modelworks.testing.records import HOUR, START, record

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

NOW = START + 50 * HOUR
STRIDE = 4  # a step is a file operation; with 1, all of them were seen, in five minutes

# Imports once, then forks one process a line, which dies before so many file operations.
FORKER = """
import os, sys
from pathlib import Path
import modelworks.ext.records.stores
from modelworks.control.records.service import Records
from modelworks.core.home import Home

now = int(sys.argv[1])
ACTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}

def work(verb, root, last):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event in ACTS and arguments and str(arguments[0]).startswith(root):
            count += 1
            if count == last:
                os.kill(os.getpid(), 9)
    verbs = Records(Home(Path(root)), clock=lambda: now)
    sys.addaudithook(hook)
    if verb == "compact":
        verbs.compact()
    elif verb == "erase":
        verbs.erase("ana")
    else:
        verbs.expire({"fraud": 2})

for line in sys.stdin:
    verb, root, last = line.split()
    child = os.fork()
    if not child:
        work(verb, root, int(last))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.write(1, f"{status}\\n".encode())
"""


@pytest.fixture(scope="module")
def forker():
    """Begins a verb on a home, which dies at a step; whether it came so far."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(NOW)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def killed_at(verb, root, step):
        process.stdin.write(f"{verb} {root} {step}\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        assert status in {0, 9}
        return status == 9

    yield killed_at
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=30)


def of(numbers):
    return [record(n, subject="ana" if n % 5 == 0 else f"other-{n}") for n in numbers]


def seal(verbs, some):
    writer = SegmentWriter(verbs.rooms.segments)
    for start in range(0, len(some), 10):
        writer.write(some[start : start + 10])
    writer.close()


@pytest.fixture
def filled(tmp_path):
    """A home with seven small files in an hour, segments that overlap them, and feedback."""
    verbs = Records(Home(tmp_path / "filled"), clock=lambda: NOW)
    for start in range(7):
        seal(verbs, of(range(start, 56, 7)))
        verbs.compact()
    seal(verbs, of(range(40, 90)))
    seal(verbs, of(range(80, 130)))
    for n in (3, 5, 70):
        verbs.intake.message({"model": "fraud", "prediction": record(n).id, "truth": n})
    return tmp_path / "filled"


def opened(root):
    return Records(Home(root), clock=lambda: NOW)


def ids(verbs):
    return [str(one) for batch in verbs.scan(Scan(), ["id"]) for one in batch.columns["id"]]


def told(verbs):
    found = verbs.feedback.scan(Scan(), ["prediction"])
    return sorted(str(one) for batch in found for one in batch.columns["prediction"])


def each_step(forker, verb, template, work, stride=STRIDE):
    """A home for each step at which a verb was killed, one after another."""
    for step in range(1, 1000, stride):
        shutil.copytree(template, work)
        if not forker(verb, work, step):
            shutil.rmtree(work)
            assert step > 15, "it has steps to be killed at"
            return
        yield opened(work)
        shutil.rmtree(work)
    pytest.fail("it never came to its end")


ALL = [record(n).id for n in range(130)]


def test_a_compaction_loses_and_doubles_nothing(forker, filled, tmp_path):
    kills = 0
    for verbs in each_step(forker, "compact", filled, tmp_path / "work"):
        found = ids(verbs)  # at any moment, a reader sees no record twice
        assert len(set(found)) == len(found)
        assert set(ALL[:56]) <= set(found)
        verbs.compact()
        assert ids(verbs) == ALL
        assert told(verbs) == ["r000003", "r000005", "r000070"]
        assert list(verbs.rooms.segments.iterdir()) == []
        kills += 1
    assert kills > 10


def test_an_erasure_is_ended_by_the_next(forker, filled, tmp_path):
    rest = [record(n).id for n in range(130) if n % 5]
    for verbs in each_step(forker, "erase", filled, tmp_path / "work", 5 * STRIDE):
        found = ids(verbs)
        assert len(set(found)) == len(found)
        assert verbs.erase("ana").left == 0
        assert ids(verbs) == rest
        assert told(verbs) == ["r000003"]
        for path in verbs.rooms.root.rglob("*"):
            if path.suffix == ".parquet":
                table = pq.ParquetFile(path).read()
                assert (
                    "ana"
                    not in table.column(
                        "subject" if "subject" in table.schema.names else "id"
                    ).to_pylist()
                )
            elif path.is_file():
                assert b'"ana"' not in path.read_bytes()


def test_a_retention_is_ended_by_the_next(forker, filled, tmp_path):
    opened(filled).compact()
    for verbs in each_step(forker, "expire", filled, tmp_path / "work"):
        found = ids(verbs)
        assert len(set(found)) == len(found)
        assert set(ALL[120:]) <= set(found)
        verbs.expire({"fraud": 2})
        assert ids(verbs) == ALL[120:]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small file system can only be mounted by root")
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_loses_nothing_and_is_cured_by_space(small_disk):
    verbs = opened(small_disk)
    noise = [os.urandom(300).hex() for _ in range(6000)]
    seal(verbs, [record(n, at_ns=START + n, inputs={"noise": [noise[n]]}) for n in range(6000)])
    with pytest.raises(UnavailableError, match="No space left on device") as caught:
        verbs.compact()
    assert "\n" not in caught.value.message
    assert ids(verbs) == []
    assert len(list(verbs.rooms.segments.iterdir())) == 1
    with pytest.raises(UnavailableError):
        verbs.erase("person-3")
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass
    with pytest.raises(UnavailableError):
        verbs.intake.message({"model": "m", "prediction": "p", "truth": 1})
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert verbs.compact().records == 6000
    assert len(ids(verbs)) == 6000
    assert list((small_disk / "records" / "store" / "tenant=default" / ".making").iterdir()) == []
