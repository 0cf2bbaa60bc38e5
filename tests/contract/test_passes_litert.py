"""The passes of LiteRT: the contract, labels of classifiers, and rounding that hurts."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from litert_graphs import chained, converted, graph, rows, saved, session
from modelworks.core.errors import CrashedError, InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import Applied
from modelworks.core.tensor import Datatype
from modelworks.ext.passes import litert_int8
from modelworks.ext.passes.litert import proof
from modelworks.plugins.load import load
from modelworks.testing.passes import PassCase, PassContract, PassSource

pytestmark = pytest.mark.contract

MODULES = ("onnx", "onnxruntime", "ai_edge_quantizer", "ai_edge_litert.interpreter")
WIDE = 24
LABELS = "label = ArgMax<axis = 1, keepdims = 0>(p)"


def dense(seed=0, width=WIDE, labels=""):
    """Probabilities of five classes by two layers, and labels where they are asked for."""
    chance = np.random.default_rng(seed)
    text = f"(float[N,{width}] x) => ({'int64[N] label, ' if labels else ''}float[N,5] p) {{"
    text += " h = Gemm(x, w, b) r = Relu(h) s = MatMul(r, v) t = Add(s, c) p = Softmax(t)"
    text += f" {labels} }}"
    constants = {
        "w": chance.standard_normal((width, 48)) / 5,
        "b": chance.standard_normal(48) / 5,
        "v": chance.standard_normal((48, 5)) / 3,
        "c": chance.standard_normal(5) / 5,
    }
    return graph(text, {name: value.astype("f4") for name, value in constants.items()})


def onnx_source(folder, model, calibration=None):
    job = saved(folder, model)
    return PassSource(job.source, "onnx", job.signature, calibration)


def tflite_source(folder, model, calibration=None):
    job = converted(folder, model)
    return PassSource(job.into, "tflite", job.signature, calibration)


def calibrated(folder, width=WIDE):
    file = folder / "calibration.npz"
    np.savez(file, x=np.random.default_rng(1).standard_normal((96, width)).astype("f4"))
    return file


def sent(count):
    """Rows like those of the calibration."""
    return {"x": np.random.default_rng(100 + count).standard_normal((count, WIDE)).astype("f4")}


def small(folder):
    return tflite_source(folder, graph("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"))


def damaged(folder, source):
    """The same with an offset that leads out of the file."""
    folder.mkdir()
    data = bytearray((source.folder / "model.tflite").read_bytes())
    data[:4] = (len(data) + 8).to_bytes(4, "little")
    (folder / "model.tflite").write_bytes(data)
    return replace(source, folder=folder)


class TestLiteRtFloat(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("litert")
        too_many = graph("(float[N,4] x) => (float[N,4] y) { a = Relu(x) y = Erf(a) }")
        mixing = graph("(float[N,4] x) => (float[4,N] y) { y = Transpose(x) }")
        return PassCase(
            name="litert",
            good=onnx_source(folder / "good", dense(labels=LABELS)),
            inputs=sent,
            tolerance=1e-5,
            others={},
            unfit=onnx_source(folder / "unfit", too_many),
            broken={"one too many": onnx_source(folder / "many", too_many),
                    "rows mixed": onnx_source(folder / "mixing", mixing)},
            modules=MODULES,
        )  # fmt: skip


class TestDynamicInt8(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("dynamic")
        good = tflite_source(folder / "good", dense())
        return PassCase(
            name="litert_int8_dynamic",
            good=good,
            inputs=sent,
            tolerance=0.05,
            others={"bits": {"bits": 4}, "granularity": {"granularity": "tensor"}},
            unfit=small(folder / "small"),
            broken={"offset": damaged(folder / "damaged", good)},
            modules=MODULES,
        )


class TestStaticInt8(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("static")
        good = tflite_source(folder / "good", dense(), calibrated(folder))
        return PassCase(
            name="litert_int8_static",
            good=good,
            inputs=sent,
            tolerance=0.2,
            others={"granularity": {"granularity": "tensor"}, "rows": {"rows": 2}},
            unfit=replace(small(folder / "small"), calibration=good.calibration),
            broken={"offset": damaged(folder / "damaged", good)},
            modules=MODULES,
        )


# -- what rounding does to a model, and what can be done about it


def uneven():
    """One channel between the layers is four thousand times as large as those that decide."""
    chance = np.random.default_rng(5)
    first, second = chance.standard_normal((16, 96)) / 4, chance.standard_normal((96, 10)) / 9
    first[:, 0], second[0] = chance.standard_normal(16) * 1000, chance.standard_normal(10) / 1e5
    text = "(float[N,16] x) => (float[N,10] y) { h = MatMul(x, w) t = Tanh(h) z = Add(h, t)"
    text += " y = MatMul(z, v) }"
    return graph(text, {"w": first.astype("f4"), "v": second.astype("f4")})


def agreement(job, into):
    inputs = rows(job.signature, 400, 3)
    first, second = session("onnxruntime", job.source), session("litert", into, job.signature)
    [one], [other] = first.infer(inputs), second.infer(inputs)
    return float((one.argmax(1) == other.argmax(1)).mean())


@pytest.mark.parametrize("name", ["litert_int8_static", "litert_int8_dynamic"])
def test_rounding_that_hurts_is_seen_and_healed_by_one_layer_in_float(tmp_path, name):
    job = converted(tmp_path, uneven())
    calibration = calibrated(tmp_path, 16)
    step = load("passes", name)()
    whole = chained(job, tmp_path / "whole", name, calibration)
    changed = step.apply(whole).operators
    assert agreement(job, job.into) == 1
    assert agreement(job, whole.into) < 0.9
    less = chained(job, tmp_path / "less", name, calibration, keep=changed)
    step.apply(less)
    assert agreement(job, less.into) == 1
    layers = [one for one in changed if one in {"h", "y"}]
    assert layers == ["h", "y"]
    # the layer that reads the uneven tensor, and for whole integers all that makes it, too
    blamed = ["y"] if name.endswith("dynamic") else [one for one in changed if one != "x"]
    healed = chained(job, tmp_path / "healed", name, calibration, keep=tuple(blamed))
    step.apply(healed)
    assert agreement(job, healed.into) >= 0.99


def test_integers_are_not_rounded_again(tmp_path):
    job = converted(tmp_path, dense())
    first = chained(job, tmp_path / "one", "litert_int8_dynamic")
    load("passes", "litert_int8_dynamic")().apply(first)
    second = replace(first, source=first.into, into=tmp_path / "two")
    assert "nothing is left" in load("passes", "litert_int8_dynamic")().fits(second)


def mixed(pixels):
    """A convolution over so many pixels a side, and a dense layer."""
    chance = np.random.default_rng(2)
    text = f"(float[N,4,{pixels},{pixels}] x) => (float[N,8] y) {{ a = Conv<pads = [1, 1, 1, 1]>"
    text += "(x, k) r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p) h = MatMul(f, w)"
    text += " y = MatMul(h, v) }"
    shapes = {"k": (16, 4, 3, 3), "w": (16, 96), "v": (96, 8)}
    return graph(text, {k: chance.standard_normal(s).astype("f4") / 4 for k, s in shapes.items()})


def test_convolutions_are_not_rounded_as_values_come(tmp_path):
    few, many = (converted(tmp_path / str(size), mixed(size)) for size in (2, 12))
    step = load("passes", "litert_int8_dynamic")()
    said = step.fits(chained(many, tmp_path / "a", "litert_int8_dynamic"))
    assert "97% of its work are convolutions" in said
    job = chained(few, tmp_path / "b", "litert_int8_dynamic")
    assert step.fits(job) == ""
    assert step.apply(job).operators == ("h", "y")
    calibration = tmp_path / "rows.npz"
    np.savez(calibration, x=np.random.default_rng(0).random((32, 4, 12, 12), dtype="f4"))
    whole = chained(many, tmp_path / "c", "litert_int8_static", calibration)
    assert load("passes", "litert_int8_static")().fits(whole) == ""
    assert load("passes", "litert_int8_static")().apply(whole).operators[-2:] == ("h", "y")


def test_a_calibration_of_other_inputs_is_refused(tmp_path):
    job = converted(tmp_path, dense())
    np.savez(tmp_path / "other.npz", z=np.zeros((4, WIDE), "f4"))
    wrong = chained(job, tmp_path / "out", "litert_int8_static", tmp_path / "other.npz")
    with pytest.raises(InvalidError, match="no input 'x'") as caught:
        load("passes", "litert_int8_static")().apply(wrong)
    assert caught.value.field == "calibration"


def test_a_library_that_fails_is_one_line(tmp_path, monkeypatch):
    job = converted(tmp_path, dense())
    done = chained(job, tmp_path / "out", "litert_int8_dynamic")

    def fails(*_, **__):
        raise ValueError("first line\nsecond line " + "x" * 4000)

    monkeypatch.setattr(litert_int8.quantizer.Quantizer, "quantize", fails)
    with pytest.raises(CrashedError, match="first line second line") as caught:
        load("passes", "litert_int8_dynamic")().apply(done)
    assert len(caught.value.message) <= 300
    assert list(done.into.iterdir()) == []


def test_a_form_that_answers_otherwise_is_not_handed_on(tmp_path):
    job = converted(tmp_path / "good", dense())
    other = saved(tmp_path / "other", dense(seed=1))
    with pytest.raises(CrashedError, match="away from the source"):
        proof.compare(replace(job, source=other.source), job.signature)


def test_a_tensor_that_callers_see_may_be_read_inside_as_well(tmp_path):
    labelled = dense(labels=LABELS.replace("(p)", "(t)"))
    del labelled.graph.output[1]
    labelled.graph.output.append(onnx.helper.make_tensor_value_info("t", 1, ["N", 5]))
    job = converted(tmp_path, labelled)
    done = chained(job, tmp_path / "out", "litert_int8_static", calibrated(tmp_path))
    load("passes", "litert_int8_static")().apply(done)
    one, other = session("litert", job.into, job.signature), session("litert", done.into)
    inputs = rows(job.signature, 50)
    assert [spec.name for spec in other.signature.outputs] == ["label", "t"]
    found, near = one.infer(inputs), other.infer(inputs)
    assert (found[0] == near[0]).mean() > 0.9
    np.testing.assert_allclose(near[1], found[1], atol=0.5)


# -- classifiers of scikit-learn, as they are imported


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images.astype("f4"), labels


def imported(folder, model):
    import joblib

    from modelworks.core.imports import ImportOptions

    (folder / "source").mkdir()
    joblib.dump(model, folder / "model.joblib")
    found = load("importers", "sklearn")().read(
        folder / "model.joblib", folder / "source", ImportOptions()
    )
    (folder / "into").mkdir()
    return replace(saved_job(folder), signature=found.signature)


def saved_job(folder):
    from modelworks.core.optimizing.passes import PassJob
    from modelworks.core.tensor import Signature

    return PassJob(folder / "source", "onnx", folder / "into", Signature((), ()))


@pytest.mark.filterwarnings("ignore:.*:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["numbers", "texts", "two", "scaled", "regression"])
def test_networks_of_scikit_learn_keep_labels_and_probabilities(tmp_path, digits, kind):
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = digits
    wanted = {"texts": np.array(list("abcdefghij"))[labels], "two": labels == 3}.get(kind, labels)
    net = MLPClassifier((64,), max_iter=8, random_state=0)
    if kind == "regression":
        net = MLPRegressor(hidden_layer_sizes=(64,), max_iter=8, random_state=0)
    model = make_pipeline(StandardScaler(), net) if kind == "scaled" else net
    model.fit(images[:900], wanted[:900])
    job = imported(tmp_path, model)
    assert isinstance(load("passes", "litert")().apply(job), Applied)
    rounded = chained(job, tmp_path / "rounded", "litert_int8_dynamic")
    load("passes", "litert_int8_dynamic")().apply(rounded)
    inputs = {job.signature.inputs[0].name: images[900:]}
    one, same, near = (
        session(engine, folder, job.signature).infer(inputs)
        for engine, folder in (
            ("onnxruntime", job.source), ("litert", job.into), ("litert", rounded.into),
        )
    )  # fmt: skip
    np.testing.assert_allclose(same[-1], one[-1], atol=1e-4, rtol=1e-4)
    if kind == "regression":
        assert np.abs(near[0] - one[0]).mean() < 0.2
        return
    assert job.signature.outputs[0].datatype in {Datatype.INT64, Datatype.BYTES}
    for found, share in ((same, 1), (near, 0.98)):
        assert found[0].dtype == one[0].dtype
        assert (found[0] == one[0]).mean() >= share


def test_a_network_of_other_numbers_is_refused(tmp_path):
    text = "(double[N,4] x) => (double[N,4] y) { y = Relu(x) }"
    job = saved(tmp_path, graph(text))
    with pytest.raises(UnsupportedError, match="float64"):
        load("passes", "litert")().apply(job)
