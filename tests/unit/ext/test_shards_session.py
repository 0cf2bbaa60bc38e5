"""Calls on their way through stages: where each is, what is bounded, what an error leaves."""

import math
import socket
import threading

import numpy as np
import pytest

from modelworks.core.errors import CrashedError, InvalidError, UnavailableError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.engines.stages.frames import Line
from modelworks.ext.engines.stages.hosting import Host
from modelworks.ext.engines.stages.session import StagesSession
from modelworks.sandbox.relay import Buffer, Pool
from modelworks.sandbox.tensors import extent

pytestmark = pytest.mark.unit
SPEC = TensorSpec("x", Datatype.FP32, (None,))
SIGNATURE = Signature((SPEC,), (TensorSpec("y", Datatype.FP32, (None,)),))
WAIT_S = 20.0
GONE = -9.0


class Stage:
    """Adds `plus`, one call after the other; a call waits where its first value has a gate."""

    signature = SIGNATURE

    def __init__(self, plus, gates=()):
        self.plus = plus
        self.gates = dict(gates)
        self.entered = {}
        self.lock = threading.Lock()
        self.closed = 0
        self.changed = None

    def entry(self, value):
        return self.entered.setdefault(value, threading.Event())

    def run(self, source, into):
        with self.lock:
            [array] = source.read(self.signature.inputs, own=True)
            first = float(array[0])
            self.entry(first).set()
            if first in self.gates:
                assert self.gates[first].wait(WAIT_S)
            if first == GONE:
                raise UnavailableError("it is gone")
            if first < 0:
                raise CrashedError("it failed")
            into.put([array + np.float32(self.plus)])

    def watch(self, changed):
        self.changed = changed

    def processes(self):
        return ()

    def close(self):
        self.closed += 1


def session(*stages, lanes=3, most=1 << 24):
    return StagesSession(stages, SIGNATURE, lanes, Pool(most))


def ask(opened, value, answers):
    answers[value] = float(opened.infer({"x": np.full(2, value, np.float32)})[0][0])


def started(opened, value, answers):
    thread = threading.Thread(target=ask, args=(opened, value, answers))
    thread.start()
    return thread


def test_while_one_call_is_in_the_second_stage_the_next_is_in_the_first():
    gate = threading.Event()
    first, second = Stage(10, {2.0: gate}), Stage(100, {11.0: gate})
    opened, answers = session(first, second), {}
    threads = [started(opened, 1.0, answers)]
    assert second.entry(11.0).wait(WAIT_S)
    threads.append(started(opened, 2.0, answers))
    assert first.entry(2.0).wait(WAIT_S)  # and the second stage is still at the first call
    assert answers == {}
    gate.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert answers == {1.0: 111.0, 2.0: 112.0}
    opened.close()


def test_no_more_are_on_their_way_than_there_are_lanes():
    gate = threading.Event()
    first, second = Stage(10), Stage(100, {11.0: gate})
    opened, answers = session(first, second, lanes=2), {}
    threads = [started(opened, 1.0, answers)]
    assert second.entry(11.0).wait(WAIT_S)
    threads.append(started(opened, 2.0, answers))
    assert first.entry(2.0).wait(WAIT_S)
    threads.append(started(opened, 3.0, answers))
    assert not first.entry(3.0).wait(0.05)  # both ways are taken
    gate.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert answers == {1.0: 111.0, 2.0: 112.0, 3.0: 113.0}
    opened.close()


def test_an_error_names_the_stage_and_gives_its_way_back():
    opened, answers = session(Stage(10), Stage(100), lanes=1), {}
    for _ in range(3):
        with pytest.raises(CrashedError, match="stage 0 of 2: it failed"):
            opened.infer({"x": np.full(2, -5, np.float32)})
        with pytest.raises(InvalidError, match="'nobody'"):
            opened.infer({"nobody": np.ones(2, np.float32)})
    ask(opened, 1.0, answers)
    assert answers == {1.0: 111.0}
    opened.close()


def test_no_later_call_gets_the_memory_that_a_process_that_was_ended_could_write():
    pool = Pool(1 << 24)
    opened, answers = StagesSession((Stage(10), Stage(100)), SIGNATURE, 1, pool), {}
    ask(opened, 1.0, answers)
    assert pool.taken > 0
    with pytest.raises(UnavailableError, match="stage 0 of 2: it is gone"):
        opened.infer({"x": np.full(2, GONE, np.float32)})
    assert pool.taken == 0
    ask(opened, 2.0, answers)
    assert answers == {1.0: 111.0, 2.0: 112.0}
    opened.close()


def test_closed_it_refuses_and_all_memory_is_back():
    pool = Pool(1 << 24)
    stages = Stage(10), Stage(100)
    opened = StagesSession(stages, SIGNATURE, 3, pool)
    ask(opened, 1.0, {})
    assert pool.taken > 0
    opened.close()
    opened.close()
    assert pool.taken == 0
    assert [stage.closed for stage in stages] == [1, 1]
    with pytest.raises(UnavailableError, match="unloaded"):
        opened.infer({"x": np.ones(2, np.float32)})


def test_a_call_on_its_way_when_it_is_closed_gives_its_memory_back_itself():
    gate, pool = threading.Event(), Pool(1 << 24)
    stage = Stage(10, {1.0: gate})
    opened, answers = StagesSession((stage,), SIGNATURE, 1, pool), {}
    thread = started(opened, 1.0, answers)
    assert stage.entry(1.0).wait(WAIT_S)
    opened.close()
    gate.set()
    thread.join(WAIT_S)
    assert pool.taken == 0


def test_the_model_answers_when_every_stage_does():
    first, second = Stage(10), Stage(100)
    opened, heard = session(first, second), []
    opened.watch(heard.append)
    first.changed("gone")
    second.changed("gone too")
    first.changed("")
    second.changed("")
    assert heard[0] == "stage 0 of 2: gone"
    assert heard[-2:] == ["stage 1 of 2: gone too", ""]
    opened.close()


def test_buffers_grow_within_their_pool_and_know_how_much_is_in_them():
    pool = Pool(1 << 20)
    one, other = Buffer(0, pool), Buffer(1, pool)
    arrays = [np.arange(1000, dtype=np.float32)]
    size = one.put(arrays)
    assert one.edition == 1
    assert extent(one.memory, (SPEC,)) <= size
    np.testing.assert_array_equal(one.read((SPEC,), own=True)[0], arrays[0])
    assert one.hold(1 << 19)
    assert one.edition == 2
    assert not other.hold(1 << 20)
    assert other.size == 0
    with pytest.raises(InvalidError, match="buffers_mib"):
        other.put([np.zeros(1 << 18, np.float32)])
    one.close()
    assert pool.taken == 0
    assert other.hold(1 << 20)
    other.close()


def test_pages_of_a_large_buffer_go_back_and_it_stays_usable():
    pool = Pool(1 << 30)
    buffer = Buffer(0, pool)
    array = np.ones(20 << 20, np.float32)
    buffer.put([array])
    buffer.rest()
    assert not np.frombuffer(buffer.memory, np.uint8, 1 << 20).any()
    buffer.put([array[:4]])
    np.testing.assert_array_equal(buffer.read((SPEC,), own=True)[0], array[:4])
    buffer.close()


def test_a_line_that_nothing_is_said_on_is_not_hung_up_on():
    """That of the pipeline which only tells of the end: by it all lines end."""

    class Silent(Line):
        def head(self, until):
            self.until = until
            raise EOFError

    here, there = socket.socketpair()
    with here, there:
        line = Silent(here)
        with pytest.raises(EOFError):
            Host._answer(None, line, None, None)
        assert line.until == math.inf
        there.close()
        with pytest.raises(EOFError):
            Line(here).head(math.inf)
