"""Threads and coroutines in front of the batcher: everyone gets his own, whatever happens."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.errors import CrashedError, DeadlineError, InvalidError, UnavailableError
from modelworks.core.served import Batching, ServedModel
from modelworks.serving.cost import Cost
from modelworks.serving.front import Front, MovedError
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit


def version(tmp_path, number, factor, **more):
    path = models.double(tmp_path / f"{number}.onnx", factor=factor)
    return ServedModel("m", f"{number}.0.0", str(path), "", **more)


@pytest.fixture
def front(tmp_path):
    front = Front("m")
    try:
        assert front.apply(version(tmp_path, 1, 2.0)) == ""
        yield front
    finally:
        front.close()


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def ask(front, value, seconds=20.0, rows=1):
    live = front.live
    x = np.full((rows, 3), value, np.float32)
    return float(front.call(live, {"x": x}, rows, seconds)[0][0, 0]), live.version


class Slow:
    """A session that takes its time, in the place of the real one."""

    def __init__(self, session, gate):
        self._session, self._gate, self.calls = session, gate, []
        self.signature = session.signature

    def infer(self, inputs):
        self.calls.append(len(inputs["x"]))
        assert self._gate.wait(20)
        return self._session.infer(inputs)

    def close(self):
        self._session.close()


@pytest.fixture
def slowed(front):
    """The front's session, stopped at a gate."""
    gate = threading.Event()
    batcher = front.live.batcher
    session = batcher._session = Slow(batcher._session, gate)
    batcher._cost = Cost(by_rows=False)  # never on the loop
    yield session, gate
    gate.set()


def test_threads_share_engine_calls_and_get_their_own(front, slowed):
    session, gate = slowed
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(ask, front, i) for i in range(16)]
        until(lambda: session.calls and session.calls[0] + front.live.batcher.items == 16)
        gate.set()
        assert [answer.result()[0] for answer in answers] == [2.0 * i for i in range(16)]
    assert len(session.calls) == 2
    assert sum(session.calls) == 16


def test_coroutines_share_engine_calls_and_get_their_own(front, slowed):
    session, gate = slowed

    async def one(i):
        x = np.full((1, 3), i, np.float32)
        return (await front.acall(front.live, {"x": x}, 1, 20.0))[0][0, 0]

    async def every():
        asyncio.get_running_loop().call_later(0.2, gate.set)
        return await asyncio.gather(*map(one, range(16)))

    assert asyncio.run(every()) == [2.0 * i for i in range(16)]
    assert sum(session.calls) == 16
    assert len(session.calls) <= 3


def test_a_call_in_flight_ends_on_the_version_it_began_with(front, slowed, tmp_path):
    _, gate = slowed
    with ThreadPoolExecutor(2) as pool:
        begun = pool.submit(ask, front, 5)
        until(lambda: front.live.batcher._aboard)
        moving = pool.submit(front.apply, version(tmp_path, 2, 3.0))
        until(lambda: front.live.version == "2.0.0")
        assert ask(front, 5) == (15.0, "2.0.0")
        assert not begun.done()
        gate.set()
        assert begun.result() == (10.0, "1.0.0")
        assert moving.result(20) == ""


def test_inputs_read_for_the_old_version_are_not_given_to_the_new_one(front, tmp_path):
    old = front.live
    front.apply(version(tmp_path, 2, 3.0))
    with pytest.raises(MovedError):
        front.call(old, {"x": np.ones((1, 3), np.float32)}, 1, 5.0)


def test_a_bad_version_leaves_the_old_one_in_its_place(front, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    served = ServedModel("m", "2.0.0", str(bad), "")
    assert "ONNX" in front.apply(served)
    assert ask(front, 1) == (2.0, "1.0.0")
    with pytest.raises(InvalidError, match="ONNX"):
        front.load_again(served)
    bad.write_bytes((tmp_path / "1.onnx").read_bytes())
    front.load_again(served)
    assert ask(front, 1) == (2.0, "2.0.0")


def test_a_full_queue_and_a_late_answer(tmp_path):
    front = Front("m")
    gate = threading.Event()
    try:
        front.apply(replace(version(tmp_path, 1, 2.0), batching=Batching(1, 2)))
        batcher = front.live.batcher
        batcher._session = Slow(batcher._session, gate)
        batcher._cost = Cost(by_rows=False)  # never on the loop
        with ThreadPoolExecutor(8) as pool:
            begun = pool.submit(ask, front, 1)
            until(lambda: batcher._aboard)
            late = pool.submit(ask, front, 2, 0.2)
            with pytest.raises(DeadlineError, match=r"within 0\.2 s"):
                late.result()
            queued = [pool.submit(ask, front, i) for i in (3, 4)]
            until(lambda: batcher.items == 2)
            with pytest.raises(UnavailableError, match="items waiting"):
                ask(front, 5)
            gate.set()
            assert begun.result()[0] == 2
            assert [q.result()[0] for q in queued] == [6, 8]
            assert len(batcher._session.calls) == 3  # the late one was never computed
        [(_, numbers)] = front.numbers()
        assert numbers.failures == 1
    finally:
        gate.set()
        front.close()


def test_a_cancelled_coroutine_harms_no_neighbour(front, slowed):
    _, gate = slowed

    async def one(i):
        x = np.full((1, 3), i, np.float32)
        return (await front.acall(front.live, {"x": x}, 1, 20.0))[0][0, 0]

    async def every():
        tasks = [asyncio.ensure_future(one(i)) for i in range(6)]
        await asyncio.sleep(0.1)
        tasks[2].cancel()
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(every())
    assert isinstance(answers.pop(2), asyncio.CancelledError)
    assert answers == [0.0, 2.0, 6.0, 8.0, 10.0]


def test_a_culprit_fails_alone(tmp_path):
    front = Front("look-up")
    try:
        path = models.look_up(tmp_path / "m.onnx")
        assert front.apply(ServedModel("look-up", "1.0.0", str(path), "")) == ""

        def look(value):
            x = np.array([[value]], np.int64)
            return int(front.call(front.live, {"x": x}, 1, 20.0)[0][0, 0])

        with ThreadPoolExecutor(8) as pool:
            asked = [(i, pool.submit(look, i)) for i in [*range(20), 500, *range(20)]]
            for i, answer in asked:
                if i == 500:
                    with pytest.raises(InvalidError, match="refuses"):
                        answer.result()
                else:
                    assert answer.result() == 10 * i
    finally:
        front.close()


def test_closing_answers_who_waits_and_refuses_who_comes(front, slowed):
    session, gate = slowed
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, front, i) for i in range(4)]
        batcher = front.live.batcher
        until(lambda: sum(session.calls) + batcher.items == 4)
        live = front.live
        closing = pool.submit(front.close)
        until(lambda: front._closing)
        with pytest.raises(UnavailableError, match="closed"):
            front.call(live, {"x": np.ones((1, 3), np.float32)}, 1, 5.0)
        gate.set()
        assert sorted(answer.result()[0] for answer in waiting) == [0, 2, 4, 6]
        closing.result(20)
    front.close()
    with pytest.raises(UnavailableError, match="closed"):
        _ = front.live
    assert not front._thread.is_alive()


def test_a_loop_that_died_leaves_nobody_waiting(front, monkeypatch):
    monkeypatch.setattr(front, "_submit", lambda _member: None)  # what a dead loop does with it
    with ThreadPoolExecutor(1) as pool:
        live = front.live
        waiting = pool.submit(front.call, live, {"x": np.ones((1, 3), np.float32)}, 1, 20.0)
        time.sleep(0.05)
        front.close()
        with pytest.raises(UnavailableError, match="closed"):
            waiting.result(10)


def test_errors_are_not_shared_between_callers(front, slowed):
    session, gate = slowed

    def fail(_inputs):
        raise CrashedError("the engine failed")

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask, front, i) for i in range(3)]
        until(lambda: sum(session.calls) + front.live.batcher.items == 3)
        session._session.infer = fail
        gate.set()
        errors = [answer.exception() for answer in answers]
    assert len({id(error) for error in errors}) == 3
    assert {type(error) for error in errors} == {CrashedError}
