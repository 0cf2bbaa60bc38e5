"""The engine `cascade` against the engine contract, and what is its own: which rows go on."""

import json

import numpy as np
import pytest
from onnx import helper

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype
from modelworks.ext.formats.cascade import (
    FILE,
    Cascade,
    Stage,
    read_cascade,
    sureness,
    write_cascade,
)
from modelworks.plugins import load as plugins
from modelworks.testing import onnx_models as models
from modelworks.testing.engines import _ROUNDS, EngineCase, EngineContract, one_line
from modelworks.testing.fresh import told

pytestmark = pytest.mark.contract
STAGE = Stage("onnx", "onnxruntime")
SHAPE = (None, 3)


def sharp(folder, factor, label=0):
    """Probabilities of `factor * x`; its label is the largest plus `label`: who answered."""
    folder.mkdir(parents=True)
    node = helper.make_node
    nodes = [
        node("Mul", ["x", "factor"], ["z"]),
        node("Softmax", ["z"], ["p"], axis=1),
        node("ArgMax", ["p"], ["best"], axis=1, keepdims=0),
        node("Add", ["best", "mark"], ["label"]),
    ]
    outputs = [
        models.info("label", Datatype.INT64, (None,)),
        models.info("p", Datatype.FP32, SHAPE),
    ]
    constants = {"factor": np.float32(factor), "mark": np.int64(label)}
    models.write(
        folder / "model.onnx", nodes, [models.info("x", Datatype.FP32, SHAPE)], outputs, constants
    )


def two(tmp_path, name="two", threshold=0.8, label=10, **more):
    into = tmp_path / name
    sharp(into / "small", 1)
    sharp(into / "large", 1, label)
    given = {"output": "p", "logits": False, "threshold": threshold} | more
    write_cascade(into, Cascade(STAGE, STAGE, **given))
    return into


def load(path, **options):
    return plugins.load("engines", "cascade")().load(path, EngineOptions(**options))


class TestCascade(EngineContract):
    @pytest.fixture
    def case(self, tmp_path, heavy):
        broken = {what: two(tmp_path, what) for what in ("empty", "truncated", "foreign", "gone")}
        whole = (broken["empty"] / FILE).read_bytes()
        (broken["empty"] / FILE).write_bytes(b"")
        (broken["truncated"] / FILE).write_bytes(whole[: len(whole) // 2])
        (broken["foreign"] / FILE).write_bytes(b"PK\x03\x04 this is a zip file")
        (broken["gone"] / "large" / "model.onnx").unlink()
        broken["missing"] = tmp_path / "nowhere"
        weighty = tmp_path / "weighty"
        for name in ("small", "large"):
            (weighty / name).mkdir(parents=True)
            (weighty / name / "model.onnx").write_bytes(heavy.read_bytes())
        write_cascade(weighty, Cascade(STAGE, STAGE, "y", logits=True, threshold=0.5))
        return EngineCase(
            engine=plugins.load("engines", "cascade")(),
            model=two(tmp_path, "model", label=0),
            inputs=lambda rows: {
                "x": np.random.default_rng(rows).normal(0, 2, (rows, 3)).astype("f4")
            },
            broken=broken,
            weighty=weighty,
        )

    def test_close_gives_the_memory_back(self, case, heavy):
        """As the contract asks; of a folder the size of the weights in it counts."""
        before, held, after = told(_ROUNDS, case.engine.name, case.model, case.weighty)
        size = 2 * heavy.stat().st_size
        assert min(held) - before > size / 2
        assert after - before < size / 2


def only(session, rows):
    label, probabilities = session.infer({"x": np.array(rows, np.float32)})
    return label.tolist(), probabilities


def test_rows_below_the_threshold_go_on(tmp_path):
    session = load(two(tmp_path))
    labels, probabilities = only(session, [[9, 0, 0], [1, 0, 0], [0, 9, 0], [0, 0, 1]])
    assert labels == [0, 10, 1, 12]  # the large one adds ten
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    session.close()


@pytest.mark.parametrize(
    ("row", "label"), [([9, 0, 0], 0), ([1, 0, 0], 10), ([np.nan, 0, 0], 10), ([np.inf, 0, 0], 10)]
)
def test_a_row_alone_goes_the_same_way(tmp_path, row, label):
    session = load(two(tmp_path))
    assert only(session, [row])[0] == [label]
    assert only(session, [[9, 0, 0], row, [0, 9, 0]])[0] == [0, label, 1]
    session.close()


def test_no_rows_are_none(tmp_path):
    session = load(two(tmp_path))
    labels, probabilities = only(session, np.empty((0, 3)))
    assert labels == []
    assert probabilities.shape == (0, 3)
    session.close()


def test_logits_are_made_sure_of_first():
    logits = np.array([[1000.0, 0, 0], [1, 1, 1], [np.nan, 0, 0]])
    np.testing.assert_allclose(sureness(logits, logits=True)[:2], [1, 1 / 3])
    assert np.isnan(sureness(logits, logits=True)[2])
    np.testing.assert_allclose(sureness(np.array([[0.2, 0.8]]), logits=False), [0.8])


def test_a_call_never_runs_on_the_loop(tmp_path):
    session = load(two(tmp_path))
    assert session.apart
    session.close()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("version", {"version": 2}),
        ("threshold", {"threshold": 1.5}),
        ("threshold", {"threshold": float("nan")}),
        ("output", {"output": "nobody"}),
        ("format", {"small": {"format": "cascade", "engine": "cascade"}}),
        ("format", {"large": {"format": "tflite", "engine": "onnxruntime"}}),
    ],
)
def test_what_the_file_may_not_say_is_refused(tmp_path, field, change):
    folder = two(tmp_path)
    said = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps(said | change))
    with pytest.raises(InvalidError) as caught:
        load(folder)
    assert caught.value.field == field
    assert one_line(caught.value)


def test_a_link_is_no_form(tmp_path):
    folder = two(tmp_path)
    (folder / "large").rename(tmp_path / "elsewhere")
    (folder / "large").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidError, match="large"):
        read_cascade(folder)


def test_an_engine_that_nobody_has_is_refused(tmp_path):
    folder = two(tmp_path)
    said = json.loads((folder / FILE).read_text())
    said["large"]["engine"] = "nobody"
    (folder / FILE).write_text(json.dumps(said))
    with pytest.raises(ModelworksError, match="nobody"):
        load(folder)


def test_models_that_mix_their_rows_are_refused(tmp_path):
    for name in ("small", "large"):
        (tmp_path / "mixed" / name).mkdir(parents=True)
        models.total(tmp_path / "mixed" / name / "model.onnx")
    write_cascade(tmp_path / "mixed", Cascade(STAGE, STAGE, "y", logits=True, threshold=0.5))
    with pytest.raises(InvalidError, match="row by row"):
        load(tmp_path / "mixed")
