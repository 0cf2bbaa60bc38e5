"""The supervisor of replicas: what it decides, what it keeps, what it says of an end."""

import json
import os
import signal
import tempfile
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.apps import replica
from modelworks.apps.last_words import last_words
from modelworks.apps.replica import ReplicaProcess
from modelworks.apps.replica_rules import Known, decide, wait_s
from modelworks.apps.replica_supervisor import make_sockets
from modelworks.apps.replicas import main
from modelworks.core.deployment import Phase
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.local import LocalShare, LocalWanted, Probes
from modelworks.core.local_folder import Layout, Mark, beating, read_status, read_wanted
from modelworks.core.lock import locked
from modelworks.core.processes import began, descendants, parent
from modelworks.core.served import ServedModel

pytestmark = pytest.mark.unit
SHARE = LocalShare(
    revision=1,
    replicas=2,
    model=ServedModel("fraud", "1.0.0", "/m.onnx", ""),
    environment={},
    secrets={},
    files={},
    cpu=1.0,
    cores=0,
    memory_bytes=1 << 30,
    host="127.0.0.1",
    port=8080,
    probes=Probes(10.0, 1.0, 1.0, 2),
    drain_s=5.0,
)
NEXT = replace(SHARE, revision=2)


def known(name, share=SHARE, phase=Phase.READY):
    return Known(name, share.revision, share.digest, phase)


def test_as_many_are_started_as_are_wanted_under_free_names():
    changes = decide("fraud", [SHARE], [])
    assert changes.start == (("fraud-1-0", SHARE), ("fraud-1-1", SHARE))
    changes = decide("fraud", [SHARE], [known("fraud-1-0", phase=Phase.STOPPING)])
    assert [name for name, _ in changes.start] == ["fraud-1-1", "fraud-1-2"]
    assert not changes.end


def test_those_that_are_missed_least_go_first():
    here = [known("fraud-1-0", phase=Phase.STARTING), *(known(f"fraud-1-{n}") for n in range(1, 4))]
    assert decide("fraud", [SHARE], here).end == ("fraud-1-0", "fraud-1-3")


def test_a_revision_that_is_wanted_no_more_goes_and_one_beside_another_stays():
    here = [known("fraud-1-0"), known("fraud-1-1")]
    one_each = [replace(NEXT, replicas=1), replace(SHARE, replicas=1)]
    changes = decide("fraud", one_each, here)
    assert changes.end == ("fraud-1-1",)
    assert [name for name, _ in changes.start] == ["fraud-2-0"]
    assert decide("fraud", [NEXT], here).end == ("fraud-1-0", "fraud-1-1")


def test_the_same_revision_in_other_words_goes_when_the_new_ones_are_ready():
    words = replace(SHARE, port=9)
    here = [known("fraud-1-0", words), known("fraud-1-1", words)]
    changes = decide("fraud", [SHARE], here)
    assert [name for name, _ in changes.start] == ["fraud-1-2", "fraud-1-3"]
    assert not changes.end
    new = [known("fraud-1-2"), known("fraud-1-3", phase=Phase.STARTING)]
    assert not decide("fraud", [SHARE], [*here, *new]).end
    new = [known("fraud-1-2"), known("fraud-1-3")]
    assert decide("fraud", [SHARE], [*here, *new]).end == ("fraud-1-0", "fraud-1-1")


@given(
    wanted=st.dictionaries(st.integers(1, 3), st.integers(0, 4), max_size=2),
    phases=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(Phase)), max_size=8),
)
def test_it_comes_to_rest_with_what_is_wanted(wanted, phases):
    shares = [replace(SHARE, revision=number, replicas=n) for number, n in wanted.items()]
    here = {
        f"fraud-{number}-{place}": known(
            f"fraud-{number}-{place}", replace(SHARE, revision=number), phase
        )
        for place, (number, phase) in enumerate(phases)
    }
    # The digest says nothing of how many, so those that are here are the ones that are wanted.
    changes = decide("fraud", shares, here.values())
    for name in changes.end:
        assert here[name].phase is not Phase.STOPPING
        here[name] = replace(here[name], phase=Phase.STOPPING)
    for name, share in changes.start:
        assert name not in here
        here[name] = known(name, share)
    live = [one.revision for one in here.values() if one.phase is not Phase.STOPPING]
    assert {number: live.count(number) for number in wanted} == wanted
    assert set(live) <= set(wanted)
    again = decide("fraud", shares, here.values())
    assert (again.start, again.end) == ((), ())


def test_waits_double_up_to_a_bound():
    assert [wait_s(crashes) for crashes in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert wait_s(1000) == 30.0


class Answers:
    """Probes that are answered at once."""

    def __init__(self, *said):
        self.said = list(said)

    def submit(self, _, __, *, wait_s):
        assert wait_s == SHARE.probes.timeout_s
        done = Future()
        done.set_result(self.said.pop(0) if len(self.said) > 1 else self.said[0])
        return done


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A replica whose process is this one; nothing is killed."""
    layout = Layout(tmp_path)
    killed = []
    # What this one holds is whatever other tests have loaded into it.
    monkeypatch.setattr(replica, "private_bytes", lambda _: 100 << 20)
    monkeypatch.setattr(replica.ReplicaProcess, "kill", lambda one: killed.append(one.name))
    one = ReplicaProcess("fraud-1-0", SHARE, layout, os.getpid())
    return one, killed


def test_it_is_ready_when_it_answers_and_not_after_so_many_silences(own):
    one, killed = own
    phases = []
    pool = Answers("loading", "", "gone")
    for now in range(1, 12):
        one.tend(float(now), pool)
        phases.append(one.phase)
    assert phases[:4] == [Phase.STARTING, Phase.STARTING, Phase.READY, Phase.READY]
    assert one.phase is Phase.FAILED
    assert one.reason == "gone"
    assert phases.index(Phase.FAILED) == 4
    assert killed, "three times as many, and it is started anew"
    assert one.seen.restarts == 0


def test_one_that_never_answers_is_ended_after_its_time(own):
    one, killed = own
    for now in range(1, 11):
        one.tend(float(now), Answers("not ready: HTTP/1.1 503"))
    assert not killed
    one.tend(12.0, Answers("x"))
    assert killed == ["fraud-1-0"]
    assert "after 10 s (probes.startup_timeout_s): not ready: HTTP/1.1 503" in one._fault


def test_what_holds_too_much_is_ended_and_says_so(tmp_path, monkeypatch, own):
    one, killed = own
    one.weigh()
    assert not killed
    monkeypatch.setattr(replica, "private_bytes", lambda _: 3 << 30)
    one.weigh()
    assert killed
    assert one._fault.startswith("it held 3072 MiB and may hold 1024 (resources.memory)")


def test_the_log_has_a_bound(own, tmp_path, monkeypatch):
    one, _ = own
    monkeypatch.setattr(replica, "_LOG_BYTES", 100)
    log = Layout(tmp_path).replica_log("fraud-1-0")
    log.parent.mkdir()
    with log.open("ab") as sink:
        sink.write(b"x" * 99 + b"y" * 99)
        sink.flush()
        one.trim()
        sink.write(b"2026-11-22 10:00:00,000 ERROR 7 modelworks.server the end\n")
    assert log.with_suffix(".log.1").read_bytes() == b"x" + b"y" * 99
    assert last_words(log) == "the end"
    one.forget()
    assert not list(log.parent.iterdir())


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (4, "no model", "it ended with exit code 4: no model"),
        (-signal.SIGKILL, "", "it was ended by SIGKILL"),
        (None, "bye", "it ended: bye"),
    ],
)
def test_an_end_in_words(code, words, said):
    assert replica._end_of(code, words) == said


def test_what_was_edited_is_not_obeyed(tmp_path):
    path = tmp_path / "wanted.json"
    wanted = LocalWanted("fraud", (SHARE,), {"team": "risk"})
    path.write_text(wanted.text())
    assert read_wanted(path) == replace(wanted, digest=wanted.own())
    edited = json.loads(path.read_text())
    edited["shares"][0]["port"] = 81
    for text in (json.dumps(edited), "{", "[]"):
        path.write_text(text)
        with pytest.raises(InvalidError):
            read_wanted(path)
    path.unlink()
    with pytest.raises(InvalidError, match="is gone"):
        read_wanted(path)
    assert read_status(path) is None


def test_a_status_that_nobody_touched_for_long_is_no_sign_of_life(tmp_path):
    path = tmp_path / "status.json"
    assert not beating(path)
    path.touch()
    assert beating(path)
    os.utime(path, (1, 1))
    assert not beating(path)


def test_a_mark_is_read_as_it_was_written():
    mark = Mark("/a:b/c", "fraud-1-0", 1, "abc")
    assert Mark.parse(str(mark)) == mark
    assert Mark.parse("nonsense") is None
    assert Mark.parse("a:b:c:d") is None


def test_processes():
    assert began(os.getpid()) > 0
    assert began(2**22 + 1) == 0
    assert parent(os.getpid()) == os.getppid()
    assert os.getpid() in descendants(os.getppid())


def test_one_holder_at_a_time_and_a_file_that_was_removed_counts_for_nobody(tmp_path):
    path = tmp_path / "lock"
    with locked(path, 0.0):
        with pytest.raises(UnavailableError, match="held by another"), locked(path, 0.0):
            raise AssertionError
        path.unlink()
        with locked(path, 0.0):
            assert path.exists()


def test_nobody_supervises_until_the_lock_is_held(tmp_path):
    import fcntl

    layout = Layout(tmp_path)
    assert layout.supervisor() is None
    with layout.lock.open("w+") as lock:
        assert layout.supervisor() is None
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert layout.supervisor() == 0, "it has not said who it is"
        lock.write("4711")
        lock.flush()
        assert layout.supervisor() == 4711
    assert layout.supervisor() is None


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path, caplog):
    assert main(["--folder", str(tmp_path / "nowhere")]) == 4
    assert "nowhere" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_supervisor_that_comes_too_late_leaves_nothing(tmp_path):
    folder = tmp_path / ("long" * 30)
    assert main(["--folder", str(folder)]) == 4
    assert not Layout(folder).sockets.exists()


def test_the_sockets_have_a_short_path_where_the_folder_for_temporary_files_has_none(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    sockets = Layout(tmp_path / ("long" * 30)).sockets
    assert sockets.parent == Path("/tmp")
    assert sockets != Layout(tmp_path / ("long" * 31)).sockets


def test_a_folder_for_sockets_that_is_not_ours_is_refused(tmp_path):
    layout = Layout(tmp_path / ("long" * 30))
    assert not layout.sockets.is_relative_to(tmp_path)
    layout.sockets.symlink_to(tmp_path)
    try:
        with pytest.raises(InvalidError, match="is not ours"):
            make_sockets(layout)
    finally:
        layout.sockets.unlink()
