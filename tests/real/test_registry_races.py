"""Publishers, deleters and collectors in processes of their own, on one home, at the same time."""

import json
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from itertools import pairwise

import psycopg
import pytest

from modelworks.control.service import Factory
from modelworks.testing.candidates import candidate

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ROUNDS = 100

WORKER = """
import json, random, sys
from pathlib import Path
from modelworks.control.service import Factory
from modelworks.core.errors import ConflictError, ModelworksError, NotFoundError
from modelworks.core.home import Access, Home, Stores
from modelworks.testing.candidates import candidate

role, root, work, seed, database, artifacts, config = sys.argv[1:]
dice = random.Random(int(seed))
stores = Stores(database, artifacts, Access(eval(config), http=True))
factory = Factory(Home(Path(root)), actor=role + seed, stores=stores)

def act():
    if role == "publish":  # every content is new
        content = f"{seed} {dice.random()}".encode()
        made = factory.publish(candidate(Path(work), content, alias="champion"))
        return [made.ref, made.artifact.digest]
    if role == "republish":  # few contents, so that blobs die and are born again
        content = bytes([dice.randrange(3)]) * 1000
        return [factory.publish(candidate(Path(work), content)).ref]
    if role == "delete":
        found = [version.ref for version in factory.versions("fraud")]
        return factory.delete(dice.choice(found))
    return [factory.collect().blobs]

for line in sys.stdin:
    try:
        answer = {"ok": act()}
    except (NotFoundError, ConflictError) as error:
        answer = {"missed": error.message}
    except ModelworksError as error:
        answer = {"error": f"{type(error).__name__}: {error.message}"}
    print(json.dumps(answer), flush=True)
"""


class Crew:
    """Workers that act in step: each round begins for all of them at once."""

    def __init__(self, home, stores, tmp_path, roles):
        told = [stores.database, stores.artifacts, repr(dict(stores.access.config))]
        self._processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    WORKER,
                    role,
                    str(home.root),
                    str(tmp_path / str(i)),
                    str(i),
                    *told,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for i, role in enumerate(roles)
        ]

    def round(self):
        for process in self._processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(process.stdout.readline()) for process in self._processes]

    def close(self):
        for process in self._processes:
            process.stdin.close()
            process.stdout.close()
            process.wait(timeout=30)


def sound(home, stores):
    """The database's own checks, and no lease left."""
    if stores.database:
        with closing(psycopg.connect(stores.database)) as connection:
            assert connection.execute("SELECT count(*) FROM leases").fetchall() == [(0,)]
        return
    with closing(sqlite3.connect(home.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT count(*) FROM leases").fetchall() == [(0,)]


def test_two_publishers_a_hundred_times(home, stores, tmp_path):
    with ExitStack() as stack:
        factory = stack.enter_context(Factory(home, stores=stores))
        crew = Crew(home, stores, tmp_path, ["publish", "publish"])
        stack.callback(crew.close)
        answers = [answer for _ in range(ROUNDS) for answer in crew.round()]
        assert [a for a in answers if "ok" not in a] == []
        made = dict(answer["ok"] for answer in answers)
        assert len(made) == 2 * ROUNDS  # no version twice
        versions = factory.versions("fraud")
        assert {v.ref: v.artifact.digest for v in versions} == made  # none lost, none swapped
        assert sorted(str(v.version) for v in versions) == sorted(
            f"1.{minor}.0" for minor in range(2 * ROUNDS)
        )
        assert all(factory.verify(version.ref).ok for version in versions)
        moves = factory.history("fraud", "champion")
        assert len(moves) == 2 * ROUNDS
        for before, after in pairwise(moves):
            assert after.previous == before.version
            assert after.at_ns > before.at_ns
        assert factory.show("fraud@champion").version == moves[-1].version
        assert factory.collect().blobs == 0
    sound(home, stores)


def test_publishing_against_deletion_and_collection(home, stores, tmp_path):
    with ExitStack() as stack:
        factory = stack.enter_context(Factory(home, stores=stores))
        factory.publish(candidate(tmp_path / "first", b"first"))
        crew = Crew(
            home, stores, tmp_path, ["republish", "republish", "delete", "delete", "collect"]
        )
        stack.callback(crew.close)
        published, deleted = {"fraud:1.0.0"}, set()
        rounds = ROUNDS // 2 if stores.database else ROUNDS
        for _ in range(rounds):
            answers = crew.round()
            assert [a for a in answers if "error" in a] == []
            assert [a for a in (*answers[:2], answers[4]) if "ok" not in a] == []
            published |= {ref for a in answers[:2] for ref in a["ok"]}
            deleted |= {ref for a in answers[2:4] for ref in a.get("ok", ())}
        alive = {v.ref for m in factory.models() for v in factory.versions(m.name)}
        assert alive == published - deleted
        assert len(deleted) > rounds / 2
        for ref in alive:
            assert factory.verify(ref).problems == ()
            assert factory.materialise(ref).is_dir()
        factory.collect()
        wanted = {d for ref in alive for _, d in factory.show(ref).artifact.files}
        assert {blob.digest for blob in factory._blobs.list()} == wanted
    sound(home, stores)
