"""Rows that share their rounding are found; those that do not, are not."""

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize.together import MIXED, mixed, noted

pytestmark = pytest.mark.unit
GIVEN = {"x": np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)}


class Rounding:
    """Rounds by the largest number of the whole call (axis None), or of each row (1)."""

    apart = False

    def __init__(self, axis, rows=None):
        self.axis = axis
        x, y = (TensorSpec(name, Datatype.FP32, (rows, 4)) for name in "xy")
        self.signature = Signature((x,), (y,))

    def infer(self, inputs):
        if len(inputs["x"]) not in {1, 3}:
            raise InvalidError("the model refuses this input")
        step = np.abs(inputs["x"]).max(axis=self.axis, keepdims=True) / 127
        return [np.round(inputs["x"] / step) * step]

    def close(self):
        pass


def test_rows_that_share_their_rounding():
    assert mixed(Rounding(None), GIVEN)
    assert noted(Rounding(None), GIVEN) == [MIXED]


def test_rows_that_do_not_or_cannot():
    assert not mixed(Rounding(1), GIVEN)
    assert noted(Rounding(1), GIVEN) == []
    assert not mixed(Rounding(None), {"x": GIVEN["x"][:1]})
    assert not mixed(Rounding(None), {"x": GIVEN["x"][:2]})  # refused
    assert not mixed(Rounding(None, rows=3), GIVEN)
