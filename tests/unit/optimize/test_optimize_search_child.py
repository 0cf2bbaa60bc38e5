"""What runs beside the search: passes in their child, distances of answers; without a process."""

from pathlib import Path

import numpy as np
import pytest

from modelworks.core import codec
from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.optimizing.passes import Applied, PassJob, Setting
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize import asking, child
from modelworks.optimize.workbench import _far
from optimize_fakes import SIGNATURE, facts


class Step:
    """A pass that notes what it was given."""

    facts = facts("a", settings=(Setting("much", 1, "how much"), Setting("of", ("x",), "what")))
    unfit = ""
    given: PassJob | None = None

    def fits(self, job: PassJob) -> str:
        return self.unfit

    def apply(self, job: PassJob) -> Applied:
        type(self).given = job
        return Applied("onnx", ("x",))


class Slow(Step):
    """It knows how long it takes."""

    def seconds(self, job: PassJob) -> float:
        return 60.0


def order(tmp_path: Path, seconds: float = 10.0, **settings) -> dict:
    job = PassJob(tmp_path, "onnx", tmp_path, SIGNATURE, settings, keep=("y",))
    return {"pass": "a", "job": codec.encode(job), "seconds": seconds}


def put(monkeypatch: pytest.MonkeyPatch, kind: type) -> list[str]:
    monkeypatch.setattr(child, "load", lambda group, name: kind)
    return []


def test_a_pass_gets_its_settings_whole(monkeypatch, tmp_path):
    said = put(monkeypatch, Step)
    told = child.apply(order(tmp_path, of=["z"]), said.append)
    assert codec.decode(Applied, told["applied"]).operators == ("x",)
    assert said == ["a"]
    assert Step.given.settings == {"much": 1, "of": ("z",)}
    assert Step.given.keep == ("y",)


def test_a_setting_that_cannot_be_is_refused(monkeypatch, tmp_path):
    put(monkeypatch, Step)
    with pytest.raises(InvalidError, match="much"):
        child.apply(order(tmp_path, much="more"), lambda _: None)


def test_who_does_not_fit_or_takes_too_long_is_not_applied(monkeypatch, tmp_path):
    put(monkeypatch, type("Unfit", (Step,), {"unfit": "no convolution"}))
    assert child.apply(order(tmp_path), lambda _: None) == {"unfit": "no convolution"}
    put(monkeypatch, Slow)
    assert child.apply(order(tmp_path), lambda _: None) == {"late": 60.0}
    assert "applied" in child.apply(order(tmp_path, seconds=90.0), lambda _: None)


def test_facts_of_all_but_those_that_cannot_be_loaded(monkeypatch):
    def load(group: str, name: str) -> type:
        if name == "gone":
            raise MissingExtraError("passe 'gone'", "gone", "nncf")
        if name == "odd":
            raise RuntimeError("two\nlines" + "x" * 1000)
        return Step

    monkeypatch.setattr(child, "load", load)
    said: list[str] = []
    told = child.facts({"names": ["a", "gone", "odd"]}, said.append)
    assert set(told["facts"]) == {"a"}
    assert told["missing"] == {"gone": "nncf"}
    assert len(told["broken"]["odd"]) == 300
    assert said == ["a", "gone", "odd"]


@pytest.mark.parametrize(
    ("own", "got", "wanted"),
    [
        ([0.0, 2.0], [0.0, 2.0], 0.0),
        ([0.0, 2.0], [1.0, 3.0], 1.0),  # one standard deviation
        ([0.0, np.nan, 2.0], [0.0, np.nan, 2.0], 0.0),
        ([5.0, 5.0], [5.0, 6.0], 0.5),
        ([1, 2, 3, 4], [1, 2, 3, 5], 0.25),
    ],
)
def test_how_far_answers_are_apart(own, got, wanted):
    assert _far(np.array(own), np.array(got)) == pytest.approx(wanted)


def test_answers_of_another_shape_or_without_a_number_are_as_far_as_can_be():
    assert _far(np.zeros(2), np.zeros(3)) == np.inf
    assert not _far(np.array([0.0, 2.0]), np.array([0.0, np.nan])) < 1e9


class Doubling:
    """A session without a model."""

    def infer(self, inputs: dict) -> list:
        return [2 * inputs["x"]]


def test_answers_come_in_order_and_take_only_so_much_memory():
    wide = TensorSpec("y", Datatype.FP64, (None, 4))
    signature = Signature((TensorSpec("x", Datatype.FP64, (None, 4)),), (wide,))
    x = np.arange(40.0).reshape(10, 4)
    parts = [slice(0, 1), slice(1, 8), slice(8, 10)]
    found = asking.asked(Doubling(), signature, {"x": x}, parts, most=320)
    np.testing.assert_array_equal(found["y"], 2 * x)
    with pytest.raises(InvalidError, match="the answers to 10 rows take more than") as caught:
        asking.asked(Doubling(), signature, {"x": x}, parts, most=319)
    assert caught.value.field == "eval"
