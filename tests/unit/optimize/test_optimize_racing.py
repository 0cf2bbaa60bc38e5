"""Forms in turn: ratios within rounds, their noise, and what is said of those that do not run."""

import time

import numpy as np
import pytest

from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.variants import Goal, Measurement
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize import arrays, cores, racing, timing
from modelworks.optimize.forms import Form, Rows
from modelworks.optimize.hardware import this_machine
from modelworks.optimize.trying import LATE

pytestmark = pytest.mark.unit
ROWS = {"x": np.arange(10, dtype=np.float32)[:, None]}


class Spinning:
    """A session that adds up so many numbers."""

    apart = False
    signature = None

    def __init__(self, work):
        self.work, self.calls = work, 0

    def infer(self, inputs):
        self.calls += 1
        return [sum(range(self.work)), inputs]

    def close(self):
        pass


class Failing(Spinning):
    def infer(self, inputs):
        raise InvalidError("the model refuses this input")


def test_a_form_of_a_third_of_the_work_is_faster():
    sessions = [Spinning(60_000), Spinning(20_000)]
    found, rounds = racing.race(sessions, racing.taken(ROWS, 4), 0.3, 0)
    assert rounds >= 5
    source, form = found
    told = racing.figures(source, form, 4)
    assert told["ratio"] > 1.5  # a third of the work, in the same rounds
    assert told["low"] <= told["ratio"] <= told["high"]
    assert len(source.cpu) == 2 * rounds  # twice a round: against itself
    assert len(form.cpu) == rounds
    own = racing.figures(source, source, 4)
    assert own["ratio"] == own["low"] == own["high"] == 1
    assert told["calls"] == len(form.walls)
    assert racing.noise_of(source).ratio > 0


def test_a_form_that_does_not_run_is_told_and_the_others_go_on():
    found, _ = racing.race([Spinning(100), Failing(1), None, Spinning(100)], [ROWS], 0.05, 0)
    assert found[1] == "the model refuses this input"
    assert found[2] == "not loaded"
    assert isinstance(found[3], racing.Runner)


def test_a_source_form_that_does_not_run_is_an_error():
    with pytest.raises(InvalidError, match="the source form does not run"):
        racing.race([Failing(1)], [ROWS], 0.05, 0)


def test_the_time_ends_it_even_before_the_fewest_rounds():
    class Slow(Spinning):
        def infer(self, inputs):
            time.sleep(0.02)
            return []

    _, rounds = racing.race([Slow(1), Slow(1)], [ROWS], 0.01, 0)
    assert rounds == racing.LEAST_ROUNDS


def test_calls_that_take_too_long_tell_nothing(monkeypatch):
    monkeypatch.setattr(racing, "_PATIENCE_S", 0.0)

    class Slow(Spinning):
        def infer(self, inputs):
            time.sleep(0.01)
            return []

    with pytest.raises(InvalidError, match="the time was over after 0 rounds") as caught:
        racing.race([Slow(1)], [ROWS], 0.001, 0)
    assert caught.value.message.startswith(LATE)  # more time tries it again


def test_rows_come_again_where_a_call_has_more_than_there_are():
    calls = racing.taken(ROWS, 4)
    assert [call["x"][:, 0].tolist() for call in calls] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    (large,) = racing.taken(ROWS, 25)
    assert large["x"].shape == (25, 1)
    assert large["x"][:, 0].tolist()[9:12] == [9, 0, 1]


CPUINFO = """processor\t: 0
model name\t: Some Processor @ 2 GHz
flags\t\t: fpu avx2 fma avx512f avx512_vnni

processor\t: 1
model name\t: Some Processor @ 2 GHz
flags\t\t: fpu
"""


def test_the_class_of_hardware_is_what_decides_which_form_is_fastest(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(CPUINFO)
    found = this_machine(tmp_path)
    assert found.processor == "Some Processor @ 2 GHz"
    assert found.features == ("avx2", "avx512_vnni", "avx512f", "fma")
    assert found.kind.endswith(" avx512_vnni")
    nowhere = this_machine(tmp_path / "nowhere")
    assert nowhere.features == ()
    assert nowhere.kind == nowhere.kind.strip()


def test_the_core_that_is_idle_most_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: {0, 1, 2})
    (tmp_path / "proc").mkdir()
    stat = tmp_path / "proc/stat"

    def write(*idle):
        stat.write_text("".join(f"cpu{n} 5 0 5 {ticks} 0 0\n" for n, ticks in enumerate(idle)))

    write(100, 100, 100)
    monkeypatch.setattr(cores.time, "sleep", lambda _: write(101, 109, 104))
    assert cores.idlest(tmp_path) == 1
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: {0})
    assert cores.idlest(tmp_path) is None


def test_forms_that_do_not_bear_each_other_have_a_process_each(tmp_path, monkeypatch):
    asked = []

    def child(function, arguments, into, **_):
        if function.endswith(":weigh"):
            return {"load_s": 0.1, "memory_bytes": 5}
        names = [form["recipe"]["run"]["engine"] for form in arguments["forms"]]
        asked.append(names)
        if len(names) > 2 or "worst" in names:
            raise CrashedError("the job died of SIGSEGV")
        time_ = {"rows": 1, "ratio": 1.0, "low": 1.0, "high": 1.0, "p99_us": 1.0, "calls": 9}
        time_ |= {"cpu_us": [1.0, 1.0, 1.0], "wall_us": [1.0, 1.0, 1.0]}
        told = {"times": [time_], "noise": 0.0, "energy": None, "notes": []}
        return {"forms": [told] * len(names), "rounds": {"1": 7}}

    monkeypatch.setattr(timing, "in_child", child)
    arrays.save(tmp_path / "rows.npz", ROWS)
    signature = Signature((TensorSpec("x", Datatype.FP32, (None, 1)),), ())
    source, good, bad = (
        Form(Recipe(run=Execution(name)), tmp_path, "onnx", signature)
        for name in ("own", "good", "worst")
    )
    found = timing.timed(source, [good, bad], Rows(tmp_path / "rows.npz", 10), Goal(), tmp_path)
    assert asked == [["own", "good", "worst"], ["own"], ["own", "good"], ["own", "worst"]]
    assert isinstance(found.forms[0], Measurement)
    assert found.forms[1] == "the job died of SIGSEGV"
    with pytest.raises(CrashedError):
        timing.timed(bad, [], Rows(tmp_path / "rows.npz", 10), Goal(), tmp_path)
