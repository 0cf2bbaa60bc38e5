"""What callers of an embedded model give, as the tensors that it takes."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np

from modelworks.client.data import plain_rows
from modelworks.client.tensors import cast
from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.protocol.rows import MAX_ROWS, PlainRows, read_rows
from modelworks.protocol.tensors import FLOATS, Array, Form, bytes_array, has_nan


def from_rows(rows: Any, signature: Signature) -> PlainRows:
    """Plain rows: a list of mappings or lists, an array, a data frame; one mapping is one row.

    Raises:
        InvalidError: a row that the model does not take; `field` is `rows[3].age`.
    """
    if isinstance(rows, np.ndarray) and signature.layout is Layout.MATRIX and rows.ndim == 2:
        width = len(signature.features) or rows.shape[1]
        if 0 < len(rows) <= MAX_ROWS and rows.shape[1] == width:
            # Numbers need no way through Python's values; what is wrong with them is found there.
            with suppress(InvalidError):
                return from_tensors({signature.inputs[0].name: rows}, signature)
    return read_rows(plain_rows(rows), signature)


def from_tensors(inputs: Mapping[str, Any], signature: Signature) -> PlainRows:
    """Arrays by input name; values are cast where nothing but precision is lost.

    Raises:
        InvalidError: a missing or unknown input, a shape or a value that it does not take; `field`
            is its name.
    """
    if not isinstance(inputs, Mapping):
        raise InvalidError(
            f"inputs: a mapping of name to array is wanted, got {type(inputs).__name__}",
            field="inputs",
        )
    forms = _forms(signature)
    if inputs.keys() != forms.keys():
        cast(inputs, {name: form.spec for name, form in forms.items()})  # says which
    arrays = {name: _array(form, inputs[name]) for name, form in forms.items()}
    for name, form in forms.items():
        _check(form, arrays[name])
    return PlainRows(arrays, _rows(arrays, signature))


_known: dict[int, tuple[Signature, dict[str, Form]]] = {}
_MOST_KNOWN: Final = 256


def _forms(signature: Signature) -> dict[str, Form]:
    """Looked up once a signature; by identity, for hashing one of many columns costs more."""
    known = _known.get(id(signature))
    if known is None or known[0] is not signature:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        known = (signature, {spec.name: Form(spec) for spec in signature.inputs})
        _known[id(signature)] = known
    return known[1]


def _array(form: Form, value: Any) -> Array:
    """A copy: who stopped waiting may change his own while the engine reads."""
    spec = form.spec
    plain = spec.datatype is not Datatype.BYTES and isinstance(value, np.ndarray)
    if plain and value.dtype == form.dtype:
        return np.array(value, order="C")
    return _with_bytes(spec, cast({spec.name: value}, {spec.name: spec})[spec.name])


def _with_bytes(spec: TensorSpec, array: Array) -> Array:
    """Text as engines take it: UTF-8 bytes.

    Raises:
        InvalidError: an element is neither text nor bytes.
    """
    if spec.datatype is not Datatype.BYTES:
        return array
    items = []
    for item in array.ravel().tolist():
        if not isinstance(item, str | bytes):
            raise InvalidError(
                f"input '{spec.name}' takes text, got {type(item).__name__}", field=spec.name
            )
        items.append(item.encode() if isinstance(item, str) else item)
    return bytes_array(items).reshape(array.shape)


def _check(form: Form, array: Array) -> None:
    spec = form.spec
    form.shape(list(array.shape), spec.name)
    if not spec.allow_nan and spec.datatype in FLOATS and has_nan(spec.datatype, array):
        raise InvalidError(f"input '{spec.name}': NaN is not accepted", field=spec.name)


def _rows(arrays: Mapping[str, Array], signature: Signature) -> int:
    if not signature.batch_axis:
        return 1
    lengths = {name: len(array) for name, array in arrays.items()}
    rows = next(iter(lengths.values()))
    for name, length in lengths.items():
        if length != rows:
            raise InvalidError(
                f"input '{name}' has {length} rows where the inputs before it have {rows}",
                field=name,
            )
    if not rows:
        raise InvalidError("there are no rows: axis 0 is empty", field=next(iter(lengths)))
    return rows
