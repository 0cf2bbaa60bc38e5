"""A publisher killed at every single step of a publish, on both pairs of stores.

The steps are not listed here but found: every SQL statement, commit, request to the store of files
and piece of an upload is one. A first publish counts them; then one publisher a step dies there.
"""

import itertools
import json
import os
import subprocess
import sys

import pytest

from modelworks.control.service import Factory
from modelworks.core.home import Stores
from modelworks.core.ids import now_ns
from modelworks.registry.storing import LEASE_NS
from modelworks.testing.candidates import candidate
from properties import PROFILE

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

# Imports once, then forks one publisher a line, told at which step it dies (0 = at none).
FORKER = """
import json, os, sys
from pathlib import Path

import obstore
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from modelworks.blobs import store as blobs
from modelworks.control.service import Factory
from modelworks.core.home import Access, Home, Stores
from modelworks.testing.candidates import candidate

told = json.loads(sys.argv[1])
home = Home(Path(told["home"]))
stores = Stores(told["database"], told["artifacts"], Access(told["config"], http=True))

class Steps:
    def __init__(self, last):
        self.last, self.number = last, 0

    def __call__(self, name):
        self.number += 1
        os.write(1, (name + "\\n").encode())
        if self.number == self.last:
            os.kill(os.getpid(), 9)

def watch(step):
    def around(owner, name):
        real = getattr(owner, name)
        def called(*arguments, **more):
            step(name)
            answer = real(*arguments, **more)
            step(name + " done")
            return answer
        setattr(owner, name, called)

    real_sent = blobs._sent
    def sent(*arguments):
        for piece in real_sent(*arguments):
            step("sending")
            yield piece
        step("sent")
    blobs._sent = sent
    for name in ("put", "get", "head"):
        around(obstore, name)
    around(blobs, "_settle")
    event.listen(Engine, "before_cursor_execute", lambda c, u, sql, *_: step(sql.split("\\n")[0]))
    event.listen(Engine, "commit", lambda c: step("COMMIT"))
    event.listen(Session, "after_commit", lambda s: step("committed"))

def publish(number, last):
    folder = Path(told["work"]) / str(number)
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(os.urandom(told["bytes"]))
    wanted = candidate(folder, os.urandom(10), alias="champion")
    step = Steps(last)
    watch(step)
    step("begin")
    with Factory(home, stores=stores) as factory:
        made = factory.publish(wanted)
    step("end")
    os.write(1, ("= " + made.ref + "\\n").encode())

for number, line in enumerate(sys.stdin):
    child = os.fork()
    if not child:
        publish(number, int(line))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.write(1, ("# %d\\n" % status).encode())
"""


class Publishers:
    """Publishers that die where they are told."""

    def __init__(self, home, stores, work):
        # Two parts of an upload in parts where there are such; a folder has none.
        told = {
            "home": str(home.root),
            "database": stores.database,
            "artifacts": stores.artifacts,
            "config": dict(stores.access.config),
            "work": str(work),
            "bytes": 9 << 20 if stores.artifacts else 3 << 20,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKER, json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def publish(self, last=0):
        """The steps that one took; the last line says with which status it ended."""
        self._process.stdin.write(f"{last}\n")
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("# "):
                break
        return lines[:-1], int(lines[-1].removeprefix("# "))

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


@pytest.fixture
def publishers(home, stores, tmp_path):
    found = Publishers(home, stores, tmp_path / "work")
    yield found
    found.close()


def visible(factory):
    """Every version of the one model."""
    return {v.ref: v for m in factory.models() for v in factory.versions(m.name)}


def test_a_publisher_killed_at_every_step(home, stores, tmp_path, publishers):
    with Factory(home, stores=stores) as factory:
        publishers.publish()  # the first of a model takes one step more
        steps, status = publishers.publish()
        assert status == 0
        assert steps.pop().startswith("= ")
        assert steps[-1] == "end"
        assert steps.count("committed") == 2  # leases, then the version
        assert steps.count("sending") >= 3
        assert len(steps) > 40
        shown = len(steps) - steps[::-1].index("committed")  # from this step on it is visible
        before = visible(factory)
        numbers = set(before)
        for last in range(1, len(steps) + 1, _stride(stores)):
            died, status = publishers.publish(last)
            assert status == 9, died
            assert died == steps[:last]  # the same road each time
            after = visible(factory)
            new = after.keys() - before.keys()
            assert before.keys() <= after.keys()
            assert len(new) == (1 if last >= shown else 0), died[-1]
            for ref in new:
                assert factory.verify(ref).problems == ()
                assert factory.show("fraud@champion").ref == ref
            assert not new & numbers
            made = factory.publish(candidate(tmp_path / "next", b"%d" % last, alias="champion"))
            assert made.ref not in numbers | new  # no number twice, whatever the dead one had taken
            assert made.version == max(v.version for v in visible(factory).values())
            before = visible(factory)
            numbers |= before.keys()
        everything_whole(factory)
    leftovers_go(home, stores)


def _stride(stores):
    """Every step where files are near, and in a full run; between servers every third one."""
    return 1 if PROFILE == "full" or stores == Stores() else 3


def everything_whole(factory):
    """All that is visible is whole, and the alias's history agrees with it."""
    found = visible(factory)
    assert [ref for ref in found if factory.verify(ref).problems] == []
    moves = factory.history("fraud", "champion")
    assert [move.version for move in moves] == sorted(v.version for v in found.values())
    for one, two in itertools.pairwise(moves):
        assert two.previous == one.version


def leftovers_go(home, stores):
    """What the dead left behind is collected once their leases have run out; nothing else is."""
    with Factory(home, clock=lambda: now_ns() + 2 * LEASE_NS, stores=stores) as later:
        for path in home.blobs.rglob("*#*"):  # half-written: as old as the leases
            os.utime(path, (1, 1))
        assert later.collect().blobs > 5
        wanted = {d for v in visible(later).values() for _, d in v.artifact.files}
        assert {blob.digest for blob in later._blobs.list()} == wanted
        assert list(home.blobs.rglob("*#*")) == []
        assert later.collect().blobs == 0
        everything_whole(later)
