"""Copies of a model that answer side by side: which is taken, who fell, what is refused."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.graphs import GRAPH
from modelworks.core.instances import Instances, parsed, told
from modelworks.core.seams import Concurrent, Elsewhere, Reusable, Watchable
from modelworks.core.served import Isolation, ServedList, ServedModel
from modelworks.serving import instances
from modelworks.serving.footprints import Footprints
from modelworks.serving.lists import check
from modelworks.serving.loading import load_model
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit


def served(path, **more):
    return ServedModel("m", "1.0.0", str(path), digest="", **more)


@pytest.fixture
def model(tmp_path):
    return models.double(tmp_path / "model.onnx")


def test_what_is_written_is_what_is_read():
    groups = (Instances("cuda:1", 2), Instances("cpu", 3))
    assert parsed(told(groups)) == groups
    assert parsed(" cuda:0*2 , cpu ,") == (Instances("cuda:0", 2), Instances("cpu", 1))
    assert parsed("") == ()
    assert [one.number for one in parsed("cuda,cuda:3,gpu:1")] == [0, 3, 1]


@pytest.mark.parametrize("text", ["tpu", "cpu*0", "cpu*65", "cuda:*2", "cpu*2*2", "cuda:100", "*2"])
def test_what_cannot_be_is_named(text):
    with pytest.raises(InvalidError) as caught:
        parsed(text)
    assert caught.value.field == "instances"


@pytest.mark.parametrize(
    "groups",
    [
        (Instances("tpu"),),
        (Instances("cpu", 0),),
        (Instances("cpu", 1_000_000),),
        (Instances("cpu", 40), Instances("cuda:0", 40)),
    ],
)
def test_lines_of_a_list_are_held_to_the_same(model, groups):
    check(ServedList(1, (served(model, instances=(Instances("cpu", 2),)),)))
    with pytest.raises(InvalidError) as caught:
        check(ServedList(1, (served(model, instances=groups),)))
    assert caught.value.field == "models[0].instances"


def test_a_graph_has_no_copies(model):
    line = served(model, format=GRAPH, engine=GRAPH, instances=(Instances(),))
    with pytest.raises(InvalidError, match="is a graph: say instances of the models"):
        check(ServedList(1, (line,)))


def test_two_copies_on_the_processor_are_two_sessions(model):
    loaded = load_model(served(model, instances=parsed("cpu*2")), threads=1)
    session = loaded.session
    assert isinstance(session, Concurrent)
    assert session.lanes == 2
    assert not isinstance(session, Watchable | Elsewhere | Reusable)
    rows = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(session.infer({"x": rows})[0], 2 * rows)
    session.close()
    session.close()
    with pytest.raises(UnavailableError):
        session.infer({"x": rows})


def test_one_copy_is_the_session_itself(model):
    session = load_model(served(model, instances=parsed("cpu")), threads=1).session
    assert not isinstance(session, Concurrent)
    session.close()


def test_an_engine_without_devices_says_so(model):
    line = served(model, format="cascade", engine="cascade", instances=parsed("gpu:0"))
    with pytest.raises(InvalidError, match="cascade has no option 'device'"):
        load_model(line, threads=1)
    with pytest.raises(InvalidError, match="goes with a GPU of NVIDIA's"):
        load_model(served(model, instances=parsed("gpu:0")), threads=1)


def test_copies_take_so_many_times_the_memory(model):
    one, three = served(model), served(model, instances=parsed("cpu*2,cpu"))
    kept = Footprints()
    assert kept.expected(three).bytes == 3 * kept.expected(one).bytes
    kept.measured(one, 1 << 20)
    assert not kept.expected(three).measured


@dataclass
class Copy:
    """A session in a place of its own."""

    number: int
    gate: threading.Event | None = None
    calls: int = 0
    closed: int = 0
    apart: bool = True
    signature: object = None
    changed: object = None
    inside: threading.Event = field(default_factory=threading.Event)

    def infer(self, inputs):
        self.calls += 1
        self.inside.set()
        if self.gate is not None:
            assert self.gate.wait(20)
        return [self.number]

    def watch(self, changed):
        self.changed = changed

    def processes(self):
        return (self.number,)

    def close(self):
        self.closed += 1


def grouped(*copies):
    return instances.GroupElsewhere(copies)


def test_calls_take_the_copies_in_turn():
    group = grouped(*(Copy(n) for n in range(3)))
    assert [group.infer({})[0] for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    assert group.processes() == (0, 1, 2)


def test_a_busy_copy_is_gone_by():
    first = Copy(0, gate=threading.Event())
    group = grouped(first, Copy(1))
    thread = threading.Thread(target=group.infer, args=({},))
    thread.start()
    assert first.inside.wait(20)
    assert [group.infer({})[0] for _ in range(3)] == [1, 1, 1]
    first.gate.set()
    thread.join(20)
    assert sorted(group.infer({})[0] for _ in range(2)) == [0, 1]


def test_the_model_answers_while_one_copy_does():
    copies = [Copy(0), Copy(1)]
    group = grouped(*copies)
    heard = []
    group.watch(heard.append)
    copies[0].changed("it died")
    assert heard == []
    assert [group.infer({})[0] for _ in range(3)] == [1, 1, 1]
    copies[1].changed("this one too")
    assert heard == ["this one too"]
    with pytest.raises(UnavailableError, match="it died"):
        group.infer({})
    copies[0].changed("")
    assert heard == ["this one too", ""]
    assert [group.infer({})[0] for _ in range(2)] == [0, 0]
    copies[1].changed("")
    assert sorted(group.infer({})[0] for _ in range(2)) == [0, 1]


def test_one_that_does_not_load_leaves_none_behind():
    made = []

    def load(settings):
        if len(made) == 2:
            raise InvalidError("no third one")
        made.append(Copy(len(made)))
        return made[-1]

    with pytest.raises(InvalidError, match="no third one"):
        instances.opened(parsed("cpu*3"), (), load)
    assert [one.closed for one in made] == [1, 1]


def test_devices_become_a_setting_of_the_engine(monkeypatch):
    monkeypatch.setattr(instances, "warm_up", lambda session: 1)
    given = []

    def load(settings):
        given.append(settings)
        return Copy(len(given))

    instances.opened(parsed("cuda:1,cpu"), (("a", "b"),), load)
    assert given == [(("a", "b"), ("device", "cuda:1")), (("a", "b"),)]


@pytest.mark.real
def test_a_process_each(model):
    groups = parsed("cpu*2")
    loaded = load_model(served(model, instances=groups, isolation=Isolation.PROCESS), threads=1)
    try:
        assert len(set(loaded.session.processes())) == 2
    finally:
        loaded.session.close()
