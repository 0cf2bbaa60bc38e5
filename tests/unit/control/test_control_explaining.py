"""Which explainer, what is kept, what is important and what changed."""

import os

import numpy as np
import pytest

from modelworks.control.explaining.cache import Cache, key_of
from modelworks.control.explaining.service import How, Subject, explain, names
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.monitor.explain.importance import changes, importance

pytestmark = pytest.mark.unit

SIGNATURE = Signature(
    inputs=(
        TensorSpec("age", Datatype.FP32, (None, 1)),
        TensorSpec("city", Datatype.BYTES, (None, 1)),
    ),
    outputs=(TensorSpec("p", Datatype.FP32, (None, 2), Role.PROBABILITIES),),
    layout=Layout.COLUMNS,
    classes=("no", "yes"),
)
ROWS = [[30, "Bonn"], [60, "Paris"], [45, "Bonn"]]


class Model:
    """Yes is likelier with age, and in Paris."""

    def __init__(self):
        self.calls = 0

    def infer(self, inputs):
        self.calls += 1
        paris = np.array([item in {"Paris", b"Paris"} for item in inputs["city"].ravel()])
        yes = np.clip(inputs["age"].ravel() / 200 + 0.3 * paris, 0, 1)
        return {"p": np.stack([1 - yes, yes], axis=1)}


@pytest.fixture
def model():
    return Model()


def subject(model, digest="sha256:1"):
    return Subject(SIGNATURE, model.infer, digest)


def test_texts_are_features_as_numbers_are(model):
    found = explain(subject(model), ROWS, [[40, "Rome"], [20, "Bonn"]], How())
    assert found.explainer == "permutation"
    assert set(found.passed_over) == {"linear", "trees"}
    assert found.features == ("age", "city")
    assert found.classes == ("no", "yes")
    assert found.values[1, :, 1] == pytest.approx([0.15, 0.3], abs=1e-6)
    assert found.values[0, :, 1] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert found.values.sum(axis=1) + found.base == pytest.approx(found.answers, abs=1e-6)


def test_only_rows_that_are_new_are_explained(model, tmp_path):
    cache = Cache(tmp_path)
    first = explain(subject(model), ROWS[:2], ROWS, How(), cache)
    second = explain(subject(model), ROWS, ROWS, How(), cache)
    third = explain(subject(model), ROWS, ROWS, How(), cache)
    assert (first.known, second.known, third.known) == (0, 2, 3)
    assert third.calls == 0
    assert np.array_equal(second.values[:2], first.values)
    assert np.array_equal(third.values, second.values)
    assert third.explainer == "permutation"
    assert third.base == pytest.approx(first.base)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "sha256:2"},
        {"background": ROWS[:1]},
        {"how": How(seed=1)},
        {"how": How(samples=9)},
        {"how": How(explainer="permutation")},
    ],
)
def test_what_is_known_hangs_on_everything(model, tmp_path, changed):
    cache = Cache(tmp_path)
    explain(subject(model), ROWS, ROWS, How(), cache)
    again = explain(
        subject(model, changed.get("digest", "sha256:1")),
        ROWS,
        changed.get("background", ROWS),
        changed.get("how", How()),
        cache,
    )
    assert again.known == 0


def test_a_damaged_cache_is_made_again(model, tmp_path):
    cache = Cache(tmp_path)
    first = explain(subject(model), ROWS, ROWS, How(), cache)
    for path in tmp_path.glob("*/*.npy"):
        path.write_bytes(path.read_bytes()[:40])
    again = explain(subject(model), ROWS, ROWS, How(), cache)
    assert again.known == 0
    assert np.array_equal(again.values, first.values)


def test_a_cache_has_a_bound_and_forgets_the_oldest(tmp_path):
    cache = Cache(tmp_path, most=10)
    for number in range(15):
        key = key_of(str(number))
        cache.put(key, np.array([number]))
        os.utime(tmp_path / key[:2] / f"{key}.npy", ns=(number, number))
    assert cache.prune() == 6
    assert cache.get(key_of("3")) is None
    assert cache.get(key_of("14")).tolist() == [14]
    assert key_of("a", "b") != key_of("ab")


def test_a_cache_that_cannot_be_written_is_no_failure(model, tmp_path):
    (tmp_path / "file").write_text("")
    found = explain(subject(model), ROWS, ROWS, How(), Cache(tmp_path / "file" / "below"))
    assert found.known == 0


def test_rows_and_explainers_that_cannot_be_are_refused(model):
    with pytest.raises(InvalidError, match="city"):
        explain(subject(model), [{"age": 1}], ROWS, How())
    with pytest.raises(NotFoundError, match="magic"):
        explain(subject(model), ROWS, ROWS, How(explainer="magic"))
    assert names() == ("auto", "linear", "permutation", "trees")


def test_importance_is_by_size_with_its_interval():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 3)) * [0.1, 2.0, 0.0]
    found = importance(("a", "b", "c"), values)
    assert [one.feature for one in found] == ["b", "a", "c"]
    assert found[0].size.low < 2 * np.sqrt(2 / np.pi) < found[0].size.high
    assert found[0].direction.low < 0 < found[0].direction.high
    assert found[2].size.value == 0


def test_changes_that_are_clear_come_first():
    rng = np.random.default_rng(1)
    before = rng.normal(size=(300, 3))
    now = rng.normal(size=(300, 3)) * [1.0, 1.0, 2.0]
    found = changes(("a", "b", "c"), before, now)
    assert [(one.feature, one.clear) for one in found[:1]] == [("c", True)]
    assert found[0].change.value == pytest.approx(np.sqrt(2 / np.pi), abs=0.2)
    assert not any(one.clear for one in found[1:])


def test_windows_that_are_alike_seldom_differ():
    """The intervals of all features hold together: of 100 pairs about 5 show anything."""
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(100):
        found = changes(tuple("abcdefgh"), *rng.normal(size=(2, 60, 8)))
        false += any(one.clear for one in found)
    assert false <= 11
