"""Models in stages against the engine contract; and what is their own."""

import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest

from modelworks.core.errors import DeadlineError, InvalidError, UnavailableError
from modelworks.core.seams import Concurrent, Elsewhere, EngineOptions, Watchable
from modelworks.ext.engines.stages import StagesEngine
from modelworks.sandbox.vigil import resident
from modelworks.testing import onnx_models as models
from modelworks.testing.engines import EngineCase, EngineContract
from modelworks.testing.loaders import gone
from shards import busy, cut, lasting

pytestmark = [pytest.mark.contract, pytest.mark.real]
WIDTH = 16


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Four layers in two stages."""
    folder = tmp_path_factory.mktemp("small")
    models.heavy(folder / "model.onnx", layers=4, width=WIDTH)
    return cut(folder, folder / "cut")


@pytest.fixture(scope="module")
def weighty(tmp_path_factory, heavy):
    folder = tmp_path_factory.mktemp("weighty")
    shutil.copyfile(heavy, folder / "model.onnx")
    return cut(folder, folder / "cut", stages=3)


def rows(count, width=WIDTH):
    return {"x": np.random.default_rng(count).random((count, width), dtype=np.float32)}


@pytest.fixture
def session(small):
    opened = StagesEngine().load(small, EngineOptions())
    yield opened
    opened.close()


class TestStages(EngineContract):
    @pytest.fixture
    def case(self, tmp_path, small, weighty):
        whole = (small / "stages.json").read_bytes()
        broken = {}
        for what, data in (
            ("empty", b""),
            ("truncated", whole[: len(whole) // 2]),
            ("foreign", b"PK\x03\x04 this is a zip file and no model" * 10),
        ):
            broken[what] = tmp_path / what
            broken[what].mkdir()
            (broken[what] / "stages.json").write_bytes(data)
        broken["missing"] = tmp_path / "nowhere"
        return EngineCase(StagesEngine(), small, rows, broken, weighty)

    def test_close_gives_the_memory_back(self, case):
        """It is other processes' memory: no one holds the whole, and it goes with them."""
        opened = case.engine.load(case.weighty, EngineOptions())
        held = {pid: resident(pid) for pid in opened.processes()}
        assert len(held) == 3
        opened.close()
        assert all(gone(pid) for pid in held)
        assert opened.processes() == ()


def test_it_says_what_it_can(session):
    assert isinstance(session, Concurrent)
    assert isinstance(session, Watchable)
    assert isinstance(session, Elsewhere)
    assert session.lanes == 3
    assert len(session.processes()) == 2


def test_calls_at_once_get_their_own_answers(session, small):
    wanted = {n: session.infer(rows(n))[0].copy() for n in range(1, 9)}
    wrong = []

    def ask(n):
        for _ in range(20):
            [found] = session.infer(rows(n))
            if not np.array_equal(found, wanted[n]):
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_larger_and_smaller_calls_share_the_buffers(session):
    for count in (1, 5000, 2, 20_000, 3):
        [found] = session.infer(rows(count))
        assert found.shape == (count, WIDTH)
    again = session.infer(rows(5000))[0]
    np.testing.assert_array_equal(again[:1], session.infer({"x": rows(5000)["x"][:1]})[0])


def test_more_than_the_buffers_may_have_is_refused_and_harms_nothing(small):
    opened = StagesEngine().load(small, EngineOptions(extra=(("buffers_mib", "2"),)))
    try:
        with pytest.raises(InvalidError, match="buffers_mib"):
            opened.infer(rows(100_000))
        assert opened.infer(rows(2))[0].shape == (2, WIDTH)
    finally:
        opened.close()


@pytest.mark.parametrize("place", [0, 1])
def test_a_killed_stage_is_noticed_and_replaced(session, place):
    told, again = [], threading.Event()

    def changed(why):
        told.append(why)
        if not why:
            again.set()

    before = session.infer(rows(2))[0].copy()
    session.watch(changed)
    victim = session.processes()[place]
    os.kill(victim, signal.SIGKILL)
    assert again.wait(30)
    assert told[0].startswith(f"stage {place} of 2: ")
    assert "SIGKILL" in told[0]
    end = time.monotonic() + 10
    while True:
        try:
            [found] = session.infer(rows(2))
            break
        except UnavailableError:
            assert time.monotonic() < end
    np.testing.assert_array_equal(found, before)
    assert victim not in session.processes()


def test_a_call_in_a_stage_that_dies_is_told_which(tmp_path):
    lasting(tmp_path / "model.onnx")
    opened = StagesEngine().load(cut(tmp_path, tmp_path / "cut", same="off"), EngineOptions())
    caught = []

    def ask():
        try:
            opened.infer(rows(1, 3))
        except UnavailableError as error:
            caught.append(error.message)

    try:
        thread = threading.Thread(target=ask)
        thread.start()
        victim = opened.processes()[1]
        assert busy(victim)
        os.kill(victim, signal.SIGKILL)
        thread.join(30)
        [message] = caught
        assert message.startswith("stage 1 of 2: the model's process was killed (SIGKILL)")
    finally:
        opened.close()


def test_a_stage_that_takes_too_long_is_ended_and_the_others_serve_on(tmp_path):
    lasting(tmp_path / "model.onnx")
    options = EngineOptions(extra=(("deadline_s", "0.5"),))
    opened = StagesEngine().load(cut(tmp_path, tmp_path / "cut", same="off"), options)
    first, second = opened.processes()
    try:
        with pytest.raises(DeadlineError, match=r"stage 1 of 2: .* 0\.5 s"):
            opened.infer(rows(1, 3))
        assert gone(second)
        assert first in opened.processes()
    finally:
        opened.close()


def test_closing_while_calls_run_answers_them_all(small):
    opened = StagesEngine().load(small, EngineOptions())
    ended = []

    def ask():
        try:
            while True:
                opened.infer(rows(2000))
        except UnavailableError:
            ended.append(True)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    opened.infer(rows(1))
    opened.close()
    for thread in threads:
        thread.join(30)
    assert ended == [True] * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("in_flight", "0"),
        ("in_flight", "1.5"),
        ("buffers_mib", "nan"),
        ("deadline_s", "-1"),
        ("hosts", "1"),
        ("hosts", "7=127.0.0.1:1"),
        ("tls_cert", "/nowhere"),
    ],
)
def test_settings_that_cannot_be_are_named(small, name, value):
    with pytest.raises(InvalidError) as caught:
        StagesEngine().load(small, EngineOptions(extra=((name, value),)))
    assert caught.value.field in {name, "tls_ca"}


def changed_file(small, into, change):
    shutil.copytree(small, into)
    change(into)
    return into


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: shutil.rmtree(f / "stage-1"), "no folder 'stage-1'"),
        (lambda f: (f / "stage-1" / "model.onnx").write_bytes(b""), "stage 1 of 2: "),
        (
            lambda f: shutil.copyfile(f / "stage-0" / "model.onnx", f / "stage-1" / "model.onnx"),
            "stage 1 of 2: the model in 'stage-1' takes other tensors",
        ),
    ],
)
def test_a_stage_that_is_none_is_named_and_nothing_stays(small, tmp_path, change, told):
    folder = changed_file(small, tmp_path / "changed", change)
    with pytest.raises(InvalidError) as caught:
        StagesEngine().load(folder, EngineOptions())
    assert told in caught.value.message
