"""The other servers of the comparison: their processes, what is asked of them, their pins."""

import re
import signal
import sys
import time

import pytest

from peers_modules import peers_module

pytestmark = pytest.mark.unit

environments, processes, rounds = map(peers_module, ("environments", "processes", "rounds"))


def test_a_tree_is_its_token_its_descendants_and_their_sessions_and_nothing_else():
    table = {
        10: (1, 10, True),  # the leader
        11: (10, 10, False),  # its child, whose title overwrote its environment
        12: (1, 10, False),  # left behind by a parent that ended, in the same session
        13: (1, 13, True),  # a daemon with a session of its own and the token
        14: (13, 14, False),  # its child
        20: (1, 20, False),  # somebody else
        21: (20, 20, False),
    }
    assert processes.members(table, {10}) == {10, 11, 12, 13, 14}
    assert processes.members(table, {99}) == {10, 11, 12, 13, 14}  # the first one has ended


def test_a_start_that_was_cut_short_is_ended_all_the_same(tmp_path):
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    tree = processes.Tree(sleeper, {"PATH": "/usr/bin:/bin"}, tmp_path, 0)
    tree.end()  # nothing was started
    tree.start()
    started, tree.process = tree.process, None  # as if a signal had come before it was known
    end = time.monotonic() + 10
    while tree.pids() != {started.pid}:  # between taskset and it, its environment is not there
        assert time.monotonic() < end
        time.sleep(0.01)
    tree.end()
    assert started.wait(timeout=10) == -signal.SIGTERM
    assert not tree.pids()


def test_last_words_are_the_surest_line():
    text = "E1 something\nModuleNotFoundError: No module named 'x'\nerror: failed to load\n+---+\n"
    assert processes.last_words(text, 100) == "ModuleNotFoundError: No module named 'x'"
    assert processes.last_words("a\nan error: b\nc\n", 100) == "an error: b"
    assert processes.last_words("a\nb\n", 100) == "b"
    assert processes.last_words("\n", 100) == "it said nothing"


def test_a_plan_asks_the_wires_it_says_and_tells_its_minutes():
    run = peers_module("run")
    chosen = run.peers("mosec, FastAPI")
    assert [each.name for each in chosen] == [
        "modelworks",
        "modelworks again",
        "mosec",
        "mosec unbatched",
        "mosec bytes",
        "mosec bytes unbatched",
        "FastAPI",
    ]
    assert run.PLANS["M"].wires(chosen[0]) == ["json", "binary"]  # what JSON is compared with
    assert run.PLANS["M"].wires(chosen[-1]) == ["binary"]
    assert run.PLANS["T"].wires(run.peers("bentoml")[-1]) == ["base64"]
    assert run.PLANS["T"].wires(run.peers("mlflow")[-1]) == ["json"]
    assert run.PLANS["S"].wires(chosen[0]) == ["json", "binary"]
    assert rounds.Plan((1, 8), 2, 30).minutes(chosen) > 8 * 2 * 2 * 0.5 * 0.99
    with pytest.raises(SystemExit, match="nobody"):
        run.peers("nobody")


def test_every_peer_is_pinned_exactly_and_brings_no_cuda():
    run = peers_module("run")
    folders = {each.service for each in run.peers() if each.folder}
    assert len(folders) >= 9
    for folder in folders:
        lines = (folder / "requirements.lock").read_text().splitlines()
        assert lines
        assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+", line) for line in lines), folder.name
        assert not [line for line in lines if re.match(r"nvidia-cu|triton==", line)], folder.name
        asked = {name.lower() for name in environments.roots(folder)}
        assert asked <= {line.partition("==")[0].lower() for line in lines}, folder.name


def test_a_peer_without_a_lock_or_with_an_unknown_pin_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "peer").mkdir()
    with pytest.raises(environments.MissingError, match=r"--lock peer"):
        environments.environment(tmp_path / "peer")
