"""kill -9 in the middle of a backup and of a restore, and full disks: nothing by halves."""

import os
import shutil
import subprocess
import sys

import pytest

import backups
from backups import quiet
from modelworks.control.backup import look
from modelworks.control.service import Factory
from modelworks.core.errors import UnavailableError
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.registry.storing import LEASE_NS

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

STRIDE = 9
STRIDE_OF_SERVERS = 16  # each step waits for its network

# Imports once, then forks one process a line, which dies at so many steps: a step is a statement,
# a commit, or a piece of a file on its way.
FORKER = """
import os, sys
from pathlib import Path
from sqlalchemy import Engine, event
from modelworks.control.backup import pace
from modelworks.control.service import Factory
from modelworks.core.home import Access, Home, Stores

verb, root, file, database, artifacts, config = sys.argv[1:]
stores = Stores(database, artifacts, Access(eval(config), http=True))
pace._EVERY_S = 0.0

class Steps:
    def __init__(self, last):
        self.last, self.number = last, 0

    def __call__(self, *_):
        self.number += 1
        if self.number == self.last:
            os.kill(os.getpid(), 9)

def work(step):
    factory = Factory(Home(Path(root)), stores=stores)
    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)
    getattr(factory, verb)(Path(file), step)

for line in sys.stdin:
    child = os.fork()
    if not child:
        work(Steps(int(line)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.write(1, f"{status}\\n".encode())
"""


class Forker:
    """Begins the verb, which dies at a step."""

    def __init__(self, verb, home, file, stores):
        told = [stores.database, stores.artifacts, repr(dict(stores.access.config))]
        command = [sys.executable, "-c", FORKER, verb, str(home.root), str(file), *told]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def killed_at(self, step):
        """Whether it came so far; else it ended well."""
        self.process.stdin.write(f"{step}\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        assert status in {0, 9}
        return status == 9

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)


@pytest.fixture
def saved(tmp_path):
    """A backup with files enough to be killed among, and the rows in it."""
    with Factory(Home(tmp_path / "source")) as factory:
        contents = [os.urandom(700_000) for _ in range(8)]
        backups.publish(factory, tmp_path / "work", contents)
        backups.fill_rest(factory)
        path, _ = factory.backup(tmp_path / "saved.tar", quiet)
        return path, backups.rows(factory)


def test_restores_killed_on_their_way(home, stores, saved):
    path, wanted = saved
    Factory(home, stores=stores).close()
    kills, begun = 0, 0
    stride = STRIDE_OF_SERVERS if stores.database else STRIDE
    with Forker("restore", home, path, stores) as forker, Factory(home, stores=stores) as factory:
        for step in range(stride, 1000, stride):
            if not forker.killed_at(step):
                break
            found = backups.rows(factory)
            assert not any(found.values())
            kills += 1
            begun += any(True for _ in factory._blobs.list())
        assert kills > 5
        assert begun  # at least one died among the files
        assert backups.rows(factory) == wanted
        assert all(factory.verify(version.ref).ok for version in factory.versions("fraud"))
        assert factory.collect().blobs == 0


def test_what_a_killed_restore_left_is_collected(home, tmp_path, saved):
    path, _ = saved
    with Factory(home) as factory:
        taken = []
        real = factory._blobs.take

        def some(digest, size, pieces):
            if len(taken) == 3:
                raise SystemExit
            taken.append(digest)
            real(digest, size, pieces)

        factory._blobs.take = some
        with pytest.raises(SystemExit):
            factory.restore(path, quiet)
        assert backups.empty(factory)
        assert factory.collect().blobs == 3


def test_backups_killed_on_their_way(home, tmp_path, stores):
    with Factory(home, stores=stores) as factory:
        backups.publish(factory, tmp_path / "work", [os.urandom(700_000) for _ in range(6)])
        wanted = backups.rows(factory)
    folder = tmp_path / "backups"
    folder.mkdir()
    target = folder / "saved.tar"
    kills = 0
    with Forker("backup", home, target, stores) as forker:
        for step in range(3, 1000, 5):
            if not forker.killed_at(step):
                break
            assert not target.exists()
            kills += 1
    assert kills >= 5
    look(target, quiet)
    target.unlink()
    with Factory(home, stores=stores) as factory:
        factory.backup(target, quiet)
        assert list(folder.iterdir()) == [target]  # what the dead left is swept
        assert backups.rows(factory) == wanted
    with Factory(home, clock=lambda: now_ns() + 2 * LEASE_NS, stores=stores) as later:
        assert later.collect().blobs == 0
        with later._database.reader.connect() as connection:
            assert connection.exec_driver_sql("SELECT * FROM leases").fetchall() == []
    with Factory(Home(tmp_path / "two")) as two:
        two.restore(target, quiet)
        assert backups.rows(two) == wanted


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


def test_a_backup_onto_a_disk_that_is_too_small(small_disk, tmp_path, saved):
    with (
        Factory(Home(tmp_path / "source")) as factory,
        pytest.raises(UnavailableError, match="No space left on device; nothing was kept"),
    ):
        factory.backup(small_disk / "saved.tar", quiet)
    assert list(small_disk.iterdir()) == []


def test_a_restore_onto_a_disk_that_is_too_small_is_cured_by_space(small_disk, tmp_path, saved):
    path, wanted = saved
    with Factory(Home(small_disk / "home")) as factory:
        with pytest.raises(UnavailableError, match="No space left on device") as caught:
            factory.restore(path, quiet)
        assert "\n" not in caught.value.message
        assert backups.empty(factory)
        assert factory.collect().blobs > 0
        subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
        factory.restore(path, quiet)
        assert backups.rows(factory) == wanted
        shutil.copy(path, small_disk / "copy.tar")
        look(small_disk / "copy.tar", quiet)
