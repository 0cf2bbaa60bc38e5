"""Arrays are the same as nearly as their datatype allows, and no nearer is asked."""

import numpy as np
import pytest

from modelworks.core.tensor import Datatype
from modelworks.protocol.nearness import near

pytestmark = pytest.mark.unit
_CLOSE = (1e-5, 1e-3)  # absolute, relative


@pytest.mark.parametrize(
    ("datatype", "left", "right", "same"),
    [
        (Datatype.FP32, [1.0, np.nan], [1.0005, np.nan], True),
        (Datatype.FP32, [1.0], [1.002], False),
        (Datatype.FP64, [0.0], [9e-6], True),
        (Datatype.FP16, [1.0], [1.015], True),
        (Datatype.FP16, [1.0], [1.03], False),
    ],
)
def test_floats_differ_by_a_share_of_the_right_one(datatype, left, right, same):
    dtype = {Datatype.FP16: np.float16, Datatype.FP32: np.float32}.get(datatype, np.float64)
    assert near(np.array(left, dtype), np.array(right, dtype), datatype, *_CLOSE) is same


def test_bfloat16_is_compared_by_value_and_not_by_its_bits():
    one, more, much = 0x3F80, 0x3F82, 0x3F84  # 1.0, 1.015625, 1.03125
    bits = [np.array([value], np.uint16) for value in (one, more, much)]
    assert near(bits[0], bits[1], Datatype.BF16, *_CLOSE)
    assert not near(bits[0], bits[2], Datatype.BF16, *_CLOSE)
    assert not near(bits[0], bits[1], Datatype.UINT16, *_CLOSE)


def test_everything_else_and_every_shape_is_equal_or_not():
    whole = np.array([[100_000]], np.int64)
    assert near(whole, whole.copy(), Datatype.INT64, *_CLOSE)
    assert not near(whole, whole + 1, Datatype.INT64, *_CLOSE)
    assert not near(whole, whole.ravel(), Datatype.INT64, *_CLOSE)
    texts = np.array([b"a", b"b"], object)
    assert near(texts, texts.copy(), Datatype.BYTES, *_CLOSE)
    assert not near(texts, texts[::-1], Datatype.BYTES, *_CLOSE)
