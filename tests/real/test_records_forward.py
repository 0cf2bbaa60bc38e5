"""`modelworks records forward` as a process: killed while it sends, nothing is lost."""

import json
import os
import random
import subprocess
import sys
import time

import pytest

from modelworks.core.records import Record
from modelworks.protocol.records import SegmentWriter
from sink_receivers import Webhook

pytestmark = pytest.mark.real

COUNT = 20_000


@pytest.fixture
def hook():
    found = Webhook()
    found.start()
    yield found
    found.stop()


def command(hook, *further):
    line = [sys.executable, "-m", "modelworks.cli.main", "records", "forward", "--to", hook.url]
    return [*line, *further]


def recorded(home):
    for first in range(0, COUNT, 2000):
        writer = SegmentWriter(home / "records" / "segments")
        writer.write(
            [
                Record(id=f"r{n}", at_ns=10**18 + n, model="m", version="1.0.0", inputs={"x": [n]})
                for n in range(first, first + 2000)
            ]
        )
        writer.close()


def test_killed_at_random_moments_every_record_arrives(tmp_path, hook):
    recorded(tmp_path)
    environ = os.environ | {"MODELWORKS_HOME": str(tmp_path)}
    rng = random.Random(0)
    kills = 0
    for _ in range(6):
        process = subprocess.Popen(command(hook), env=environ, stderr=subprocess.DEVNULL)
        seen = len(hook.events)
        deadline = time.monotonic() + 30
        while len(hook.events) == seen and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.wait()
        kills += 0 < len(hook.events) < COUNT
    done = subprocess.run(
        command(hook, "--once", "--json"), env=environ, capture_output=True, timeout=60, check=True
    )
    assert kills >= 1
    ids = [event["data"]["id"] for event in hook.events]
    assert set(ids) == {f"r{n}" for n in range(COUNT)}
    # Twice is what was under way at a kill; and what a busy receiver took, and answered too late.
    assert len(ids) <= COUNT + 2 * 6 * 500
    assert json.loads(done.stdout)["dropped"] == 0


def test_a_second_one_for_the_same_receiver_is_refused(tmp_path, hook):
    environ = os.environ | {"MODELWORKS_HOME": str(tmp_path)}
    first = subprocess.Popen(command(hook), env=environ, stderr=subprocess.DEVNULL)
    try:
        lock = tmp_path / "records" / "forward" / "cloudevents" / "lock"
        deadline = time.monotonic() + 30
        while not lock.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        second = subprocess.run(
            command(hook, "--once"), env=environ, capture_output=True, timeout=60, check=False
        )
        assert second.returncode == 6
        assert b"held by another process" in second.stderr
    finally:
        first.kill()
        first.wait()
