"""Real networks: a layer that ruins int8 goes back to float, forms join by rows, nothing helps."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from desk import Desk
from modelworks.core.optimizing.variants import Ending, Goal, Objective
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize import planning
from modelworks.optimize.data import Asked
from modelworks.plugins.load import load
from modelworks.plugins.opening import open_model
from modelworks.testing import onnx_models
from optimize_stand import search_over, stand

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
RUINED = 2  # the layer whose weights no eight bits can hold


def dense(folder, widths, seed=0, ruined=None):
    """`x [rows, widths[0]]` -> `y`: matrices `layer0`, `layer1`..., with a relu between them.

    The ruined layer has one weight in every column that is 100,000 times the others, behind a unit
    that never fires: in float it changes nothing, and in eight bits all the others become zero.
    """
    folder.mkdir()
    numbers = np.random.default_rng(seed)
    nodes, stored, last = [], {}, "x"
    count = len(widths) - 1
    for place in range(count):
        into, out = widths[place : place + 2]
        weights = numbers.normal(0, (2 / into) ** 0.5, (into, out)).astype(np.float32)
        bias = numbers.normal(0, 0.1, out).astype(np.float32)
        if ruined is not None and place == ruined - 1:
            weights[:, 0], bias[0] = 0, -1
        if place == ruined:
            weights[0, :] = 1e4
        stored |= {f"w{place}": weights, f"b{place}": bias}
        end = "y" if place == count - 1 else f"h{place}"
        given = [last, f"w{place}", f"b{place}"]
        nodes.append(helper.make_node("Gemm", given, [end], f"layer{place}"))
        if end != "y":
            nodes.append(helper.make_node("Relu", [end], [f"r{place}"], f"relu{place}"))
        last = f"r{place}"
    ends = [
        onnx_models.info(name, Datatype.FP32, (None, width))
        for name, width in (("x", widths[0]), ("y", widths[-1]))
    ]
    kept = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return Signature(
        (TensorSpec("x", Datatype.FP32, (None, widths[0])),),
        (TensorSpec("y", Datatype.FP32, (None, widths[-1])),),
    )


def rows(folder, width, count=400):
    """Files for passes and for gates."""
    numbers = np.random.default_rng(5)
    for name in ("calibration", "evaluation"):
        x = numbers.standard_normal((count, width)).astype(np.float32)
        np.savez(folder / f"{name}.npz", x=x)
    return Asked(folder / "calibration.npz", folder / "evaluation.npz")


def test_the_layer_that_ruins_int8_is_found_and_goes_back_to_float(tmp_path):
    signature = dense(tmp_path / "form", (64, 256, 256, 256, 10), ruined=RUINED)
    # By size, so that no clock decides what is looked into; the gates are those of every goal.
    goal = Goal(objective=Objective.SIZE, batches=(1,), budget_s=120.0)
    asked = rows(tmp_path, 64)
    with stand(tmp_path / "form", signature, asked, goal, tmp_path / "stand", ("int8_static",)) as (
        bench,
        ground,
    ):
        search = search_over(bench, ground, tmp_path, 120.0)
        search._source()
        search._trying.all(planning.singles(ground), "pass")
        search._blame()
    whole, *mixed = search._tried.all
    assert whole.ending is Ending.REFUSED, whole.why
    assert not whole.recipe.steps[-1].keep
    assert "cosine" in whole.why
    [mended] = [one for one in mixed if one.ending is Ending.KEPT]
    assert mended.recipe.steps[-1].keep == (f"layer{RUINED}",)
    assert mended.measured.size_bytes < search._trying.source.size_bytes / 1.3
    cosine = next(gate for gate in mended.gates if gate.name == "cosine")
    assert cosine.value > 0.99


def test_forms_that_are_best_at_few_and_at_many_rows_are_joined_and_answer_as_each(tmp_path):
    signature = dense(tmp_path / "form", (64, 2048, 1024, 16))
    goal = Goal(batches=(1, 256), budget_s=60.0, gain=1.05)
    asked = rows(tmp_path, 64, 600)
    with stand(
        tmp_path / "form", signature, asked, goal, tmp_path / "stand", ("weights_int8",)
    ) as (bench, ground):
        search = search_over(bench, ground, tmp_path, 60.0)
        source = search._source()
        search._trying.all(planning.singles(ground), "pass")
        [few] = search._tried.of(Ending.KEPT)  # it reads a quarter of the bytes of its weights
        search._finals.run(source, search._own)
        [joined] = [one for one in search._tried.of(Ending.KEPT) if one.recipe.parts]
        form = bench.make(joined.recipe, float("inf"), lambda _line: None)
        parts = [bench.make(one, float("inf"), lambda _line: None) for one in joined.recipe.parts]
        assert joined.recipe.rows == (16, 0)
        assert [len(one.recipe.steps) for one in parts] == [1, 0]
        assert joined.recipe.parts[0] == few.recipe
        x = np.load(asked.evaluation)["x"]
        told = [answers(one, signature, x) for one in (form, *parts)]
    whole, *each = told
    for size, answered in whole.items():
        of = each[0] if size <= 16 else each[1]
        np.testing.assert_array_equal(answered, of[size])
    assert np.abs(each[0][256] - each[1][256]).max() > 0  # so it could be told which one answered


def answers(form, signature, x, sizes=(1, 2, 16, 17, 256)):
    """What a server answers to calls of so many rows."""
    options = EngineOptions(extra=form.recipe.run.options, signature=signature)
    session = open_model(load("engines", form.recipe.run.engine)(), form.folder, options)
    try:
        return {size: session.infer({"x": x[:size]})[0].copy() for size in sizes}
    finally:
        session.close()


def test_where_nothing_helps_it_says_so_and_changes_nothing(tmp_path):
    desk = Desk(tmp_path)
    dense(tmp_path / "form", (4, 3))
    rows(tmp_path, 4, 200)
    desk.mw("import", "form/model.onnx", "--name", "line")
    before = desk.mw("show", "line", "--json").json
    passes = "onnx_clean,int8_static,int8_dynamic"
    given = ("--eval", "evaluation.npz", "--passes", passes, "--budget", "60s")
    done = desk.mw("optimize", "line", *given)
    assert "leave it as it is: nothing that was tried is better" in done.out
    assert "front:" not in done.err
    assert desk.mw("variants", "line", "--json").json == []
    after = desk.mw("show", "line", "--json").json
    assert after["artifact"] == before["artifact"]
    told = desk.mw("optimize", "report", "line", "--json").json
    assert {one["ending"] for one in told["findings"]} <= {"slower", "pruned", "failed"}
