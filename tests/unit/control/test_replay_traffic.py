"""Records as requests again, and what a policy took away is said, not guessed."""

import json

import numpy as np
import pytest

from modelworks.control.replaying.answers import View, right
from modelworks.control.replaying.asked import Asked
from modelworks.control.replaying.fields import hidden
from modelworks.control.replaying.traffic import read
from modelworks.core.errors import InvalidError
from modelworks.core.records import Batch
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.protocol.oip.raw import Raw

pytestmark = pytest.mark.unit

MATRIX = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 2)),),
    (TensorSpec("label", Datatype.INT64, (None,), Role.LABEL),),
    Layout.MATRIX,
    ("age", "income"),
    ("no", "yes"),
)
ASKED = Asked("fraud", "2.0.0", "1.0.0", 0, 1_000, slices=("country=de",))


def batch(count: int = 2, **columns: object) -> Batch:
    """Lines of one item each, unless `id` says otherwise."""
    usual: dict[str, object] = {
        "id": [f"r{place}" for place in range(count)],
        "at_ns": list(range(count)),
        "version": ["1.0.0"] * count,
        "arm": [""] * count,
        "status": [200] * count,
        "total_ns": [5] * count,
        "left_out": [[]] * count,
        "in.age": [41.0, np.nan][:count],
        "in.income": [10, 20][:count],
        "out.label": [0, 1][:count],
        "truth": ["no", None][:count],
        "country": ["de", "fr"][:count],
    }
    made = {}
    for name, values in (usual | columns).items():
        if values is None:
            continue
        array = np.empty(len(values), object)
        array[:] = values
        plain = all(isinstance(one, int | float) for one in values)
        made[name] = np.array(values) if plain else array
    return Batch(made, count)


def body(one) -> dict:
    return json.loads(one.body)["inputs"]


def test_columns_become_the_matrix_again():
    found = read(ASKED, MATRIX, [batch()])
    assert (found.found, found.left) == (2, {})
    first, second = found.requests
    assert body(first) == [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [41.0, 10.0]}]
    assert body(second)[0]["data"] == [None, 20.0]  # NaN, which JSON does not have
    assert (first.outputs, first.truth) == ({"label": [0]}, ("no",))
    assert (first.slices, second.slices) == ((frozenset({0}),), (frozenset(),))
    assert found.digest == read(ASKED, MATRIX, [batch()]).digest
    assert found.digest != read(ASKED, MATRIX, [batch(1)]).digest


def test_lines_of_one_request_are_one_request():
    same = batch(id=["r", "r"], at_ns=[7, 7])
    (one,) = read(ASKED, MATRIX, [same]).requests
    assert body(one)[0]["shape"] == [2, 2]
    assert (one.rows, one.outputs["label"], one.truth) == (2, [0, 1], ("no", None))


HASH = "a" * 64


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"in.age": None}, "the field 'age' is not in the records"),
        ({"in.age": [None, None]}, "the field 'age' is not in the records"),
        ({"in.age": [HASH, HASH]}, "the field 'age' is hashed, masked or a token"),
        ({"in.age": ["**", "**"]}, "the field 'age' is hashed, masked or a token"),
        ({"in.age": None, "in.income": None}, "the policy keeps no inputs"),
        ({"left_out": [["inputs"], ["inputs"]]}, "the body was over the policy's max_bytes"),
        ({"version": ["0.9.0", "0.9.0"]}, "answered by 0.9.0, not by 1.0.0"),
        ({"id": ["a~b", "c~b"], "arm": ["b", "b"]}, "copies for shadows"),
    ],
)
def test_what_cannot_be_played_is_counted_by_its_reason(columns, reason):
    found = read(ASKED, MATRIX, [batch(**columns)])
    assert not found.requests
    ((why, count),) = found.left.items()
    assert (reason in why, count) == (True, 2)


def text_model(**more: object) -> Signature:
    spec = TensorSpec("text", Datatype.BYTES, (None, 1), **more)
    return Signature((spec,), MATRIX.outputs)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", ""),
        ("write to ***@*******.***", "hashed, masked"),
        ("tok_" + "0" * 32, "hashed, masked"),
        ("picture \ufffd\ufffd", "bytes that are no text"),
        (None, "has no value"),
    ],
)
def test_texts(text, reason):
    found = read(ASKED, text_model(), [batch(1, **{"in.text": [text], "in.age": [1.0]})])
    if not reason:
        (one,) = found.requests
        assert body(one)[0] | {} == {
            "name": "text",
            "shape": [1, 1],
            "datatype": "BYTES",
            "data": ["hello"],
        }
        return
    (why,) = found.left
    assert reason in why or "is not in the records" in why


def test_a_gap_where_the_model_wants_a_value():
    strict = Signature(
        (TensorSpec("x", Datatype.FP32, (None, 2), allow_nan=False),),
        *(MATRIX.outputs, Layout.MATRIX, MATRIX.features),
    )
    found = read(ASKED, strict, [batch()])
    assert [one.id for one in found.requests] == ["r0"]
    assert list(found.left) == ["the field 'age' has no value, and the model wants one"]


def test_short_floats_are_sent_as_bytes():
    short = Signature(
        (TensorSpec("x", Datatype.BF16, (None, 2)),),
        *(MATRIX.outputs, Layout.MATRIX, MATRIX.features),
    )
    (one, _) = read(ASKED, short, [batch()]).requests
    length = int(dict(one.headers)["Inference-Header-Content-Length"])
    raw = Raw(memoryview(one.body)[length:])
    bits = np.frombuffer(bytes(raw.take("x", 4, "x")), np.uint16).astype(np.uint32) << 16
    assert bits.view(np.float32).tolist() == [41.0, 10.0]


def test_nested_items_and_axes_of_one_element():
    picture = Signature((TensorSpec("p", Datatype.UINT8, (None, 2, 2)),), MATRIX.outputs)
    columns = {"in.p": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}
    (one, _) = read(ASKED, picture, [batch(**columns)]).requests
    assert body(one)[0]["shape"] == [1, 2, 2]
    assert body(one)[0]["data"] == [1, 2, 3, 4]


def test_of_more_than_the_limit_as_many_are_drawn_each_time_the_same():
    many = [batch(2, id=[f"{n}a", f"{n}b"], at_ns=[2 * n, 2 * n + 1]) for n in range(200)]
    asked = Asked("fraud", "2.0.0", "1.0.0", 0, 1_000, limit=100)
    found = read(asked, MATRIX, many)
    assert (len(found.requests), found.found) == (100, 400)
    assert found.left == {"not drawn: more came than --limit": 300}
    times = [one.at_ns for one in found.requests]
    assert times == sorted(times)
    assert 150 < np.mean(times) < 250  # neither the first nor the last
    assert read(asked, MATRIX, many).digest == found.digest


def test_answers_of_versions_that_say_it_otherwise():
    def giving(name: str, kind: Datatype, role: Role, *axes: int) -> Signature:
        return Signature((), (TensorSpec(name, kind, (None, *axes), role),), classes=("a", "b"))

    text = giving("c", Datatype.BYTES, Role.LABEL)
    code = giving("k", Datatype.INT64, Role.LABEL)
    sure = giving("p", Datatype.FP32, Role.PROBABILITIES, 2)
    one = giving("p", Datatype.FP32, Role.PROBABILITIES, 1)
    assert View(text).said({"c": ["b", "a"]}).labels == ("b", "a")
    assert View(code).said({"k": [1, 0]}).labels == ("b", "a")
    told = View(sure).said({"p": [[0.1, 0.9], [0.8, 0.2]]})
    assert told.labels == ("b", "a")
    assert View(one).said({"p": [0.9, 0.2]}).labels == ("b", "a")
    assert View(text).said({"c": [HASH]}).nothing
    assert View(text).said({}).nothing
    number = Signature((), (TensorSpec("y", Datatype.FP32, (None,), Role.SCORE),))
    assert View(number).said({"y": [1.5]}).numbers.tolist() == [1.5]


def test_the_truth_in_any_form():
    assert all(right("1", truth) for truth in (1, 1.0, True, "1", np.bool_(True)))
    assert not any(right("1", truth) for truth in (0, "no", False, 1.5))
    assert hidden("*")
    assert not hidden("2 * 3")
    assert not hidden(7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"since_ns": 2_000},
        {"limit": 0},
        {"limit": 1_000_000},
        {"allow": 0.0},
        {"allow": 1.5},
        {"slices": ("country",)},
    ],
)
def test_what_cannot_be_asked(wrong):
    with pytest.raises(InvalidError) as caught:
        Asked("fraud", "2.0.0", "1.0.0", wrong.pop("since_ns", 0), 1_000, **wrong)
    assert caught.value.field in {"since", "limit", "allow", "slice"}
