"""Plain rows for humans: `POST /predict/{model}` with `{"rows": [{"age": 41, ...}]}` or lists.

The signature's layout says how rows become tensors: one matrix in the order of the features, one
column a feature, or input name -> value. Errors name row and field: `rows[3].age`.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.protocol.tensors import Array, from_json, shape_text, shown

MAX_ROWS = 10_000
_MAX_WARNINGS = 20
_INTEGERS = frozenset(t for t in Datatype if "INT" in t)


@dataclass(frozen=True, slots=True)
class PlainRows:
    """Decoded rows.

    Attributes:
        inputs: every input of the signature.
        rows: how many.
        warnings: what was accepted and looks wrong (unknown categories), one sentence each.
    """

    inputs: dict[str, Array]
    rows: int
    warnings: tuple[str, ...] = field(default=())


def decode_rows(body: bytes, signature: Signature, max_rows: int = MAX_ROWS) -> PlainRows:
    """Decode `{"rows": [...]}`, a bare list of rows, or one row.

    Args:
        body: of the HTTP request, JSON.
        signature: of the model.
        max_rows: more are refused.

    Raises:
        InvalidError: anything wrong; `field` names row and field.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"the body is no JSON: {error}", field="body") from error
    return read_rows(_rows(data, signature), signature, max_rows)


def read_rows(rows: list[Any], signature: Signature, max_rows: int = MAX_ROWS) -> PlainRows:
    """Rows of JSON values, each a list or an object, as tensors.

    Args:
        rows: as JSON has them.
        signature: of the model.
        max_rows: more are refused.

    Raises:
        InvalidError: anything wrong; `field` names row and field.
    """
    if not rows:
        raise InvalidError("there are no rows", field="rows")
    if len(rows) > max_rows:
        raise InvalidError(f"{len(rows)} rows: at most {max_rows} in one request", field="rows")
    warnings: list[str] = []
    if signature.layout is Layout.MATRIX:
        inputs = _matrix(rows, signature)
    elif signature.layout is Layout.COLUMNS:
        inputs = _columns(rows, signature, warnings)
    else:
        inputs = _tensors(rows, signature)
    return PlainRows(inputs, len(rows), tuple(warnings))


def _rows(data: Any, signature: Signature) -> list[Any]:
    """The list of rows, however it was wrapped."""
    if type(data) is dict and "rows" in data and "rows" not in _fields(signature):
        unknown = next((key for key in data if key != "rows"), None)
        if unknown is not None:
            raise InvalidError(
                f'{shown(unknown)} is unknown: the body is {{"rows": [...]}}', field=str(unknown)
            )
        if type(data["rows"]) is not list:
            raise InvalidError(f"rows must be a list, got {shown(data['rows'])}", field="rows")
        return list(data["rows"])
    if type(data) is dict:
        return [data]
    if type(data) is list:
        # A flat list of values is one row; a list of dicts or lists is several.
        return data if not data or type(data[0]) in {dict, list} else [data]
    raise InvalidError(f'the body must be {{"rows": [...]}}, got {shown(data)}', field="rows")


def _fields(signature: Signature) -> tuple[str, ...]:
    """What the keys of a row may be."""
    if signature.layout is Layout.MATRIX:
        return signature.features
    return tuple(spec.name for spec in signature.inputs)


def _by_position(row: Any, names: Sequence[str], width: int, where: str) -> list[Any]:
    """One row's values in the order of the features."""
    if type(row) is list:
        if len(row) != width:
            raise InvalidError(f"{where} has {len(row)} values, {width} are wanted", field=where)
        return row
    if type(row) is not dict:
        raise InvalidError(f"{where} must be an object or a list, got {shown(row)}", field=where)
    if not names:
        raise InvalidError(
            f"{where}: the model knows no feature names: send a list of {width} values",
            field=where,
        )
    try:
        values = [row[name] for name in names]
    except KeyError as error:
        raise _missing(row, str(error.args[0]), names, where) from None
    if len(row) != len(names):
        raise _unknown(row, names, where)
    return values


def _missing(row: dict[str, Any], name: str, names: Sequence[str], where: str) -> InvalidError:
    extra = [key for key in row if key not in set(names)]
    close = difflib.get_close_matches(name, extra[:100], 1)
    hint = f": did you mean it by '{close[0]}'?" if close else ""
    return InvalidError(f"{where}: feature '{name}' is missing{hint}", field=f"{where}.{name}")


def _unknown(row: dict[str, Any], names: Sequence[str], where: str) -> InvalidError:
    known = set(names)
    name = next(key for key in row if key not in known)
    close = difflib.get_close_matches(name, names, 1)
    hint = f": did you mean '{close[0]}'?" if close else ""
    return InvalidError(
        f"{where}: there is no feature {shown(name)}{hint}", field=f"{where}.{name}"
    )


def _matrix(rows: list[Any], signature: Signature) -> dict[str, Array]:
    spec = signature.inputs[0]
    names = signature.features
    width = len(names) or (spec.shape[1] if len(spec.shape) > 1 else None) or _width(rows[0])
    flat: list[Any] = []
    for i, row in enumerate(rows):
        flat += _by_position(row, names, width, f"rows[{i}]")
    try:
        array = from_json(spec, flat, (len(flat),), "rows").reshape(len(rows), width)
    except InvalidError as error:
        raise _located(spec, flat, width, names, error) from None
    return {spec.name: array}


def _width(row: Any) -> int:
    return len(row) if type(row) in {list, dict} else 0


def _located(
    spec: TensorSpec, flat: list[Any], width: int, names: Sequence[str], error: InvalidError
) -> InvalidError:
    """The same error, naming row and feature: the first value that fails alone."""
    for i, value in enumerate(flat):
        row, column = divmod(i, width)
        name = names[column] if names else str(column)
        where = f"rows[{row}].{name}" if names else f"rows[{row}][{column}]"
        try:
            from_json(spec, [value], (1,), where)
        except InvalidError:
            return _wrong(spec, value, where)
    return error


def _wrong(spec: TensorSpec, value: Any, where: str) -> InvalidError:
    if value is None:
        return InvalidError(f"{where}: null is not accepted by this model", field=where)
    hint = ": write 1 or 0" if type(value) is bool and spec.datatype is not Datatype.BYTES else ""
    return InvalidError(f"{where}: {shown(value)} is no {spec.datatype} value{hint}", field=where)


def _columns(rows: list[Any], signature: Signature, warnings: list[str]) -> dict[str, Array]:
    names = tuple(spec.name for spec in signature.inputs)
    width = len(names)
    table = [_by_position(row, names, width, f"rows[{i}]") for i, row in enumerate(rows)]
    inputs: dict[str, Array] = {}
    for spec, values in zip(signature.inputs, map(list, zip(*table, strict=True)), strict=True):
        inputs[spec.name] = _column(spec, values)
        if spec.categories:
            _check_categories(spec, values, warnings)
    return inputs


def _column(spec: TensorSpec, values: list[Any]) -> Array:
    if spec.datatype is Datatype.BYTES:
        # Missing text is the empty string: ONNX has no null for strings.
        values = ["" if value is None and spec.allow_nan else value for value in values]
    elif spec.datatype in _INTEGERS:
        # 41.0 is what many tools write for an integer of a column that once had gaps.
        values = [int(v) if type(v) is float and v.is_integer() else v for v in values]
    shape = (len(values), *(1 for _ in spec.shape[1:]))
    try:
        return from_json(spec, values, (len(values),), spec.name).reshape(shape)
    except InvalidError as error:
        for i, value in enumerate(values):
            try:
                from_json(spec, [value], (1,), spec.name)
            except InvalidError:
                raise _wrong(spec, value, f"rows[{i}].{spec.name}") from None
        raise error from None


def _check_categories(spec: TensorSpec, values: list[Any], warnings: list[str]) -> None:
    """An unknown category is legal (models ignore it or have a bin for it) and worth a word."""
    known = set(spec.categories)
    for i, value in enumerate(values):
        if value is None or str(value) in known:
            continue
        if len(warnings) == _MAX_WARNINGS:
            warnings.append("further unknown categories are not listed")
        if len(warnings) > _MAX_WARNINGS:
            return
        close = difflib.get_close_matches(str(value), spec.categories, 1)
        hint = f": did you mean '{close[0]}'?" if close else ""
        warnings.append(f"rows[{i}].{spec.name}: the model never saw {shown(value)}{hint}")


def _tensors(rows: list[Any], signature: Signature) -> dict[str, Array]:
    specs = signature.inputs
    names = tuple(spec.name for spec in specs)
    columns: dict[str, list[Array]] = {name: [] for name in names}
    for i, row in enumerate(rows):
        where = f"rows[{i}]"
        if type(row) is list and len(specs) == 1:
            values = [row]  # the one input's value, in nested lists
        else:
            values = _by_position(row, names, len(names), where)
        for spec, value in zip(specs, values, strict=True):
            columns[spec.name].append(_one(spec, value, f"{where}.{spec.name}"))
    return {name: _stack(name, arrays) for name, arrays in columns.items()}


def _one(spec: TensorSpec, value: Any, where: str) -> Array:
    """One row's value of one input, without the batch axis."""
    axes = spec.shape[1:] if spec.shape[:1] == (None,) else spec.shape
    shape = _shape_of(value)
    if len(shape) != len(axes) or any(a not in {None, b} for a, b in zip(axes, shape, strict=True)):
        raise InvalidError(
            f"{where}: a value of shape {shape_text(axes)} is wanted, got {shape_text(shape)}",
            field=where,
        )
    data = value if type(value) is list else [value]
    return (
        from_json(spec, data, shape, where)
        if shape
        else (from_json(spec, data, (1,), where).reshape(()))
    )


def _shape_of(value: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _stack(name: str, arrays: list[Array]) -> Array:
    first = arrays[0].shape
    for i, array in enumerate(arrays):
        if array.shape != first:
            raise InvalidError(
                f"rows[{i}].{name}: shape {shape_text(array.shape)} differs from the first row's"
                f" {shape_text(first)}",
                field=f"rows[{i}].{name}",
            )
    return np.stack(arrays)
