"""Tensors made up from their specification, of any datatype: what warms a model, or loads it."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.protocol.tensors import DTYPES, Array

_LARGEST: Final = 50_000_000  # elements


def made_up_array(
    spec: TensorSpec,
    rows: int,
    free: int,
    texts: Sequence[bytes],
    generator: np.random.Generator,
    digits: int | None = None,
) -> Array:
    """A tensor of small values.

    Args:
        spec: what it is to be.
        rows: length of axis 0, where that is dynamic.
        free: length of every other dynamic axis.
        texts: elements of a BYTES tensor.
        generator: of the choice.
        digits: floats are rounded to; None = they are not.

    Raises:
        InvalidError: it would be too large.
    """
    shape = tuple(
        size if size is not None else (rows if axis == 0 else free)
        for axis, size in enumerate(spec.shape)
    )
    if np.prod(shape, dtype=float) > _LARGEST:
        raise InvalidError(f"input '{spec.name}' of shape {list(shape)} is too large to make up")
    if spec.datatype is Datatype.BYTES:
        found = np.empty(shape, object)
        flat = found.reshape(-1)
        flat[:] = [texts[i] for i in generator.integers(0, len(texts), flat.size)]
        return found
    if spec.datatype is Datatype.BF16:
        numbers = generator.random(shape, dtype=np.float32)
        return (numbers.view(np.uint32) >> 16).astype(np.uint16)
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        floats = generator.random(shape)
        return (floats if digits is None else floats.round(digits)).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)
