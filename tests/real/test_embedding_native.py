"""A model that is code, embedded: it runs in a process of its own, and only by its owner's word."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import modelworks
from modelworks.control.service import Factory
from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.core.model import Evidence, Lineage, Verdict
from modelworks.registry.publish import Publication
from native_models import SIGNATURE, native

pytestmark = pytest.mark.real
DIGEST = "sha256:" + "0" * 64
SCRIPT = """
import json, sys
import modelworks
session = modelworks.load("native", home=sys.argv[1])
print(json.dumps(session.infer({"x": [[1, 2, 3]]})["pid"].tolist()))
"""


@pytest.fixture
def put(home, tmp_path):
    def put(*, trusted):
        word = Evidence("trust", Verdict.ACCEPTED, "by ada", {"digest": DIGEST})
        with Factory(home) as factory:
            return factory.publish(
                Publication(
                    name="native",
                    folder=native(tmp_path / f"artifact-{trusted}"),
                    format="native",
                    signature=SIGNATURE,
                    lineage=Lineage(source_digest=DIGEST),
                    evidence=(word,) if trusted else (),
                )
            )

    return put


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def pid_of(session):
    return int(session.infer({"x": [[1, 2, 3]]})["pid"][0])


def test_without_the_owners_word_nothing_runs(put, home):
    put(trusted=False)
    with pytest.raises(ModelworksError, match="trust"):
        modelworks.load("native", home=home.root)


def test_a_killed_process_is_said_and_comes_again(put, home):
    put(trusted=True)
    with modelworks.load("native", home=home.root, poll=0.05) as session:
        first = pid_of(session)
        assert first != os.getpid()
        assert session.infer({"x": [[1, 2, 3]]})["y"].tolist() == [[2, 4, 6]]
        os.kill(first, signal.SIGKILL)
        said = []

        def answered():
            try:
                return pid_of(session) != first
            except UnavailableError as error:
                said.append(error.message)
                return False

        until(answered)
        assert session.problem == ""
        last = pid_of(session)
    until(lambda: gone(first) and gone(last))
    assert said
    assert all("again" in message for message in said), said


def test_the_end_of_the_program_ends_its_process(put, home):
    put(trusted=True)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(home.root)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    [pid] = json.loads(ran.stdout)
    until(lambda: gone(pid), 5)
    assert "Traceback" not in ran.stderr
