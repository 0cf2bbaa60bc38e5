"""kill -9 in the middle of publishing, and a disk that is full: nothing half visible."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import pairwise

import psycopg
import pytest

from modelworks.control.service import Factory
from modelworks.core.errors import UnavailableError
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.registry.storing import LEASE_NS
from modelworks.testing.candidates import candidate

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

KILLS = 60
KILLS_OF_SERVERS = 20  # each kill waits for its network: the steps one by one are in _crash

# Imports once, then forks one publisher a line, which it kills so many seconds later: a kill costs
# milliseconds, not a second.
FORKER = """
import os, sys, time
from pathlib import Path
from modelworks.control.service import Factory
from modelworks.core.home import Access, Home, Stores
from modelworks.testing.candidates import candidate

root, work, database, artifacts, config = sys.argv[1:]
stores = Stores(database, artifacts, Access(eval(config), http=True))

def publish(number):
    folder = Path(work) / str(number)
    folder.mkdir(parents=True)
    for part in range(3):
        (folder / f"part-{part}.bin").write_bytes(os.urandom(300_000))
    wanted = candidate(folder, os.urandom(10), alias="champion")
    factory = Factory(Home(Path(root)), stores=stores)
    os.write(ready, b".")
    os.write(1, factory.publish(wanted).ref.encode() + b" ")

for number, line in enumerate(sys.stdin):
    begun, ready = os.pipe()
    child = os.fork()
    if not child:
        publish(number)
        os._exit(0)
    os.close(ready)
    assert os.read(begun, 1) == b"."
    os.close(begun)
    time.sleep(float(line))
    os.kill(child, 9)  # not waited for yet, so the id is still its own
    os.waitpid(child, 0)
    os.write(1, b"ended\\n")
"""


def check(factory):
    """Everything visible is whole, and the alias's history agrees with what is there."""
    found = [v for m in factory.models() for v in factory.versions(m.name)]
    for version in found:
        assert factory.verify(version.ref).problems == ()
        assert len(version.artifact.files) == 4
    moves = factory.history("fraud") if found else []
    assert sorted(move.version for move in moves) == sorted(v.version for v in found)
    if found:
        assert factory.show("fraud@champion").version == max(v.version for v in found)
    return len(found)


@pytest.fixture
def forker(home, tmp_path, stores):
    told = [stores.database, stores.artifacts, repr(dict(stores.access.config))]
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(home.root), str(tmp_path / "work"), *told],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=30)


def test_publishers_killed_at_random_moments(home, stores, tmp_path, forker):
    dice = random.Random(7)
    Factory(home, stores=stores).close()
    finished, longest = 0, 0.2  # the longest delay is learned: a whole publication's
    kills = KILLS_OF_SERVERS if stores.database else KILLS
    with Factory(home, stores=stores) as factory:
        for _ in range(kills):
            delay = dice.uniform(0, longest)
            forker.stdin.write(f"{delay}\n")
            forker.stdin.flush()
            *ref, ended = forker.stdout.readline().split()
            assert ended == "ended"
            if ref:
                finished += 1
                longest = max(0.02, delay)
        visible = check(factory)
        assert finished <= visible <= kills  # a kill between the commit and the print shows it
        assert finished < kills  # or nothing was cut
        made = factory.publish(candidate(tmp_path / "next", alias="champion"))
        assert factory.show("fraud@champion") == made
    leftovers_go(home, stores)


def leftovers_go(home, stores):
    """What the dead left behind is collected once their leases have run out."""
    with Factory(home, clock=lambda: now_ns() + 2 * LEASE_NS, stores=stores) as later:
        for path in home.blobs.rglob("*#*"):  # half-written: as old as the leases
            os.utime(path, (1, 1))
        later.collect()
        refs = [v.ref for m in later.models() for v in later.versions(m.name)]
        wanted = {d for ref in refs for _, d in later.show(ref).artifact.files}
        assert {blob.digest for blob in later._blobs.list()} == wanted
        assert list(home.blobs.rglob("*#*")) == []
    sound(home, stores)


def sound(home, stores):
    """The database's own checks, and no lease left."""
    if stores.database:
        with closing(psycopg.connect(stores.database)) as connection:
            assert connection.execute("SELECT count(*) FROM leases").fetchall() == [(0,)]
        return
    with closing(sqlite3.connect(home.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM leases").fetchall() == [(0,)]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small file system can only be mounted by root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path):
    """Take every byte that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def one_line(caught):
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_disk_too_small_for_the_files(small_disk, tmp_path):
    with Factory(Home(small_disk / "home")) as factory:
        factory.publish(candidate(tmp_path / "one", os.urandom(1 << 20)))
        big = candidate(tmp_path / "two", os.urandom(4 << 20))
        with pytest.raises(UnavailableError) as caught:
            factory.publish(big)
        assert "No space left on device" in one_line(caught)
        assert [v.ref for v in factory.versions("fraud")] == ["fraud:1.0.0"]
        stored = [path for path in (small_disk / "home" / "blobs").rglob("*") if path.is_file()]
        assert len(stored) == 1
        assert factory.verify("fraud").ok
        factory.publish(candidate(tmp_path / "three", os.urandom(1 << 19)))
        with sqlite3.connect(factory.home.database) as connection:
            assert connection.execute("SELECT count(*) FROM leases").fetchall() == [(0,)]
        connection.close()


def test_a_disk_without_a_byte_left(small_disk, tmp_path):
    filler = small_disk / "filler"
    with Factory(Home(small_disk / "home")) as factory:
        factory.publish(candidate(tmp_path / "one", b"1" * 1000))
        factory.publish(candidate(tmp_path / "two", b"2" * 1000))
        fill(filler)
        acts = [
            lambda: factory.publish(candidate(tmp_path / "three", os.urandom(100_000))),
            # Enough of them that the log file of the database has to grow.
            lambda: [
                factory.set_alias("fraud", "champion", f"1.{i % 2}.0", "x" * 1000)
                for i in range(2000)
            ],
        ]
        for act in acts:
            with pytest.raises(UnavailableError) as caught:
                act()
            message = one_line(caught)
            assert "disk is full" in message or "No space left" in message
        assert [v.ref for v in factory.versions("fraud")] == ["fraud:1.1.0", "fraud:1.0.0"]
        assert factory.verify("fraud").ok
        filler.unlink()
        assert factory.publish(candidate(tmp_path / "three")).ref == "fraud:1.2.0"
        assert factory.materialise("fraud").is_dir()
        for before, after in pairwise(factory.history("fraud")):
            assert after.previous == before.version


def test_a_home_on_a_full_disk_is_one_line(small_disk):
    fill(small_disk / "filler")
    with pytest.raises(UnavailableError) as caught:
        Factory(Home(small_disk / "home"))
    one_line(caught)


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError) as caught:
        Factory(Home(tmp_path / "file" / "home"))
    assert "MODELWORKS_HOME" in one_line(caught)
