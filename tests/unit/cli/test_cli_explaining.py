"""explain, fairness, robustness and forward as they are typed."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelworks.cli.commands.serve import _explained
from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.core.errors import InvalidError
from modelworks.core.model import Lineage
from modelworks.core.served import ServedList, ServedModel, read_served, write_served
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.registry.publish import Publication

WEIGHTS = (2.0, -1.0, 0.0)
SIGNATURE = Signature(
    inputs=(TensorSpec("x", Datatype.FP32, (None, 3)),),
    outputs=(TensorSpec("y", Datatype.FP32, (None, 1), Role.SCORE),),
    layout=Layout.MATRIX,
    features=("age", "income", "shoe"),
)


@pytest.fixture
def house(home, tmp_path):
    """A registered linear model."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    node = helper.make_node(
        "LinearRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        coefficients=list(WEIGHTS),
        intercepts=[0.5],
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(model, folder / "model.onnx")
    lineage = Lineage(source_format="onnx", source_name="m.onnx")
    with Factory(home, actor="ana") as factory:
        factory.publish(Publication("house", folder, "onnx", SIGNATURE, lineage, ()))
    return home


def table(path, rows, head="age,income,shoe"):
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    return {
        name: table(tmp_path / f"{name}.csv", (rng.normal(size=(40, 3)) * [size, 1, 1]).round(3))
        for name, size in (("now", 3.0), ("before", 1.0))
    }


def test_a_linear_model_is_explained_in_closed_form(type_, house, rows):
    found = type_(
        "explain", "house", "--csv", rows["now"], "--background", rows["before"], "--json"
    )
    assert found.code == Exit.OK
    told = found.json
    given, back = (np.loadtxt(rows[n], delimiter=",", skiprows=1) for n in ("now", "before"))
    assert told["explainer"] == "linear"
    assert told["features"] == ["age", "income", "shoe"]
    expected = np.array(WEIGHTS) * (given - back.mean(axis=0))
    assert np.array(told["values"])[..., 0] == pytest.approx(expected, abs=1e-5)
    assert told["errors"] is None
    assert [one["feature"] for one in told["importance"]] == ["age", "income", "shoe"]


def test_what_was_explained_is_known_the_next_time(type_, house, rows):
    words = ("explain", "house", "--csv", rows["now"], "--explainer", "permutation", "--json")
    first, second = type_(*words).json, type_(*words).json
    assert (first["known"], second["known"]) == (0, 40)
    assert second["calls"] == 0
    assert second["values"] == first["values"]
    other = type_(*words, "--seed", "1").json
    assert other["known"] == 0


def test_what_changed_between_two_windows(type_, house, rows, tmp_path):
    page = tmp_path / "why.html"
    found = type_(
        *("explain", "house", "--csv", rows["now"], "--against", rows["before"]),
        *("--background", rows["before"], "--html", str(page)),
    )
    assert found.code == Exit.OK
    assert "what did most" in found.out.lower()
    lines = [line.split() for line in found.out.splitlines()]
    changed = next(i for i, line in enumerate(lines) if line[-1:] == ["CLEAR"])
    assert lines[changed + 1][0] == "age"
    assert lines[changed + 1][-1] == "yes"
    assert lines[changed + 2][-1] == "no"
    assert "explainer linear (exact)" in found.err
    assert "<h1>Why house answers so</h1>" in page.read_text()


def test_explain_refuses_what_cannot_be(type_, house, rows, tmp_path):
    wrong = table(tmp_path / "wrong.csv", [[1, 2]], "age,income")
    assert type_("explain", "house", "--csv", wrong).code == Exit.INVALID
    assert type_("explain", "nobody", "--csv", rows["now"]).code == Exit.NOT_FOUND
    found = type_("explain", "house", "--csv", rows["now"], "--explainer", "magic")
    assert found.code == Exit.INVALID
    assert "auto, linear, permutation, trees" in found.err
    found = type_("explain", "house", "--csv", rows["now"], "--explainer", "trees")
    assert found.code == Exit.INVALID
    assert "0 nodes of TreeEnsembleClassifier" in found.err


def decisions(path, shares, count=500):
    rows = []
    for group, share in shares.items():
        yes = round(share * count)
        rows += [[group, 1, 1]] * yes + [[group, 0, 1]] * (count - yes)
    return table(path, rows, "sex,yhat,y")


@pytest.mark.parametrize(
    ("shares", "code", "says"),
    [
        ({"f": 0.50, "m": 0.51}, Exit.OK, "passed"),
        ({"f": 0.30, "m": 0.60}, Exit.GATE, "failed"),
        ({"f": 0.40, "m": 0.49}, Exit.GATE, "inconclusive"),
    ],
)
def test_a_gate_of_fairness_passes_fails_or_cannot_tell(type_, tmp_path, shares, code, says):
    path = decisions(tmp_path / "f.csv", shares)
    words = ("fairness", "--predictions", path, "--group", "sex", "--label", "yhat")
    found = type_(*words, "--gate", "demographic_parity=0.1")
    assert found.code == code
    assert f"demographic_parity 0.1: {says} (" in found.out
    gate = type_(*words, "--gate", "demographic_parity=0.1", "--json").json["gates"][0]
    assert gate["decision"] == says
    loose = type_(*words, "--gate", "demographic_parity=0.1", "--allow-inconclusive")
    assert loose.code == (Exit.GATE if says == "failed" else Exit.OK)


def test_fairness_says_which_column_is_wrong(type_, tmp_path):
    path = decisions(tmp_path / "f.csv", {"f": 0.5, "m": 0.5})
    words = ("fairness", "--predictions", path, "--group")
    for rest, says in (
        (("age", "--label", "yhat"), "no column 'age'"),
        (("sex", "--label", "yhat", "--gate", "max_gap"), "MEASURE=LIMIT"),
        (("sex", "--label", "yhat", "--gate", "calibration=0.1"), "needs the truth"),
        (("sex", "--score", "sex"), "no numbers"),
        (("sex", "--label", "yhat", "--positive", "7"), "no class '7'"),
    ):
        found = type_(*words, *rest)
        assert found.code == Exit.INVALID
        assert says in found.err
    assert type_(*words, "sex").code == Exit.USAGE


def test_robustness_of_a_registered_model(type_, house, tmp_path):
    rng = np.random.default_rng(1)
    given = rng.normal(size=(60, 3)).round(3)
    truth = (given @ np.array(WEIGHTS) + 0.5).round(4)
    path = table(tmp_path / "t.csv", np.column_stack([given, truth]), "age,income,shoe,y")
    words = ("robustness", "house", "--csv", path, "--truth", "y", "--kinds", "scale")
    told = type_(*words, "--json").json
    moved = {(s["column"], s["intensity"]): s["moved"]["value"] for s in told["shaken"]}
    assert moved["shoe", 1000.0] == 0
    assert moved["age", 1000.0] == pytest.approx(2 * 999 * np.abs(given[:, 0]).mean(), rel=1e-4)
    assert told["quality"]["value"] == pytest.approx(0, abs=1e-4)
    found = type_(*words)
    assert found.code == Exit.OK
    assert "scale 1000 age" in found.out
    assert type_(*words[:-1], "fire").code == Exit.INVALID
    assert type_("robustness", "house", "--csv", path, "--truth", "z").code == Exit.INVALID


def test_forward_needs_a_receiver_that_is_one(type_, home):
    found = type_("records", "forward", "--to", "ftp://h/x", "--once")
    assert found.code == Exit.INVALID
    assert "nats://HOST:PORT/SUBJECT" in found.err
    found = type_("records", "forward", "--to", "https://h/x", "--set", "loud", "--once")
    assert found.code == Exit.INVALID
    found = type_("records", "forward", "--to", "http://127.0.0.1:9/x", "--once", "--json")
    assert json.loads(found.out) == {"sent": 0, "sent_ever": 0, "dropped": 0}


def test_serve_takes_a_background_that_fits_its_one_model(type_, home, tmp_path, rows):
    listed, known = tmp_path / "served.json", tmp_path / "known"
    model = ServedModel("house", "1.0.0", "/x", "sha256:0", signature=SIGNATURE)
    write_served(listed, ServedList(1, (model,)))
    _explained(listed, Path(rows["before"]), known)
    assert read_served(listed).models[0].background == str(known)
    assert len(json.loads(known.read_text())["rows"]) == 40
    with pytest.raises(InvalidError, match="income"):
        _explained(listed, Path(table(tmp_path / "w.csv", [[1, 2]], "age,shoe")), known)
    assert type_("serve", "a", "b", "--background", rows["now"]).code == Exit.USAGE
