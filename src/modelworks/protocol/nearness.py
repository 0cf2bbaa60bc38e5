"""Whether two arrays of a datatype hold the same: floats as nearly as asked, the rest exactly."""

import numpy as np

from modelworks.core.tensor import Datatype
from modelworks.protocol.tensors import Array

_COARSE = {Datatype.BF16, Datatype.FP16}
_COARSELY = 2e-2  # the relative difference that eight to eleven bits of mantissa leave


def near(left: Array, right: Array, datatype: Datatype, absolute: float, relative: float) -> bool:
    """Compare two arrays of one datatype; NaN equals NaN.

    Args:
        left: one, BF16 as bit patterns.
        right: the other; differences are relative to it.
        datatype: of both.
        absolute: difference of floats that does not count.
        relative: the same as a share; FP16 and BF16 have their own, 0.02.
    """
    if left.shape != right.shape:
        return False
    if datatype is Datatype.BF16:
        left, right = ((a.astype(np.uint32) << 16).view(np.float32) for a in (left, right))
    if left.dtype.kind != "f":
        return bool(np.array_equal(left, right))
    share = _COARSELY if datatype in _COARSE else relative
    return bool(np.allclose(left, right, rtol=share, atol=absolute, equal_nan=True))
