"""The pass `jax_export` against the contract of all passes, inside JAX's environment.

Run by tests/long/test_passes_jax.py.
"""

import json

import jax
import numpy as np
import onnx
import pytest
from onnx import helper

from modelworks.core.errors import CrashedError, UnsupportedError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.passes.jax import proof
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.pass_cases import answers
from modelworks.testing.passes import PassCase, PassContract, PassSource

MODULES = ("modelworks.ext.passes.jax",)
NETWORKS = {
    "mlp": (pass_models.mlp, pass_models.matrix_rows),
    "cnn": (pass_models.cnn, pass_models.image_rows),
    "attention": (pass_models.attention, pass_models.token_rows),
    "bert": (pass_models.bert, pass_models.token_rows),
}


def graph(folder, nodes, shape=(None, 4), out=(None, 4), kind=Datatype.FP32, opset=17, **constants):
    """A model `x` -> `y`."""
    folder.mkdir(parents=True)
    ends = [onnx_models.info(name, kind, s) for name, s in (("x", shape), ("y", out))]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    model = onnx.load(folder / "model.onnx")
    model.opset_import[0].version = opset
    onnx.save(model, folder / "model.onnx")
    specs = [TensorSpec("x", kind, shape), TensorSpec("y", kind, out)]
    return PassSource(folder, "onnx", Signature((specs[0],), (specs[1],)))


def foreign(folder):
    """An operator of classical models."""
    return graph(folder, [helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml")])


def case_of(source, inputs=pass_models.matrix_rows):
    return PassCase("jax_export", source, inputs, 0.0, {}, None, {}, modules=MODULES)


class TestJaxExport(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("jax")
        return PassCase(
            name="jax_export",
            good=pass_models.attention(folder / "attention"),
            inputs=pass_models.token_rows,
            tolerance=0.0,
            others={"platforms": {"platforms": "cpu"}, "precision": {"precision": "default"}},
            unfit=foreign(folder / "foreign"),
            broken={"an operator it does not have": foreign(folder / "again")},
            modules=MODULES,
        )

    def test_the_graph_stays_and_what_is_not_proved_is_said(self, case, applied):
        into, result = applied
        about = json.loads((into / "jax.json").read_text())
        assert about["not_proved"] == ["answers on cuda", "answers on tpu", "speed"]
        assert about["proved"]["on"] == "cpu"
        assert about["inputs"][0]["shape"] == ["rows", "free_a1"]
        assert "nowhere else run" in result.notes[0]
        assert not case.step.facts.verified

    def test_no_path_of_ours_is_in_the_file(self, applied):
        data = (applied[0] / "model.jaxexport").read_bytes()
        assert b"site-packages" not in data
        assert b"follow.py" not in data


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_answers_on_a_cpu_as_the_source_does(tmp_path, name):
    make, rows = NETWORKS[name]
    source = make(tmp_path / "source")
    case_of(source, rows).apply(tmp_path / "into")
    data = (tmp_path / "into" / "model.jaxexport").read_bytes()
    for count in (1, 3, 16):
        inputs = rows(count)
        [wanted] = answers("onnxruntime", source.folder, source.signature, inputs)
        with jax.enable_x64(True):
            found = jax.export.deserialize(bytearray(data)).call(*inputs.values())
        np.testing.assert_allclose(found[0], wanted, atol=1e-5, rtol=1e-4)


def test_the_line_in_the_file_that_says_how_it_is_called_is_true(tmp_path, monkeypatch):
    source = pass_models.mlp(tmp_path / "mlp")
    case_of(source).apply(tmp_path / "into")
    about = json.loads((tmp_path / "into" / "jax.json").read_text())
    monkeypatch.chdir(tmp_path / "into")
    inputs = list(pass_models.matrix_rows(2).values())
    lines, last = about["call"].rsplit(";", 1)
    try:
        scope = {"inputs": inputs}
        exec(lines, scope)
        [found] = eval(last.strip(), scope)
    finally:
        jax.config.update("jax_enable_x64", False)
    assert found.shape == (2, 10)


def test_another_platform_alone_is_lowered_here_and_compared_by_the_function(tmp_path):
    source = pass_models.cnn(tmp_path / "cnn")
    case_of(source, pass_models.image_rows).apply(tmp_path / "into", settings={
        "platforms": "tpu", "precision": "highest"})  # fmt: skip
    about = json.loads((tmp_path / "into" / "jax.json").read_text())
    assert about["platforms"] == ["tpu"]
    assert "for the CPU alone" in about["proved"]["what"]
    data = (tmp_path / "into" / "model.jaxexport").read_bytes()
    with pytest.raises(ValueError, match="platform"):
        jax.export.deserialize(bytearray(data)).call(pass_models.image_rows(1)["x"])


node = helper.make_node
WEIGHT = np.random.default_rng(0).standard_normal((4, 4)).astype("f4")
IMAGE = (None, 2, 7, 9)
KERNEL = np.random.default_rng(1).standard_normal((4, 2, 3, 3)).astype("f4")
ONE = [
    *(node(kind, ["x"], ["y"]) for kind in (
        "Abs", "Neg", "Exp", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Tanh", "Sigmoid",
        "Relu", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "HardSigmoid", "HardSwish",
        "Erf", "Softmax", "LogSoftmax", "Identity", "Reciprocal")),
    node("Clip", ["x", "low", "high"], ["y"]),
    node("PRelu", ["x", "slope"], ["y"]),
    node("Pow", ["x", "two"], ["y"]),
    node("Div", ["x", "slope"], ["y"]),
    node("Mod", ["x", "slope"], ["y"], fmod=1),
    node("Max", ["x", "slope", "low"], ["y"]),
    node("Gemm", ["x", "w", "slope"], ["y"], alpha=0.5, beta=2.0, transB=1),
    node("Einsum", ["x", "w"], ["y"], equation="ij,jk->ik"),
    node("LayerNormalization", ["x", "slope", "slope"], ["y"]),
    node("BatchNormalization", ["x", "slope", "low4", "low4", "slope"], ["y"]),
]  # fmt: skip
SMALL = {
    "low": np.float32(-0.5),
    "high": np.float32(0.5),
    "two": np.float32(2),
    "slope": np.array([0.5, 1, 2, 3], np.float32),
    "low4": np.array([0.1, 0.2, 0.3, 0.4], np.float32),
    "w": WEIGHT,
}


@pytest.mark.parametrize("one", ONE, ids=lambda one: one.op_type)
def test_an_operator_says_what_onnx_runtime_says(tmp_path, one):
    given = {name: SMALL[name] for name in one.input if name in SMALL}
    case_of(graph(tmp_path / "g", [one], **given)).apply(tmp_path / "into")


WINDOWS = [
    node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 1, 1]),
    node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad="SAME_LOWER", strides=[2, 2]),
    node("Conv", ["x", "k"], ["y"], kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    node("Conv", ["x", "k"], ["y"], kernel_shape=[3, 3], dilations=[2, 2], pads=[2, 1, 2, 3]),
    node("GlobalMaxPool", ["x"], ["y"]),
    node("InstanceNormalization", ["x", "s", "s"], ["y"]),
    node("Pad", ["x", "p", "v"], ["y"], mode="constant"),
    node("Pad", ["x", "p"], ["y"], mode="reflect"),
    node("ReduceL2", ["x"], ["y"], axes=[2, 3]),
    node("ReduceMax", ["x"], ["y"], axes=[-1], keepdims=0),
    node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1]),
    node("Flatten", ["x"], ["y"]),
    node("Slice", ["x", "from", "to", "axes", "by"], ["y"]),
    node("Gather", ["x", "places"], ["y"], axis=2),
]
LARGE = {
    "k": KERNEL,
    "s": np.array([0.5, 2], np.float32),
    "p": np.array([0, 0, 1, 2, 0, 0, 0, 3]),
    "v": np.float32(7),
    "from": np.array([-2, 0]),
    "to": np.array([-(2**31), 5]),
    "axes": np.array([3, 2]),
    "by": np.array([-2, 1]),
    "places": np.array([[0, -1], [2, 3]]),
}


@pytest.mark.parametrize("one", WINDOWS, ids=lambda one: f"{one.op_type}-{len(one.attribute)}")
def test_an_operator_over_images_says_what_onnx_runtime_says(tmp_path, one):
    given = {name: LARGE[name] for name in one.input if name in LARGE}
    free = {"ReduceL2": 4, "ReduceMax": 3, "Flatten": 2, "Gather": 5}.get(one.op_type, 4)
    source = graph(tmp_path / "g", [one], IMAGE, (None,) * free, **given)
    case_of(source).apply(tmp_path / "into")


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 17])
def test_graphs_of_older_operator_sets(tmp_path, opset):
    source = pass_models.cnn(tmp_path / "old")
    model = onnx.load(source.folder / "model.onnx")
    model.opset_import[0].version = opset
    onnx.save(model, source.folder / "model.onnx")
    case_of(source, pass_models.image_rows).apply(tmp_path / "into")


def test_shapes_that_an_exporter_computes_are_shapes(tmp_path):
    """Reshape by the length of another axis, written as five operators."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["rows"]),
        node("Unsqueeze", ["rows", "axis"], ["first"]),
        node("Concat", ["first", "rest"], ["wanted"], axis=0),
        node("Reshape", ["x", "wanted"], ["split"]),
        node("Transpose", ["split"], ["turned"], perm=[0, 2, 1]),
        node("Expand", ["one", "s"], ["ones"]),
        node("Reshape", ["turned", "s"], ["back"]),
        node("Add", ["back", "ones"], ["y"]),
    ]
    constants = {
        "zero": np.array(0), "axis": np.array([0]), "rest": np.array([2, -1]),
        "one": np.ones((1, 1), np.float32),
    }  # fmt: skip
    case_of(graph(tmp_path / "g", nodes, **constants)).apply(tmp_path / "into")


def test_a_shape_whose_unknown_axes_are_written_as_minus_one(tmp_path):
    """As PyTorch's `expand(-1, n)` is exported."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Equal", ["s", "minus"], ["open"]),
        node("ConstantOfShape", ["two"], ["ones"], value=helper.make_tensor("v", 7, [1], [1])),
        node("Where", ["open", "ones", "s"], ["wanted"]),
        node("Expand", ["one", "wanted"], ["wide"]),
        node("Add", ["x", "wide"], ["y"]),
    ]
    numbers = {"minus": np.array(-1), "two": np.array([2]), "one": np.ones((1, 1), np.float32)}
    case_of(graph(tmp_path / "g", nodes, **numbers)).apply(tmp_path / "into")


def test_positions_up_to_a_length_that_only_a_call_knows(tmp_path):
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "one", "two"], ["length"]),
        node("Slice", ["table", "zero", "length"], ["places"]),
        node("Add", ["x", "places"], ["y"]),
    ]
    numbers = {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])}
    table = np.arange(64, dtype=np.float32)
    source = graph(tmp_path / "g", nodes, (None, None), (None, None), table=table, **numbers)
    case_of(source).apply(tmp_path / "into")


def test_what_cannot_be_translated_is_named(tmp_path):
    loop = graph(tmp_path / "loop", [node("NonZero", ["x"], ["y"])])
    with pytest.raises(UnsupportedError, match="no JAX form of NonZero"):
        case_of(loop).apply(tmp_path / "a")
    ceil = [node("AveragePool", ["x"], ["y"], "pool", kernel_shape=[2, 2], ceil_mode=1)]
    pool = graph(tmp_path / "pool", ceil, IMAGE, (None,) * 4)
    with pytest.raises(UnsupportedError, match="AveragePool 'pool': ceil_mode of an average"):
        case_of(pool).apply(tmp_path / "b")
    wide = graph(tmp_path / "wide", [node("Abs", ["x"], ["y"])], kind=Datatype.FP64)
    assert "platforms=cpu" in case_of(wide).step.fits(case_of(wide).job(tmp_path / "c"))
    old = graph(tmp_path / "old", [node("Abs", ["x"], ["y"])], opset=6)
    assert "operator set is 6" in case_of(old).step.fits(case_of(old).job(tmp_path / "d"))


def test_answers_that_differ_are_never_handed_on(tmp_path, monkeypatch):
    """As if an operator were translated wrongly."""
    source = pass_models.mlp(tmp_path / "mlp")
    own = proof.compared
    monkeypatch.setattr(
        proof, "compared", lambda job, signature, ask: own(
            job, signature, lambda given: [one * 1.01 for one in ask(given)]
        )
    )  # fmt: skip
    with pytest.raises(CrashedError, match=r"JAX form is 0\.01 away"):
        case_of(source).apply(tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []
