"""What is kept, how much room it takes, and what makes two questions the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_taken import counted
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.protocol.tensors import DTYPES
from modelworks.serving.cache import keys
from modelworks.serving.cache.packed import pack, unpack
from modelworks.serving.cache.resp import Reader, RedisRefusedError, command
from modelworks.serving.cache.store import OVERHEAD, Store, kept_arrays, size_of_arrays

pytestmark = pytest.mark.unit


def test_the_least_used_leaves_and_the_bound_holds():
    store = Store(3 * (OVERHEAD + 100))
    for name in (b"a", b"b", b"c"):
        assert store.put(name, name, 100)
    assert store.get(b"a", 0) == (b"a", float("inf"))
    assert store.put(b"d", b"d", 100)
    assert store.get(b"b", 0) is None
    assert [store.get(name, 0) is not None for name in (b"a", b"c", b"d")] == [True] * 3
    assert store.evictions == 1
    assert store.bytes == 3 * (OVERHEAD + 100)


def test_what_is_larger_than_all_room_is_not_kept_and_nothing_leaves_for_it():
    store = Store(2 * (OVERHEAD + 100))
    store.put(b"a", 1, 100)
    assert not store.put(b"b", 2, 10_000)
    assert len(store) == 1


def test_an_answer_is_good_until_its_time_and_a_newer_one_takes_its_place():
    store = Store(10_000)
    store.put(b"a", 1, 100, until=10.0)
    assert store.get(b"a", 9.9) == (1, 10.0)
    assert store.get(b"a", 10.0) is None
    assert (len(store), store.bytes) == (0, 0)
    store.put(b"a", 1, 100, until=20.0)
    store.put(b"a", 2, 50, until=30.0)
    assert store.get(b"a", 25.0) == (2, 30.0)
    assert store.bytes == OVERHEAD + 50


@pytest.mark.parametrize("columns", [1, 1000])
def test_what_is_kept_takes_no_more_memory_than_is_said(columns):
    """Python's own count of bytes, of 500 answers of small and large arrays."""
    store = Store(1 << 30)
    with counted(__file__) as held:
        for number in range(500):
            arrays = kept_arrays([np.full((1, columns), number, np.float32)])
            key = keys.of_tensors({"x": np.array([number])}, ["x"])
            store.put(key, arrays, size_of_arrays(arrays), until=1e9 + number)
        taken = held()
    assert taken <= store.bytes
    assert store.bytes < 1.7 * taken


def test_kept_arrays_are_copies_that_cannot_be_changed():
    own = np.zeros(3)
    (kept,) = kept_arrays([own])
    own[:] = 7
    assert kept.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1


def questions():
    """Questions that differ in one thing each."""
    x = np.arange(6, dtype=np.float32)
    return [
        {"x": x},
        {"y": x},
        {"x": x.astype(np.float64)},
        {"x": x.view(np.int32)},
        {"x": x.reshape(2, 3)},
        {"x": x.reshape(3, 2)},
        {"x": np.array([b"a", b"bc"], object)},
        {"x": np.array([b"ab", b"c"], object)},
        {"x": np.array([b"abc", b""], object)},
        {"x": -x},
    ]


def test_questions_that_differ_have_different_keys():
    found = [keys.of_tensors(question, list(question)) for question in questions()]
    assert len(set(found)) == len(found)
    again = [keys.of_tensors(question, list(question)) for question in questions()]
    assert found == again


def test_a_view_and_its_copy_are_the_same_question():
    wide = np.arange(12, dtype=np.float32).reshape(3, 4)
    cut = wide[:, ::2]
    assert keys.of_tensors({"x": cut}, ["x"]) == keys.of_tensors({"x": cut.copy()}, ["x"])


def test_a_question_that_is_too_large_has_no_key():
    large = np.zeros(keys.LARGEST // 4 + 1, np.float32)
    assert keys.of_tensors({"x": large}, ["x"]) is None
    texts = np.array([b"a" * keys.LARGEST], object)
    assert keys.of_tensors({"x": texts}, ["x"]) is None


def test_the_same_bytes_of_another_kind_or_length_of_head_are_another_question():
    found = {
        keys.of_body(b"v2", b"body"),
        keys.of_body(b"rows", b"body"),
        keys.of_body(b"v2", b"body", b"4"),
        keys.of_body(b"v2", b"body", b"3"),
        keys.of_body(b"v2", b"body\0" + b"4"),
    }
    assert len(found) == 5


NUMBERS = [d for d in Datatype if d not in {Datatype.BYTES, Datatype.BOOL}]


@given(st.sampled_from(NUMBERS), st.lists(st.integers(0, 4), max_size=3), st.integers(0, 1 << 40))
def test_outputs_come_back_as_they_were(datatype, shape, until):
    spec = TensorSpec("y", datatype, tuple(None for _ in shape))
    count = int(np.prod(shape, dtype=int))
    array = (np.arange(count) % 100).astype(DTYPES[datatype]).reshape(shape)
    (found,), good = unpack([spec], pack([spec], [array], until))
    assert good == until
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_texts_come_back_as_they_were(texts):
    spec = TensorSpec("y", Datatype.BYTES, (None,))
    array = np.empty(len(texts), object)
    array[:] = texts
    (found,), _ = unpack([spec], pack([spec], [array], 0))
    assert found.tolist() == texts


TWO = (TensorSpec("y", Datatype.FP32, (None,)), TensorSpec("t", Datatype.BYTES, (None,)))
PACKED = pack(TWO, [np.arange(3, dtype=np.float32), np.array([b"one", b"two"], object)], 5)


def test_every_way_to_cut_or_change_a_kept_answer_is_noticed_or_harmless():
    for end in range(len(PACKED)):
        with pytest.raises(ValueError, match=r"."):
            unpack(TWO, PACKED[:end])
    with pytest.raises(ValueError, match="belong to no output"):
        unpack(TWO, PACKED + b"\0")
    for place in range(len(PACKED)):
        spoilt = bytearray(PACKED)
        spoilt[place] ^= 0x55
        try:
            outputs, _ = unpack(TWO, bytes(spoilt))
        except (ValueError, TypeError):
            continue
        assert [array.shape for array in outputs] == [(3,), (2,)]


def test_an_answer_of_another_model_is_refused():
    other = (TensorSpec("y", Datatype.FP64, (None,)), TWO[1])
    with pytest.raises(ValueError, match="another output"):
        unpack(other, PACKED)
    with pytest.raises(ValueError, match="another number"):
        unpack(TWO[:1], PACKED)
    assert pack(TWO[:1], [np.zeros(3)], 0) is None


def test_answers_of_redis_in_pieces():
    wire = b"+PONG\r\n$-1\r\n$5\r\nab\r\nc\r\n-OOM no room\r\n:7\r\n$0\r\n\r\n"
    for at in range(len(wire)):
        reader = Reader()
        values = [*reader.feed(wire[:at]), *reader.feed(wire[at:])]
        assert values[:3] == [b"PONG", None, b"ab\r\nc"]
        assert isinstance(values[3], RedisRefusedError)
        assert str(values[3]) == "OOM no room"
        assert values[4:] == [b"7", b""]


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"$x\r\n",
        b"$99999999999\r\n",
        b"$-2\r\n",
        b"$2\r\nabcd\r\n",
        b"*1\r\n$1\r\na\r\n",
        b"+" + b"a" * 2000,
    ],
)
def test_what_is_not_redis_is_refused(wire):
    with pytest.raises(ValueError, match=r"."):
        list(Reader().feed(wire))


def test_a_command_is_an_array_of_texts():
    assert command("GET", b"\r\n") == b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n"
