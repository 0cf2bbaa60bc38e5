"""Sizes that calls of a model have often: an engine may compile for them once more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelworks.core.tensor import TensorSpec
from modelworks.optimize import arrays


def often(specs: Sequence[TensorSpec], rows: Path | None) -> tuple[int, ...] | None:
    """Sizes of the free axes behind that of the rows, as the rows at hand have them.

    Args:
        specs: inputs of the bare model.
        rows: npz, an array an input; None = there are none.

    Returns:
        The first size is that of the first such axis of every input that has one, and so on; None
        = nobody knows them, the inputs do not agree, or the rows' own axis is not free.

    Raises:
        InvalidError: the file cannot be read.
    """
    if not specs or any(spec.shape[:1] != (None,) for spec in specs):
        return None
    if all(None not in spec.shape[1:] for spec in specs):
        return ()
    if rows is None:
        return None
    found = arrays.load(rows, specs)
    sizes = [_free(spec, found[spec.name]) for spec in specs]
    longest = max(sizes, key=len)
    agreed = all(mine == longest[: len(mine)] for mine in sizes)
    return longest if agreed else None


def _free(spec: TensorSpec, array: Any) -> tuple[int, ...]:
    shape = array.shape[1:]
    return tuple(n for n, known in zip(shape, spec.shape[1:], strict=True) if known is None)
