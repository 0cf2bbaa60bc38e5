"""Tensors in shared memory: every datatype there and back; a table that lies is not believed."""

import mmap

import numpy as np
import pytest

from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.sandbox.tensors import DTYPES, Packed, fitting, unpack

pytestmark = pytest.mark.unit


def spec(datatype, shape, name="x"):
    return TensorSpec(name, datatype, shape)


def there(arrays, size=0):
    packed = Packed(arrays)
    region = mmap.mmap(-1, max(packed.size, size, 1))
    packed.write(region)
    return region


def of(datatype, shape):
    count = int(np.prod(shape))
    if datatype is Datatype.BYTES:
        flat = np.empty(count, object)
        flat[:] = [b"\x00\xff" * (i % 3) for i in range(count)]
        return flat.reshape(shape)
    return np.arange(count).astype(DTYPES[datatype]).reshape(shape)


@pytest.mark.parametrize("datatype", list(Datatype))
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 2), (2, 0, 3), (2, 3, 5)])
@pytest.mark.parametrize("own", [True, False])
def test_every_datatype_and_shape_comes_back(datatype, shape, own):
    given = of(datatype, shape)
    region = there([given, given])
    specs = [spec(datatype, (None,) * len(shape), name) for name in "ab"]
    for found in unpack(region, specs, own=own):
        assert found.dtype == given.dtype
        assert found.shape == given.shape
        np.testing.assert_array_equal(found, given)


def test_views_are_views_and_copies_are_copies():
    given = np.ones((2, 2), np.float32)
    region = there([given])
    specs = [spec(Datatype.FP32, (None, 2))]
    [view], [copy] = unpack(region, specs, own=False), unpack(region, specs, own=True)
    there_again = np.zeros((2, 2), np.float32)
    Packed([there_again]).write(region)
    assert view.sum() == 0
    assert copy.sum() == 4


def test_arrays_need_not_be_contiguous():
    given = np.arange(12, dtype=np.int64).reshape(3, 4).T[::-1]
    [found] = unpack(there([given]), [spec(Datatype.INT64, (None, 3))], own=True)
    np.testing.assert_array_equal(found, given)


def test_any_byte_is_a_boolean():
    region = there([np.array([True, False, True])])
    place = int(np.ndarray((3,), np.int64, region)[1])
    region[place : place + 3] = b"\x07\x00\xff"
    [found] = unpack(region, [spec(Datatype.BOOL, (None,))], own=True)
    assert found.tobytes() == b"\x01\x00\x01"


LIES = {
    "negative axis": (0, -1),
    "another axis": (0, 5),
    "huge axis": (0, 2**62),
    "fixed axis": (1, 3),
    "offset before the data": (2, 0),
    "negative offset": (2, -64),
    "odd offset": (2, 65),
    "offset behind the end": (2, 2**40),
    "offset that wraps": (2, 2**63 - 8),
    "longer than the region": (3, 2**40),
    "negative length": (3, -8),
    "shorter than its shape": (3, 8),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.BYTES])
def test_a_table_that_lies_is_refused(lie, datatype):
    region = there([of(datatype, (4, 2))])
    word, value = LIES[lie]
    np.ndarray((4,), np.int64, region)[word] = value
    with pytest.raises(CrashedError, match="broke its protocol"):
        unpack(region, [spec(datatype, (None, 2))], own=True)


@pytest.mark.parametrize("ends", [[0, 5, 2, 6], [1, 2, 4, 6], [0, 2, 4, 2**40], [0, 2, 4, -1]])
def test_texts_whose_ends_contradict_each_other_are_refused(ends):
    given = np.array([b"ab", b"cd", b"ef"], object)
    region = there([given])
    place = int(np.ndarray((3,), np.int64, region)[1])
    np.ndarray((4,), np.int64, region, place)[:] = ends
    with pytest.raises(CrashedError, match="contradict"):
        unpack(region, [spec(Datatype.BYTES, (None,))], own=True)


def test_a_region_without_room_for_its_table_is_refused():
    with pytest.raises(CrashedError, match="cut short"):
        unpack(mmap.mmap(-1, 16), [spec(Datatype.FP32, (None, 2))], own=True)


def test_only_bytes_are_texts():
    with pytest.raises(InvalidError):
        Packed([np.array(["text"], object)])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (np.array([1.5], np.float64), np.array([1.5], np.float32)),
        ([1, 2], np.array([1, 2], np.float32)),
        (np.array([True]), np.array([1.0], np.float32)),
    ],
)
def test_numbers_are_cast_within_their_kind(given, wanted):
    [found] = fitting({"x": given}, [spec(Datatype.FP32, (None,))])
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("given", ["é", b"\xc3\xa9", np.str_("é")])
def test_texts_may_be_str_or_bytes(given):
    [found] = fitting({"x": np.array([given])}, [spec(Datatype.BYTES, (None,))])
    assert found.tolist() == ["é".encode()]


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({}, "no output 'x'"),
        (np.zeros(3), "no arrays by name"),
        ({"x": np.zeros(3)}, "float64, and its signature says INT64"),
        ({"x": np.zeros((3, 2), int)}, r"shape \[3, 2\], and its signature says \[-1\]"),
        ({"x": [object()]}, "object, and its signature says INT64"),
        ({"x": "text"}, "signature says INT64"),
    ],
)
def test_an_answer_that_does_not_fit_is_the_models_fault(outputs, says):
    with pytest.raises(CrashedError, match=says):
        fitting(outputs, [spec(Datatype.INT64, (None,))])


def test_texts_that_are_none_are_the_models_fault():
    with pytest.raises(CrashedError, match="says BYTES"):
        fitting({"x": np.array([1, 2])}, [spec(Datatype.BYTES, (None,))])
