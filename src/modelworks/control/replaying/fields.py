"""Columns of records as a model's inputs again; what a policy took away cannot come back.

A store says nothing of the policy under which its records were written, so it is told by what they
look like: a text where a number belongs, 64 hexadecimal digits, stars, a token, a field that is not
there. Who keeps texts that look so anyway loses those requests, and is told.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.protocol.tensors import DTYPES, Array

_HIDDEN: Final = re.compile(r"[0-9a-f]{64}|tok_[0-9a-f]{32}|.*\*\*.*|\*", re.DOTALL)
_NO_TEXT: Final = "\ufffd"
_WHOLE: Final = frozenset("biu")


class Left(Exception):  # noqa: N818 - it is no error: the request stays unplayed, for this reason
    """A request that cannot be played; the reason names no value.

    Args:
        reason: why.
        ours: it is one of those that are asked for.
    """

    def __init__(self, reason: str, *, ours: bool = True) -> None:
        super().__init__(reason)
        self.ours = ours


@dataclass(frozen=True, slots=True)
class _Column:
    """One recorded field.

    Attributes:
        name: of it.
        values: a value a line; None = not there.
        plain: numbers only.
    """

    name: str
    values: Any
    plain: bool


class Fields:
    """The inputs of one model, from the columns of one hour.

    Args:
        signature: of the model that is to be asked.
        columns: `in.NAME` -> a value a line; others are passed over.
    """

    def __init__(self, signature: Signature, columns: Mapping[str, Any]) -> None:
        self._parts: list[tuple[TensorSpec, tuple[_Column, ...]]] = []
        for spec in signature.inputs:
            whole = columns.get(f"in.{spec.name}")
            names: Sequence[str] = (spec.name,)
            if not _there(whole) and _is_matrix(signature):
                names = signature.features
            found = tuple(_column(name, columns.get(f"in.{name}")) for name in names)
            self._parts.append((spec, found))
        self._whole = {spec.name: _whole(spec, found) for spec, found in self._parts}

    def inputs(self, start: int, stop: int) -> dict[str, Array]:
        """The tensors of one request.

        Args:
            start: its first line.
            stop: behind its last.

        Raises:
            Left: it cannot be played.
        """
        found = {}
        for spec, of in self._parts:
            whole = self._whole[spec.name]
            found[spec.name] = (
                _tensor(spec, of, start, stop) if whole is None else whole[start:stop]
            )
        return found


def _whole(spec: TensorSpec, columns: tuple[_Column, ...]) -> Array | None:
    """The tensor of all lines, where there is nothing to look at line by line; else None."""
    plain = all(column.plain and column.values.ndim == 1 for column in columns)
    if not plain or spec.datatype is Datatype.BYTES or spec.shape[:1] != (None,):
        return None
    found = columns[0].values if len(columns) == 1 else np.stack([c.values for c in columns], 1)
    gaps = found.dtype.kind == "f" and not np.isfinite(found).all()
    if gaps and (spec.datatype not in _FLOATS or not spec.allow_nan):
        return None
    return _as(spec, found.reshape(_shape(spec, found.shape)), DTYPES[spec.datatype])


def _is_matrix(signature: Signature) -> bool:
    one = len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 2
    return one and bool(signature.features) and signature.layout is not Layout.TENSORS


def _there(values: Any) -> bool:
    """Whether a column has anything; one that a policy drops is missing, or a gap throughout."""
    if values is None or not len(values):
        return False
    return values.dtype.kind != "O" or any(one is not None for one in values)


def _column(name: str, values: Any) -> _Column:
    if not _there(values):
        return _Column(name, None, plain=False)
    return _Column(name, values, plain=values.dtype.kind in "biuf")


def _tensor(spec: TensorSpec, columns: tuple[_Column, ...], start: int, stop: int) -> Array:
    for column in columns:
        if column.values is None:
            raise Left(
                f"the field '{column.name}' is not in the records: a policy drops or describes it"
            )
    last = spec.shape[0] if spec.shape and spec.shape[0] is not None else stop - start
    stop = min(stop, start + last)
    parts = [_values(spec, column, start, stop) for column in columns]
    try:
        made = parts[0] if len(columns) == 1 else np.stack(parts, axis=1)
        made = made.reshape(_shape(spec, made.shape))
    except ValueError as error:
        raise Left(f"the shape of '{spec.name}' cannot be told") from error
    return made


def _shape(spec: TensorSpec, found: tuple[int, ...]) -> tuple[int, ...]:
    """A scalar an item stands for axes of one element."""
    missing = len(spec.shape) - len(found)
    return (*found, *(1,) * missing) if missing > 0 else found


def _values(spec: TensorSpec, column: _Column, start: int, stop: int) -> Array:
    """The values of some lines as the tensor's datatype."""
    dtype = DTYPES[spec.datatype]
    if spec.datatype is Datatype.BYTES:
        items = [_text(column.name, one) for one in column.values[start:stop].tolist()]
        return np.array(items, object)
    if not column.plain:
        return _numbers(spec, column, column.values[start:stop].tolist())
    found = column.values[start:stop]
    if found.dtype.kind == "f" and np.isnan(found).any():
        _allow_gap(spec, column.name)
    return _as(spec, found, dtype)


def _numbers(spec: TensorSpec, column: _Column, values: Sequence[Any]) -> Array:
    for one in values:
        if isinstance(one, str):
            raise Left(f"the field '{column.name}' is hashed, masked or a token")
        if one is None:
            _allow_gap(spec, column.name)
    try:
        found = np.array(values, np.float64 if None in values else None)
        if found.dtype == object:  # gaps within lists
            found = found.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise Left(f"the shape of '{column.name}' cannot be told") from error
    return _as(spec, found, DTYPES[spec.datatype])


def _allow_gap(spec: TensorSpec, name: str) -> None:
    if spec.datatype not in _FLOATS or not spec.allow_nan:
        raise Left(f"the field '{name}' has no value, and the model wants one")


_FLOATS: Final = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16})


def _as(spec: TensorSpec, found: Array, dtype: Any) -> Array:
    if spec.datatype is Datatype.BF16:  # patterns of bits: the upper half of a float
        return (found.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if dtype.kind in _WHOLE and found.dtype.kind == "f" and not np.isfinite(found).all():
        raise Left(f"'{spec.name}' has values that are no whole numbers")
    return found.astype(dtype)


def _text(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_text(name, one) for one in value]
    if value is None:
        raise Left(f"the field '{name}' has no value, and the model wants one")
    text = str(value)
    if hidden(text):
        raise Left(f"the field '{name}' is hashed, masked or a token")
    if _NO_TEXT in text:
        raise Left(f"'{name}' holds bytes that are no text: records do not keep them")
    return text


def hidden(value: Any) -> bool:
    """Whether a text looks like what a policy writes in place of a value."""
    return isinstance(value, str) and _HIDDEN.fullmatch(value) is not None
