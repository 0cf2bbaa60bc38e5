"""`modelworks optimize diverge` by real processes; other engines; a graph of 2,000 operators."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from onnx import helper

from desk import Desk
from diverging_graphs import cnn, form, operator, rows, spoilt, written
from modelworks.control.service import Factory
from modelworks.core import digest
from modelworks.core.home import Home
from modelworks.core.model import Artifact
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.optimizing.variants import Goal, Variant
from modelworks.core.seams import View
from modelworks.core.tensor import Tensors
from modelworks.optimize.data import Asked
from modelworks.optimize.diverging.child import follow, opened
from modelworks.optimize.diverging.looking import AT_ONCE, Given, Looking, Side
from modelworks.plugins.load import load
from optimize_fakes import measurement
from optimize_stand import stand

pytestmark = pytest.mark.real
BITS = {"steps": [{"name": "int8_static"}], "run": {"engine": "onnxruntime"}}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A small network, registered, with rows, a recipe and a variant that is wrong."""
    desk = Desk(tmp_path_factory.mktemp("diverging"))
    network = cnn(desk.folder / "network")
    wrong = spoilt(network, desk.folder / "wrong", operator("/layer3/Relu", "Sigmoid"))
    np.save(desk.folder / "rows.npy", rows(network, 200)["x"])
    (desk.folder / "bits.json").write_text(json.dumps(BITS))
    desk.mw("import", "network/model.onnx", "--name", "net")
    with Factory(Home(desk.folder / "home")) as factory:
        version = factory.show("net")
        files = tuple(digest.tree(wrong.folder))
        variant = Variant(
            model=version.name,
            version=str(version.version),
            name="wrong",
            recipe=wrong.recipe,
            artifact=Artifact(digest.of_entries(files), "onnx", 1, files),
            signature=version.signature,
            measurement=measurement(),
            source=measurement(),
            gates=(),
            goal=Goal(),
        )
        factory.optimizing._shelf.add_variant(variant, wrong.folder)
    return desk


def test_a_variant_is_followed_to_the_operator_that_differs(desk: Desk):
    words = ("optimize", "diverge", "net#wrong", "--rows", "rows.npy")
    done = desk.mw(*words, code=9)
    assert "net#wrong: parts first at /layer3/Relu" in done.out
    assert "in the other form it comes of /layer3/Relu (Sigmoid)" in done.out
    told = desk.mw(*words, "--json", code=9).json
    assert (told["rows"], told["looked"], told["agree"]) == (200, 64, False)
    assert told["first"]["value"] == "r3"
    assert told["others"] == []


def test_a_recipe_whose_form_agrees_and_is_held_to_more(desk: Desk):
    words = ("optimize", "diverge", "net", "--recipe", "bits.json", "--rows", "rows.npy")
    assert "they agree" in desk.mw(*words).out
    strict = desk.mw(*words, "--tolerance", "0.0001", code=9)
    assert "net: parts first at x_QuantizeLinear, where 'x' is rounded" in strict.out


def test_without_another_form_the_engines_own_optimizations_are_looked_at(desk: Desk):
    assert "they agree" in desk.mw("optimize", "diverge", "net", "--rows", "rows.npy").out
    assert "they agree" in desk.mw("optimize", "diverge", "net").out  # rows are made up


def test_recipes_that_cannot_be_made_and_rows_that_do_not_fit(desk: Desk):
    np.save(desk.folder / "odd.npy", np.zeros((50, 7), "f4"))
    words = ("optimize", "diverge", "net", "--rows", "odd.npy")
    assert "refuses the rows" in desk.mw(*words, code=4).err
    odd = BITS | {"steps": [{"name": "int8_static", "settings": {"method": "none"}}]}
    (desk.folder / "odd.json").write_text(json.dumps(odd))
    words = ("optimize", "diverge", "net", "--recipe", "odd.json", "--rows", "rows.npy")
    assert "method is 'none'" in desk.mw(*words, code=4).err
    both = ("optimize", "diverge", "net#wrong", "--recipe", "bits.json")
    assert "which is the other form?" in desk.mw(*both, code=4).err


def test_a_form_that_a_gate_refused_is_followed_in_the_time_that_there_is(tmp_path):
    source = cnn(tmp_path / "network")
    wrong = spoilt(source, tmp_path / "wrong", operator("/layer1/Relu", "Softplus"))
    np.save(tmp_path / "rows.npy", rows(source, 100)["x"])
    asked = Asked(evaluation=tmp_path / "rows.npy")
    given = (source.folder, source.signature, asked, Goal(), tmp_path / "stand", ("onnx_clean",))
    with stand(*given) as (bench, _):
        assert bench.parts(wrong, 60.0).startswith("parts first at /layer1/Relu: ")
        assert bench.parts(wrong, 0.01) == ""  # there was no time
        assert bench.parts(replace(wrong, format="trees"), 60.0) == ""
        assert bench.parts(replace(wrong, folder=tmp_path), 60.0) == ""  # no form at all


def quiet(_):
    """Nobody listens."""


def followed(views, given, tolerance=0.0):
    sides = [Side(view, served=True) for view in views]
    return follow(Looking(Given(given, 0), quiet), sides, tolerance)


def converted(source, into, step, format_, **settings):
    """A form by one pass."""
    into.mkdir()
    made = load("passes", step)()
    np.savez(into.parent / "calibration.npz", **rows(source, 64, seed=9))
    job = PassJob(
        source.folder,
        source.format,
        into,
        source.signature,
        settled(made.facts, settings),
        calibration=into.parent / "calibration.npz",
    )
    made.apply(job)
    return form(into, source.signature, format_)


@pytest.mark.parametrize(
    ("steps", "format_"),
    [
        (("openvino",), "openvino-ir"),
        (("nncf_int8",), "openvino-ir"),
        (("litert",), "tflite"),
        (("litert", "litert_int8_static"), "tflite"),
    ],
)
def test_forms_of_other_engines_are_followed_by_the_names_that_they_keep(tmp_path, steps, format_):
    source = cnn(tmp_path / "a")
    wrong = spoilt(source, tmp_path / "b", operator("/layer2/Relu", "Sigmoid"))
    views = [opened(source, 1)]
    for network, name in ((source, "good"), (wrong, "wrong")):
        made = network
        for step in steps:
            made = converted(made, tmp_path / f"{name}-{step}", step, format_)
        views.append(opened(made, 1))
    good = followed([views[0], views[1]], rows(source))
    assert good.agree, good.summary
    found = followed([views[0], views[2]], rows(source))
    assert found.first is not None, found
    assert (found.first.value, found.first.operator) == ("r2", "/layer2/Relu"), found.summary
    assert found.compared >= 4


@dataclass
class Counting:
    """A view that counts what is asked of it."""

    view: View
    asked: list[int] = field(default_factory=list)

    @property
    def inside(self) -> Any:
        return self.view.inside

    def watch(self, names: Any, *, served: bool) -> Callable[[Tensors], dict[str, Any]]:
        self.asked.append(len(names))
        return self.view.watch(names, served=served)


def test_two_thousand_operators_stay_within_bounds(tmp_path):
    """All values of all rows at once would be 128 MiB."""
    nodes, before = [], "x"
    for place in range(1000):
        nodes += [
            helper.make_node("Add", [before, "shift"], [f"a{place}"], f"/{place}/Add"),
            helper.make_node("Tanh", [f"a{place}"], [f"t{place}"], f"/{place}/Tanh"),
        ]
        before = f"t{place}"
    nodes += [
        helper.make_node("ReduceMean", [before], ["m"], "/mean", axes=[2], keepdims=0),
        helper.make_node("Mul", ["m", "scale"], ["y"], "/end"),
    ]
    wide = 4096
    constants = {"shift": np.full((1, wide), 1e-4, "f4"), "scale": np.float32(10)}
    source = written(tmp_path / "a", nodes, constants, (1, wide), (1,))
    other = spoilt(source, tmp_path / "b", operator("/700/Tanh", "Sigmoid"))
    views = [Counting(opened(one, 1)) for one in (source, other)]
    given = {"x": np.random.default_rng(0).normal(size=(4, 1, wide)).astype("f4")}
    tracemalloc.start()
    found = followed(views, given)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.first.value, found.first.operator) == ("t700", "/700/Tanh")
    assert 2002 <= found.compared <= 2004  # the two that differ may be meant by their names
    assert max(views[0].asked) <= AT_ONCE
    assert peak < 96 << 20
