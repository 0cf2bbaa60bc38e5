"""Sizes that calls have often."""

import numpy as np
import pytest

from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.optimize.often import often

pytestmark = pytest.mark.unit


def spec(name, *shape):
    return TensorSpec(name, Datatype.FP32, shape)


@pytest.mark.parametrize(
    ("specs", "shapes", "found"),
    [
        ((spec("a", None, 4),), {"a": (3, 4)}, ()),
        ((spec("a", None, None),), {"a": (3, 7)}, (7,)),
        ((spec("a", None, None), spec("b", None, None)), {"a": (3, 7), "b": (3, 7)}, (7,)),
        ((spec("a", None, None), spec("b", None, None)), {"a": (3, 7), "b": (3, 8)}, None),
        ((spec("a", None, 2, None, None), spec("b", None)), {"a": (3, 2, 5, 6), "b": (3,)}, (5, 6)),
        ((spec("a", 3, None),), {"a": (3, 7)}, None),
        ((), {"a": (3,)}, None),
    ],
)
def test_sizes_are_those_of_the_rows(tmp_path, specs, shapes, found):
    file = tmp_path / "rows.npz"
    np.savez(file, **{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    assert often(specs, file) == found


def test_without_rows_only_axes_that_are_not_free_are_known():
    assert often((spec("a", None, 4),), None) == ()
    assert often((spec("a", None, None),), None) is None
