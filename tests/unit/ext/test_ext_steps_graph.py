"""Steps in an ONNX graph against steps in NumPy, in every place that a graph can have them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelworks.core import codec
from modelworks.core.outer import plan
from modelworks.core.seams import EngineOptions
from modelworks.core.stepped import read_stepped
from modelworks.core.steps import StepsFile
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.evaluation.stepwise import reference
from modelworks.plugins.load import load
from modelworks.plugins.opening import open_model
from modelworks.protocol.checks import checks_of
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit

SCALES = [
    {"mean": 3.25, "std": 0.7},
    {"kind": "minmax", "min": -1.0, "max": 5.0, "range": [-1.0, 1.0], "clip": True},
    {"kind": "robust", "median": 100.0, "iqr": 30.0},
]


def steps(*items):
    return codec.decode(StepsFile, {"inputs": list(items)}).inputs


def spec(name, datatype, shape, **told):
    return TensorSpec(name, Datatype(datatype), shape, **told)


def composed(folder, model, items, kind="onnx"):
    planned = plan(model, steps(*items))
    load("steps", "graph")().compose(planned, model, folder, kind)
    engine = load("engines", "onnxruntime")()
    return planned, open_model(engine, folder, EngineOptions(signature=planned.outer))


def same(folder, model, items, inputs, kind="onnx"):
    """The model is the identity of its inputs: what comes out are the steps alone."""
    planned, session = composed(folder, model, items, kind)
    try:
        found = session.infer(inputs)
    finally:
        session.close()
    made = reference(planned, inputs)
    for place, one in enumerate(model.inputs):
        np.testing.assert_array_equal(found[place], made[one.name], strict=True)
    return planned, found


def identities(path, opset=17, **kinds):
    """`out_NAME = NAME`, and the signature of it."""
    nodes = [helper.make_node("Identity", [name], [f"out_{name}"]) for name in kinds]
    inputs = [models.info(n, Datatype(k), s) for n, (k, s) in kinds.items()]
    outputs = [models.info(f"out_{n}", Datatype(k), s) for n, (k, s) in kinds.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    ins = tuple(spec(n, k, s) for n, (k, s) in kinds.items())
    outs = tuple(spec(f"out_{n}", k, s) for n, (k, s) in kinds.items())
    columns = all(s == (None, 1) for _, s in kinds.values())
    layout = Layout.COLUMNS if columns else Layout.TENSORS
    if len(kinds) == 1 and not columns:
        layout = Layout.MATRIX
    return Signature(ins, outs, layout)


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_a_matrix(tmp_path, datatype, opset):
    model = identities(tmp_path / "model.onnx", opset, x=(datatype, (None, 4)))
    random = np.random.default_rng(0)
    x = random.normal(3, 50, (64, 4))
    x[random.random(x.shape) < 0.3] = np.nan
    items = [{"name": f"f{i}", "scale": s} for i, s in enumerate(SCALES)]
    items[1]["impute"] = {"value": 0.1}
    planned, _ = same(tmp_path, model, [*items, {"name": "f3"}], {"x": x})
    assert planned.outer.features == ("f0", "f1", "f2", "f3")
    assert read_stepped(tmp_path).front == (opset < 13)  # operators too old: a graph of its own


@pytest.mark.parametrize("kind", ["onnx", "elsewhere"])
def test_columns_of_a_matrix(tmp_path, kind):
    model = identities(tmp_path / "model.onnx", x=("FP32", (None, 7)))
    items = [
        {"name": "age", "impute": {"value": 40.0}, "scale": SCALES[0]},
        {"name": "n", "datatype": "INT32"},
        {"name": "city", "impute": {"value": "R"}, "one_hot": {"categories": ["P", "R", "é"]}},
        {"name": "level", "one_hot": {"categories": [1, 2, 3], "unknown": "ignore", "drop": 1}},
    ]
    inputs = {
        "age": np.array([[1.5], [np.nan], [3.0]]),
        "n": np.array([[1], [2], [3]], np.int32),
        "city": np.array([["é".encode()], [b""], [b"P"]], object),
        "level": np.array([[2], [1], [9]]),
    }
    planned, found = same(tmp_path, model, items, inputs, kind)
    np.testing.assert_array_equal(
        found[0][:, 2:], [[0, 0, 1, 1, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    )
    assert [s.datatype for s in planned.outer.inputs] == ["FP64", "INT32", "BYTES", "INT64"]


def test_named_columns_and_text(tmp_path):
    kinds = {"age": ("FP32", (None, 1)), "city": ("BYTES", (None, 1)), "n": ("INT64", (None, 1))}
    model = identities(tmp_path / "model.onnx", **kinds)
    items = [
        {"name": "city", "impute": {"value": "Rome", "strategy": "most_frequent"}},
        {"name": "n", "impute": {"value": 7}},
    ]
    inputs = {
        "city": np.array([[b""], [b"Oslo"]], object),
        "n": np.array([[np.nan], [3.0]]),
        "age": np.array([[1.0], [2.0]], np.float32),
    }
    planned, found = same(tmp_path, model, items, inputs)
    assert found[1].tolist() == [[b"Rome"], [b"Oslo"]]
    assert found[2].tolist() == [[7], [3]]
    assert planned.outer.features == ("city", "n", "age")
    assert read_stepped(tmp_path).front  # comparing texts wants newer operators than 17


def test_a_category_feeds_an_input_each(tmp_path):
    kinds = {"c_a": ("FP32", (None, 1)), "c_b": ("FP64", (None, 1)), "z": ("FP32", (None, 1))}
    model = identities(tmp_path / "model.onnx", **kinds)
    inputs = {"c": np.array([[b"b"], [b"?"]], object), "z": np.zeros((2, 1), np.float32)}
    items = [{"name": "c", "one_hot": {"categories": ["a", "b"], "unknown": "ignore"}}]
    same(tmp_path, model, items, inputs)


def test_every_element_of_a_tensor(tmp_path):
    kinds = {"x": ("FP32", (None, 2, 3)), "y": ("FP32", (None,))}
    model = identities(tmp_path / "model.onnx", **kinds)
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    x[0, 0, 0] = np.nan
    items = [{"name": "x", "impute": {"value": 2.0}, "scale": SCALES[1]}]
    same(tmp_path, model, items, {"x": x, "y": np.zeros(4, np.float32)})


def test_an_inner_graph_reads_the_steps_too(tmp_path):
    """A branch that captures the input from outside must see it scaled."""
    then = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["t"])],
        "t",
        [],
        [models.info("t", Datatype.FP32, (None, 2))],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["e"])],
        "e",
        [],
        [models.info("e", Datatype.FP32, (None, 2))],
    )
    node = helper.make_node("If", ["on"], ["y"], then_branch=then, else_branch=other)
    x, y = (models.info(n, Datatype.FP32, (None, 2)) for n in "xy")
    models.write(tmp_path / "model.onnx", [node], [x], [y], {"on": np.array(True)})
    shape = (None, 2)
    model = Signature((spec("x", "FP32", shape),), (spec("y", "FP32", shape),), Layout.MATRIX)
    items = [{"name": "a", "scale": {"mean": 1, "std": 2}}, {"name": "b"}]
    _, session = composed(tmp_path, model, items)
    for found in session.infer({"x": np.array([[3.0, 5.0]])}):
        assert found.tolist() == [[1.0, 5.0]]
    session.close()


def test_names_that_the_graph_has_already_are_not_in_the_way(tmp_path):
    """Callers' columns may be called as the model's own tensors are: then a graph goes before."""
    nodes = [helper.make_node("Neg", ["x"], ["age"]), helper.make_node("Neg", ["age"], ["y"])]
    x, y = (models.info(n, Datatype.FP32, (None, 2)) for n in "xy")
    models.write(tmp_path / "model.onnx", nodes, [x], [y])
    one = spec("x", "FP32", (None, 2))
    model = Signature((one,), (spec("y", "FP32", (None, 2)),), Layout.MATRIX)
    items = [{"name": "age", "datatype": "FP64", "scale": SCALES[0]}, {"name": "b"}]
    inputs = {"age": np.array([[3.0]]), "b": np.array([[1.0]], np.float32)}
    same(tmp_path, model, items, inputs)
    assert read_stepped(tmp_path).front


def test_what_was_composed_is_whole_onnx(tmp_path):
    model = identities(tmp_path / "model.onnx", x=("FP32", (None, 2)))
    composed(tmp_path, model, [{"name": "a", "scale": SCALES[0]}, {"name": "b"}])[1].close()
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [i.name for i in graph.input] == ["x"]
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.DOUBLE


def refused(signature, inputs):
    from modelworks.core.errors import InvalidError

    with pytest.raises(InvalidError) as caught:
        checks_of(signature).check(inputs)
    return caught.value.field, caught.value.message


def test_rules_before_anything_is_queued(tmp_path):
    model = identities(tmp_path / "model.onnx", a=("FP32", (None, 1)), t=("BYTES", (None, 1)))
    rules = {"required": True, "finite": True, "min": 0, "max": 9, "allowed": [1, 2, 50]}
    text = {"pattern": "[a-c]+", "min_length": 2, "max_length": 4}
    outer = plan(
        model, steps({"name": "a", "validate": rules}, {"name": "t", "validate": text})
    ).outer

    def sent(a=1.0, t=b"abc"):
        column = np.array([[1.0], [a]], np.float32)
        return {"a": column, "t": np.array([[b""], [t]], object)}

    checks_of(outer).check(sent())
    cases = {
        "rule 'required'": {"a": np.nan},
        "rule 'finite'": {"a": np.inf},
        "rule 'min'": {"a": -1},
        "rule 'max'": {"a": 50},
        "rule 'allowed'": {"a": 3},
        "rule 'min_length'": {"t": b"a"},
        "rule 'max_length'": {"t": b"aaaaa"},
        "rule 'pattern'": {"t": b"xyz"},
        "UTF-8": {"t": b"\xff\xff"},
    }
    for says, change in cases.items():
        field, message = refused(outer, sent(**change))
        assert says in message
        assert field == f"rows[1].{next(iter(change))}"
    assert checks_of(model) is None


def test_the_columns_of_a_matrix_have_rules_of_their_own(tmp_path):
    model = identities(tmp_path / "model.onnx", x=("FP32", (None, 2)))
    outer = plan(model, steps({"name": "a"}, {"name": "b", "validate": {"max": 1}})).outer
    field, _ = refused(outer, {"x": np.array([[5, 1], [5, 2]], np.float32)})
    assert field == "rows[1].b"


def test_a_category_that_is_none_is_refused_where_it_counts(tmp_path):
    model = identities(tmp_path / "model.onnx", x=("FP32", (None, 4)))
    told = {"categories": ["a", "b"]}
    numbers = {"categories": [1, 2]}
    outer = plan(
        model, steps({"name": "c", "one_hot": told}, {"name": "d", "one_hot": numbers})
    ).outer
    fine = {"c": np.array([[b"a"]], object), "d": np.array([[2]])}
    checks_of(outer).check(fine)
    assert refused(outer, fine | {"c": np.array([[b"z"]], object)})[0] == "rows[0].c"
    assert refused(outer, fine | {"c": np.array([[b""]], object)})[0] == "rows[0].c"
    assert refused(outer, fine | {"d": np.array([[3]])})[0] == "rows[0].d"


def test_long_texts_cannot_keep_a_pattern_busy(tmp_path):
    model = identities(tmp_path / "model.onnx", t=("BYTES", (None, 1)), u=("BYTES", (None, 1)))
    rules = {"pattern": "a*b*a*c"}
    outer = plan(model, steps({"name": "t", "validate": rules})).outer
    many = np.full((5000, 1), b"a" * 170, object)
    _, message = refused(outer, {"t": many, "u": many})
    assert "too many long texts" in message or "rule 'pattern'" in message
    _, message = refused(outer, {"t": np.array([[b"a" * 5000]], object), "u": many[:1]})
    assert "rule 'max_length'" in message
