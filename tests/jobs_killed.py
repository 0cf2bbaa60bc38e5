"""Jobs under load while their server is killed again and again; and what the file says of it.

The file itself keeps count: a trigger of the test notes every change of a job's state, in the
same transaction. So what is held against is not what the server says of itself.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

from jobs_desk import body
from modelworks.core.jobs import JobState
from modelworks.testing.servers import Server
from recording_server import until

_AUDIT = """
CREATE TABLE audit(seq INTEGER, old TEXT, new TEXT, attempts INTEGER);
CREATE TRIGGER audited AFTER UPDATE OF state ON jobs BEGIN
    INSERT INTO audit VALUES(new.seq, old.state, new.state, new.attempts);
END;
"""


class Client:
    """Submits without a pause; what is not answered is submitted again under the same key.

    Attributes:
        accepted: key -> job, of every 202.
    """

    def __init__(self, number, port):
        self.accepted = {}
        self.tries = 0
        self._number = number
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        self._over.set()
        self._thread.join()

    def _run(self):
        connection = None
        count = 0
        while not self._over.is_set():
            key = f"{self._number}-{count}"
            try:
                connection = connection or http.client.HTTPConnection(
                    "127.0.0.1", self._port, timeout=10
                )
                self.tries += 1
                value = float(self._number * 1_000_000 + count)
                headers = {"Idempotency-Key": key}
                connection.request("POST", "/v2/models/double/jobs", body(value, 0, 0), headers)
                answer = connection.getresponse()
                told = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                if connection is not None:
                    connection.close()
                connection = None
                self._over.wait(0.01)
                continue
            if answer.status == 202:
                self.accepted[key] = told["id"]
                count += 1
                self._over.wait(0.002)
            else:
                self._over.wait(0.01)
        if connection is not None:
            connection.close()


def audit(folder):
    """Note every move of every job from now on; a server makes its file as it begins."""
    until(lambda: _tables(folder / "jobs.sqlite"))
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite", timeout=30)) as base:
        base.executescript(_AUDIT)


def _tables(path):
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as base:
        return base.execute("PRAGMA user_version").fetchone()[0]


def workers_of(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found]


def kills(path, folder, port, count, workers=1, seed=1):
    """Kill a server `count` times while clients submit; every accepted job has its one result.

    With several workers, one of them is killed as often as the whole server.
    """
    chance = random.Random(seed)
    arguments = ["--file", str(path), "--jobs", str(folder), "--port", str(port)]
    arguments += ["--workers", str(workers), "--with-parent"]
    server = Server(arguments)
    clients = []
    try:
        audit(folder)
        clients += [Client(number, port) for number in range(4)]
        for _ in range(count):
            time.sleep(chance.uniform(0.02, 0.4))
            if workers > 1 and chance.random() < 0.5:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(workers_of(server.pid)), signal.SIGKILL)
                continue
            server.kill()
            server.__exit__(None, None, None)
            server = Server(arguments)
        for client in clients:
            client.stop()
        accepted = {key: job for client in clients for key, job in client.accepted.items()}
        assert len(accepted) > 10 * count
        until(lambda: _settled(folder), 60)
        _check(folder, accepted, server)
    finally:
        for client in clients:
            client.stop()
        server.__exit__(None, None, None)
    return len(accepted)


def _settled(folder):
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite", timeout=30)) as base:
        return not base.execute("SELECT 1 FROM jobs WHERE ended_ns = 0 LIMIT 1").fetchone()


def _check(folder, accepted, server):
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite", timeout=30)) as base:
        jobs = {row[0]: row[1:] for row in base.execute("SELECT id, key, state, seq FROM jobs")}
        moves = base.execute("SELECT seq, old, new FROM audit ORDER BY rowid").fetchall()
        results = dict(base.execute("SELECT seq, body FROM results"))
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    # None is lost, and none is there twice: what was not answered may be there under its key.
    assert set(accepted.values()) <= set(jobs)
    assert max(Counter(key for key, _, _ in jobs.values()).values()) == 1
    assert {state for _, state, _ in jobs.values()} == {"done"}
    assert len(results) == len(jobs)
    for key, _, seq in jobs.values():
        number, _, count = key.partition("-")
        value = float(int(number) * 1_000_000 + int(count))
        assert json.loads(results[seq])["outputs"][0]["data"] == [2 * value, 0.0, 0.0]
    # Each went from state to state as it may: never two attempts at once, never two ends.
    state = dict.fromkeys((seq for _, _, seq in jobs.values()), JobState.QUEUED)
    ends = Counter()
    for seq, old, new in moves:
        assert state[seq] == old, (seq, state[seq], old, new)
        state[seq] = JobState(new)
        ends[seq] += JobState(new).ended
    assert set(ends.values()) == {1}
    # And anybody who asks is told the same.
    connection = http.client.HTTPConnection(server.address, timeout=20)
    for job in random.Random(2).sample(sorted(accepted.values()), 20):
        connection.request("GET", f"/v2/jobs/{job}/result")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, results[jobs[job][2]])
    connection.close()
