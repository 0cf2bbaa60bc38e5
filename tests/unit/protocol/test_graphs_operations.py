"""Operations between models: what they do, what they say of their outputs, what they refuse."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError
from modelworks.core.graphs import When
from modelworks.core.tensor import Datatype, Role
from modelworks.protocol.graphs.choosing import by_value, by_weight
from modelworks.protocol.graphs.operations import NAMES, make
from modelworks.protocol.graphs.typed import Typed, fits
from modelworks.protocol.tensors import DTYPES

pytestmark = pytest.mark.unit
F, D, N, U, B, T = (Datatype(name) for name in ("FP32", "FP64", "INT64", "UINT8", "BYTES", "BOOL"))


def texts(*values):
    made = np.empty(len(values), dtype=object)
    made[:] = [value.encode() for value in values]
    return made


def ran(kind, arrays, typed, **settings):
    """What an operation makes, after its own word about it was held against that."""
    inputs = [(str(at), one) for at, one in enumerate(typed)]
    given_, run = make(kind, inputs, settings, "here")
    made = run(arrays)
    for (_, told), array in zip(given_, made, strict=True):
        assert fits(array.shape, told.shape), (array.shape, told.shape)
        assert array.dtype == DTYPES[told.datatype]
    return made[0], given_[0][1]


X = np.array([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]], np.float32)
XT = Typed(F, (None, 3))


def test_every_operation_is_tested_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in source for name in NAMES)


def test_rename_gives_what_it_got():
    made, run = make("rename", [("new", XT)], {}, "here")
    assert made == (("new", XT),)
    assert run([X])[0] is X


def test_cast():
    made, told = ran("cast", [X], [XT], to="INT64")
    assert made.tolist() == X.tolist()
    assert told.datatype is N
    same, _ = ran("cast", [X], [XT], to="FP32")
    assert same is X  # no copy where there is nothing to do


def test_reshape():
    made, _ = ran("reshape", [X], [XT], shape=[3, 1])
    assert made.shape == (2, 3, 1)
    assert np.shares_memory(made, X)
    made, told = ran("reshape", [X[:, :2].copy()], [Typed(F, (None, 2))], shape=[-1, 1, 2])
    assert made.shape == (2, 1, 1, 2)
    assert told.shape == (None, 1, 1, 2)
    empty, _ = ran("reshape", [X[:0]], [XT], shape=[-1])
    assert empty.shape == (0, 3)
    _, run = make("reshape", [("0", Typed(F, (None, None)))], {"shape": [2, 2]}, "here")
    with pytest.raises(InvalidError, match=r"rows of shape \[3\] cannot become \[2, 2\]"):
        run([X])


def test_concat_and_stack():
    made, told = ran("concat", [X, X[:, :1]], [XT, Typed(F, (None, 1))])
    assert made[0].tolist() == [1, 2, 3, 1]
    assert told.shape == (None, 4)
    made, told = ran("stack", [X, X], [XT, XT], axis=2)
    assert made.shape == (2, 3, 2)
    assert told.shape == (None, 3, 2)
    loose = Typed(F, (None, None, 2))
    _, run = make("concat", [("0", loose), ("1", loose)], {"axis": 2}, "here")
    with pytest.raises(InvalidError, match="do not go together"):
        run([np.zeros((1, 2, 2)), np.zeros((1, 3, 2))])


def test_select_is_a_view_where_columns_are_neighbours():
    made, _ = ran("select", [X], [XT], columns=[1, 2])
    assert made.tolist() == X[:, 1:].tolist()
    assert np.shares_memory(made, X)
    made, _ = ran("select", [X], [XT], columns=[2, 0, 2])
    assert made[0].tolist() == [3, 1, 3]
    _, run = make("select", [("0", Typed(F, (None, None)))], {"columns": [3]}, "here")
    with pytest.raises(InvalidError, match="there are 3 columns, and 4 are wanted"):
        run([X])


def test_argmax_softmax_threshold_and_labels():
    best, _ = ran("argmax", [X], [XT])
    assert best.tolist() == [2, 0]
    made, told = ran("softmax", [X], [XT])
    assert np.allclose(made, np.exp(X) / np.exp(X).sum(axis=1, keepdims=True))
    assert told.role is Role.PROBABILITIES
    made, _ = ran("softmax", [np.array([[1e38, -1e38]], np.float32)], [Typed(F, (None, 2))])
    assert made.tolist() == [[1, 0]]
    made, _ = ran("threshold", [X], [XT], at=3)
    assert made.tolist() == [[False, False, True], [True, True, True]]
    made, _ = ran("threshold", [X[:, 0]], [Typed(F, (None,))], at=3, labels=["no", "yes"])
    assert made.tolist() == [b"no", b"yes"]
    made, told = ran("labels", [best], [Typed(N, (None,))], labels=["a", "b", "c"])
    assert made.tolist() == [b"c", b"a"]
    assert told.role is Role.LABEL
    for bad in (-1, 3):
        with pytest.raises(InvalidError, match="3 labels"):
            ran("labels", [np.array([bad])], [Typed(N, (None,))], labels=["a", "b", "c"])


def test_mean_weighted_mean_and_vote():
    sure = Typed(F, (None, 3), Role.PROBABILITIES, ("a", "b", "c"))
    made, told = ran("mean", [X, 3 * X], [sure, sure])
    assert np.allclose(made, 2 * X)
    assert (told.role, told.classes) == (Role.PROBABILITIES, ("a", "b", "c"))
    made, told = ran("weighted_mean", [X, 3 * X], [sure, XT], weights=[3, 1])
    assert np.allclose(made, 1.5 * X)
    assert (told.role, told.classes) == (Role.TENSOR, ("a", "b", "c"))
    said = [texts("a", "b", "c"), texts("b", "b", "a"), texts("b", "a", "x")]
    made, _ = ran("vote", said, [Typed(B, (None,))] * 3)
    assert made.tolist() == [b"b", b"b", b"c"]  # of three that differ the first
    with pytest.raises(InvalidError, match="are not alike"):
        ran("mean", [X, X[:, :2]], [Typed(F, (None, None))] * 2)
    assert X[0, 0] == 1  # nothing was written into what came


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=5))
def test_a_vote_is_what_counting_says(votes):
    arrays = [np.array(one) for one in votes]
    made, _ = ran("vote", arrays, [Typed(N, (None,))] * len(arrays))
    for row, value in enumerate(made.tolist()):
        said = [one[row] for one in votes]
        most = max(map(said.count, said))
        assert value == next(one for one in said if said.count(one) == most)


@pytest.mark.parametrize(
    ("kind", "typed", "settings", "field", "words"),
    [
        ("cast", [XT], {"to": "FLOAT"}, "here.to", "a datatype is wanted"),
        ("cast", [XT], {"to": "BYTES"}, "here.to", "BYTES is not cast"),
        ("cast", [Typed(B, (None,))], {"to": "FP32"}, "here.to", "BYTES is not cast"),
        ("cast", [XT], {"to": "FP32", "too": 1}, "here.too", "known are of, to"),
        ("cast", [XT, XT], {"to": "FP32"}, "here.of", "one tensor is wanted, not 2"),
        ("reshape", [XT], {}, "here.shape", "the axes of one row"),
        ("reshape", [XT], {"shape": [-1, -1]}, "here.shape", "one axis at most"),
        ("reshape", [XT], {"shape": [2]}, "here.shape", "has 3 elements"),
        ("reshape", [XT], {"shape": [-1, 2]}, "here.shape", "has 3 elements"),
        ("reshape", [XT], {"shape": [0, -1]}, "here.shape", "has 3 elements"),
        ("concat", [XT, Typed(D, (None, 3))], {}, "here.of", "put a cast before one"),
        ("concat", [XT, Typed(F, (None,))], {}, "here.of", "put a reshape before one"),
        ("concat", [Typed(F, (None,))] * 2, {}, "here.axis", "there is none"),
        ("concat", [XT], {"axis": 0}, "here.axis", "0 is that of the rows"),
        ("concat", [XT], {"axis": True}, "here.axis", "1 to 1"),
        ("stack", [XT, Typed(F, (None, 2))], {}, "here.of", "are not alike"),
        ("select", [XT], {"columns": [3]}, "here.columns", "there are 3 columns"),
        ("select", [XT], {"columns": [-1]}, "here.columns", "numbers from 0"),
        ("select", [XT], {"columns": []}, "here.columns", "numbers from 0"),
        ("select", [Typed(F, (None,))], {"columns": [0]}, "here.of", "has no columns"),
        ("argmax", [Typed(F, (None,))], {}, "here.of", "has no columns"),
        ("argmax", [Typed(F, (None, 0))], {}, "here.of", "has no columns"),
        ("softmax", [Typed(N, (None, 2))], {}, "here.of", "put a cast before it"),
        ("softmax", [Typed(B, (None, 2))], {}, "here.of", "texts are no numbers"),
        ("threshold", [XT], {}, "here.at", "a finite number is wanted"),
        ("threshold", [XT], {"at": float("inf")}, "here.at", "a finite number is wanted"),
        ("threshold", [XT], {"at": float("nan")}, "here.at", "a finite number is wanted"),
        ("threshold", [XT], {"at": 1, "labels": ["a"]}, "here.labels", "two are wanted"),
        ("labels", [XT], {"labels": ["a"]}, "here.of", "FP32 is none of"),
        ("labels", [Typed(U, (None,))], {"labels": [1]}, "here.labels", "a list of texts"),
        ("weighted_mean", [XT, XT], {"weights": [1]}, "here.weights", "there are 1 for 2"),
        ("weighted_mean", [XT], {"weights": [0]}, "here.weights", "one at least is above 0"),
        ("weighted_mean", [XT], {"weights": [-1]}, "here.weights", "numbers from 0"),
        ("mean", [Typed(N, (None, 3))], {}, "here.of", "put a cast before it"),
        ("vote", [XT, Typed(F, (None, 2))], {}, "here.of", "are not alike"),
        ("mean", [XT], {"by": 1}, "here.by", "known is of"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_request(kind, typed, settings, field, words):
    inputs = [(str(at), one) for at, one in enumerate(typed)]
    with pytest.raises(InvalidError) as found:
        make(kind, inputs, settings, "here")
    assert found.value.field == field
    assert words in found.value.message


# -- choosing


TESTS = [
    (F, When("<", 0.8), [0.5, 0.9], [True, False]),
    (F, When("<=", 0.8), [0.5, 0.9], [True, False]),
    (F, When(">", 0.8), [0.5, 0.9], [False, True]),
    (F, When(">=", 1), [1.0, 0.9], [True, False]),
    (N, When("==", 3), [3, 4], [True, False]),
    (N, When("!=", 3), [3, 4], [False, True]),
    (N, When("in", (3, 5)), [3, 4], [True, False]),
    (T, When("==", True), [True, False], [True, False]),
]


@pytest.mark.parametrize(("datatype", "when", "values", "wanted"), TESTS)
def test_a_test_says_the_same_of_one_row_and_of_many(datatype, when, values, wanted):
    array = np.array(values, DTYPES[datatype])
    choose = by_value(Typed(datatype, (None,)), [when], "here")
    assert (choose(array, 2) == 0).tolist() == wanted
    assert [choose(array[at : at + 1], 1) == 0 for at in range(2)] == wanted
    column = by_value(Typed(datatype, (None, 1)), [when], "here")
    assert (column(array[:, None], 2) == 0).tolist() == wanted


def test_texts_are_compared_and_the_first_test_that_passes_is_taken():
    whens = [When("in", ("cat", "dog")), When("==", "cat"), When("!=", "cow")]
    choose = by_value(Typed(B, (None,)), whens, "here")
    animals = texts("cat", "cow", "dog", "hen")
    assert choose(animals, 4).tolist() == [0, 3, 0, 2]
    assert [choose(animals[at : at + 1], 1) for at in range(4)] == [0, 3, 0, 2]


def test_what_is_no_number_passes_no_order():
    choose = by_value(Typed(F, (None,)), [When("<", 1), When(">=", 1)], "here")
    array = np.array([np.nan, 0.0], np.float32)
    assert choose(array, 2).tolist() == [2, 0]
    assert choose(array[:1], 1) == 2


def test_weights_are_kept_and_keys_stay_where_they_are():
    choose = by_weight(Typed(N, (None,)), "salt", [1, 1, 2], "here")
    keys = np.arange(20_000)
    chosen = choose(keys, len(keys))
    shares = np.bincount(chosen, minlength=3) / len(keys)
    assert np.allclose(shares, [0.25, 0.25, 0.5], atol=0.02)
    assert all(choose(keys[at : at + 1], 1) == chosen[at] for at in range(200))
    other = by_weight(Typed(N, (None,)), "other", [1, 1, 2], "here")(keys, len(keys))
    assert 0.3 < np.mean(other == chosen) < 0.45  # as two that know nothing of each other
    words = by_weight(Typed(B, (None,)), "salt", [1, 1, 2], "here")
    assert (words(texts(*map(str, range(200))), 200) == chosen[:200]).all()
