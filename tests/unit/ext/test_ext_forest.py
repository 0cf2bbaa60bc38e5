"""The tree writer, where onnxruntime has surprises: signs, labels, thresholds, membership."""

import numpy as np
import onnxruntime
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Role
from modelworks.ext.importers.forest import (
    Columns,
    Forest,
    Kind,
    Link,
    Task,
    at_most,
    known_labels,
    write,
)

pytestmark = pytest.mark.unit


def stump(forest, below, above, target=0, *, threshold=0.5, feature=0, missing=False):
    forest.split(0, feature, "BRANCH_LT", threshold, 1, 2, missing=missing)
    forest.leaf(1, target, below)
    forest.leaf(2, target, above)
    forest.end_tree()


def run(folder, rows, dtype=np.float32, **named):
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    given = named or {"X": np.asarray(rows, dtype)}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))


def sigmoid(value):
    return 1 / (1 + np.exp(-np.asarray(value)))


@pytest.mark.parametrize("leaves", [(0.2, 0.9), (-0.2, 0.9), (-3.0, -1.0), (0.0, 0.0)])
@pytest.mark.parametrize("classes", [(0, 1), (7, -3), ("no", "yes")])
def test_binary_is_the_logistic_function_of_the_sum_whatever_the_signs(leaves, classes, tmp_path):
    forest = Forest(1)
    stump(forest, *leaves)
    signature = write(
        forest, Task(Kind.BINARY, (0.25,), classes), Columns(1), tmp_path / "model.onnx"
    )
    found = run(tmp_path, [[0.0], [1.0]])
    wanted = sigmoid(np.array(leaves) + 0.25)
    np.testing.assert_allclose(found["probabilities"], np.c_[1 - wanted, wanted], atol=2e-7)
    assert list(found["label"]) == [classes[int(p > 0.5)] for p in wanted]
    assert signature.classes == classes
    assert signature.output(Role.LABEL).datatype is (
        Datatype.BYTES if isinstance(classes[0], str) else Datatype.INT64
    )


def test_softmax_and_one_against_all_name_the_best_class(tmp_path):
    for kind in (Kind.SOFTMAX, Kind.ONE_VS_ALL):
        forest = Forest(3)
        for target, leaves in enumerate([(1.0, -1.0), (-2.0, 0.5), (0.3, 0.1)]):
            stump(forest, *leaves, target)
        task = Task(kind, (0.0, 0.1, 0.2), ("a", "b", "c"))
        write(forest, task, Columns(1), tmp_path / "model.onnx")
        found = run(tmp_path, [[0.0], [1.0]])
        sums = np.array([[1.0, -1.9, 0.5], [-1.0, 0.6, 0.3]])
        powers = np.exp(sums)
        wanted = sigmoid(sums) if kind is Kind.ONE_VS_ALL else powers / powers.sum(1)[:, None]
        np.testing.assert_allclose(found["probabilities"], wanted, atol=2e-7)
        assert [str(label) for label in found["label"]] == ["a", "b"]


LINKS = {
    Link.IDENTITY: lambda x: x,
    Link.EXP: np.exp,
    Link.SIGMOID: sigmoid,
    Link.SOFTPLUS: lambda x: np.log1p(np.exp(x)),
    Link.SIGNED_SQUARE: lambda x: np.sign(x) * x * x,
}


@pytest.mark.parametrize("link", Link)
def test_scores_pass_their_link(link, tmp_path):
    forest = Forest(2)
    stump(forest, -1.5, 2.0, 0)
    stump(forest, 0.5, 0.25, 1)
    task = Task(Kind.SCORE, (0.5, 0.0), link=link)
    signature = write(forest, task, Columns(1), tmp_path / "model.onnx")
    wanted = LINKS[link](np.array([[-1.0, 0.5], [2.5, 0.25]]))
    np.testing.assert_allclose(run(tmp_path, [[0.0], [1.0]])["score"], wanted, rtol=1e-6)
    assert signature.outputs[0].shape == (None, 2)


@pytest.mark.parametrize("missing", [True, False])
def test_missing_values_go_where_they_are_sent(missing, tmp_path):
    forest = Forest(1)
    stump(forest, 1.0, 2.0, missing=missing)
    columns = Columns(1, missing=-999.0, zero_missing=(True,))
    write(forest, Task(Kind.SCORE, (0.0,)), columns, tmp_path / "model.onnx")
    rows = [[np.nan], [-999.0], [0.0], [1e-36], [0.1], [0.9]]
    gone = 1.0 if missing else 2.0
    assert run(tmp_path, rows)["score"][:, 0].tolist() == [gone] * 4 + [1.0, 2.0]


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("chosen", [[3], [0, 2, 5], list(range(0, 90, 7))])
def test_membership_is_exact(chosen, missing, tmp_path):
    forest = Forest(1)
    forest.members(0, 1, chosen, 1, 2, 3, missing=missing)
    forest.leaf(1, 0, 1.0)
    forest.leaf(2, 0, 2.0)
    forest.end_tree()
    write(forest, Task(Kind.SCORE, (0.0,)), Columns(2), tmp_path / "model.onnx")
    rows = [[0.0, value] for value in (*range(100), -1.0, 2.5, np.nan)]
    found = run(tmp_path, rows)["score"][:, 0]
    wanted = [1.0 if value in chosen else 2.0 for value in range(100)] + [2.0, 2.0]
    assert found.tolist() == [*wanted, 1.0 if missing else 2.0]


def test_columns_are_inputs_of_their_own(tmp_path):
    forest = Forest(1)
    stump(forest, 1.0, 2.0, feature=1)
    columns = Columns(2, ("age", "income"), Layout.COLUMNS)
    signature = write(forest, Task(Kind.SCORE, (0.0,)), columns, tmp_path / "model.onnx")
    assert [spec.name for spec in signature.inputs] == ["age", "income"]
    one = np.ones((3, 1), np.float32)
    assert run(tmp_path, None, age=one, income=0 * one)["score"].tolist() == [[1.0]] * 3


@pytest.mark.parametrize("kind", [Kind.SCORE, Kind.BINARY, Kind.SOFTMAX])
def test_double_inputs_tell_near_thresholds_apart(kind, tmp_path):
    targets = 3 if kind is Kind.SOFTMAX else 1
    forest = Forest(targets)
    for target in range(targets):
        stump(forest, -1.0, 1.0 + target, target, threshold=1e9 + 0.25)
    classes = () if kind is Kind.SCORE else tuple(range(max(2, targets)))
    task = Task(kind, (0.0,) * targets, classes)
    signature = write(forest, task, Columns(1, double=True), tmp_path / "model.onnx")
    assert signature.inputs[0].datatype is Datatype.FP64
    found = run(tmp_path, [[1e9], [1e9 + 0.5]], np.float64)
    values = found["score" if kind is Kind.SCORE else "probabilities"]
    assert abs(values[0, -1] - values[1, -1]) > 0.1


def test_thresholds_round_so_that_no_float32_changes_sides():
    random = np.random.default_rng(0)
    for value in (*random.standard_normal(2000), 0.1615, 1e-35, -0.1, 1e30):
        single = np.float32(at_most(value))
        above = np.nextafter(single, np.float32(np.inf), dtype=np.float32)
        assert float(single) <= value < float(above)


def test_same_forest_same_bytes(tmp_path):
    contents = []
    for name in ("a", "b"):
        forest = Forest(1)
        stump(forest, 1.0, 2.0)
        write(forest, Task(Kind.SCORE, (0.5,)), Columns(1), tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_what_contradicts_itself_is_refused():
    for columns in (
        {"width": 2, "names": ("a",)},
        {"width": 2, "names": ("a", "a")},
        {"width": 1, "layout": Layout.COLUMNS},
        {"width": 1, "layout": Layout.TENSORS},
        {"width": 0},
    ):
        with pytest.raises(InvalidError):
            Columns(**columns)


def test_labels_become_what_json_and_onnx_know():
    assert known_labels(np.array([0, 1])) == (0, 1)
    assert known_labels(np.array([1.0, 2.0])) == (1, 2)
    assert known_labels(np.array([False, True])) == (0, 1)
    assert known_labels(np.array(["a", "b"])) == ("a", "b")
    assert known_labels(np.array([0.5, 1.5])) == ("0.5", "1.5")
    assert known_labels([b"x"]) == ("x",)
