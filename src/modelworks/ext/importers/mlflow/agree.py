"""Holds a model's logged signature against the converted one, and takes over what it adds."""

from dataclasses import replace

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.ext.formats.mlmodel import Column, MlModel

_MANY = 6


def agree(model: MlModel, signature: Signature) -> tuple[Signature, list[str]]:
    """The converted signature with the logged names, and notes on what differs.

    Args:
        model: with the signature that it was logged with.
        signature: of the converted model.

    Raises:
        InvalidError: the two contradict each other: other columns, another number of them, text
            for numbers, another shape.
    """
    notes = _not_carried(model)
    if model.inputs.columns:
        signature, more = _columns(model.inputs.columns, signature)
    elif model.inputs.tensors:
        more = _tensors(model.inputs.tensors, signature)
    else:
        more = ["MLmodel has no signature: names and types are the converted model's."]
    return signature, notes + more


def _not_carried(model: MlModel) -> list[str]:
    notes = []
    if model.params:
        notes.append(
            f"Inference parameters of MLmodel ({_some(list(model.params))}) are not carried over: "
            "the converted model has none."
        )
    optional = [column.name for column in model.inputs.columns if not column.required]
    if optional:
        notes.append(
            f"Optional columns of MLmodel ({_some(optional)}) are always sent here: null where "
            "the model takes missing values."
        )
    return notes


def _columns(columns: tuple[Column, ...], signature: Signature) -> tuple[Signature, list[str]]:
    names = tuple(column.name for column in columns)
    if signature.layout is Layout.COLUMNS:
        return signature, _by_name(columns, signature)
    only = signature.inputs[0] if len(signature.inputs) == 1 else None
    if only is None or len(only.shape) != 2:
        return signature, ["The columns of MLmodel are sent as the tensors of the signature."]
    width = only.shape[1]
    if width is not None and width != len(columns):
        raise _contradiction(f"has {len(columns)} input columns, and the model takes {width}")
    for column in columns:
        _same_kind(column.name or "a column", column.datatype, only.datatype)
    notes = _widths({column.datatype for column in columns}, only.datatype)
    if width is None or not all(names):
        return signature, notes
    if signature.features and names != _without_blanks(names, signature.features):
        _same_names(names, signature.features)
        notes.append("The order of the columns is the model's own, not that of MLmodel.")
        return signature, notes
    return replace(signature, layout=Layout.MATRIX, features=names), notes


def _by_name(columns: tuple[Column, ...], signature: Signature) -> list[str]:
    logged = {column.name: column for column in columns}
    if not any(logged):
        return []
    absent = [spec.name for spec in signature.inputs if spec.name not in logged]
    if absent:
        raise _contradiction(f"has no columns {_some(absent)}, which the model takes")
    for spec in signature.inputs:
        _same_kind(spec.name, logged[spec.name].datatype, spec.datatype)
    unused = sorted(logged.keys() - {spec.name for spec in signature.inputs})
    if not unused:
        return []
    return [f"Columns that the model does not use are not asked for: {_some(unused)}."]


def _tensors(tensors: tuple[TensorSpec, ...], signature: Signature) -> list[str]:
    if len(tensors) != len(signature.inputs):
        if signature.layout is Layout.COLUMNS:
            return ["The tensor of MLmodel is sent as the columns of the signature."]
        raise _contradiction(
            f"has {len(tensors)} input tensors, and the model takes {len(signature.inputs)}"
        )
    by_name = {spec.name: spec for spec in tensors}
    notes = []
    for at, mine in enumerate(signature.inputs):
        logged = by_name.get(mine.name, tensors[at])
        _same_kind(mine.name, logged.datatype, mine.datatype)
        if len(logged.shape) != len(mine.shape) or any(
            n != m for n, m in zip(logged.shape, mine.shape, strict=True) if None not in {n, m}
        ):
            raise _contradiction(
                f"has {_shape(logged)} for input {mine.name}, and the model takes {_shape(mine)}"
            )
        notes += _widths({logged.datatype}, mine.datatype)
    return notes


def _same_kind(name: str, logged: Datatype, mine: Datatype) -> None:
    if (logged is Datatype.BYTES) != (mine is Datatype.BYTES):
        raise _contradiction(f"has {name} as {logged}, and the model takes {mine}")


def _without_blanks(logged: tuple[str, ...], features: tuple[str, ...]) -> tuple[str, ...]:
    """The model's names; LightGBM writes `_` for a blank, and callers know the logged names."""
    same = tuple(name.replace(" ", "_") for name in logged) == features
    return logged if same else features


def _same_names(logged: tuple[str, ...], features: tuple[str, ...]) -> None:
    if set(logged) != set(features):
        other = sorted(set(logged) - set(features)) or sorted(set(features) - set(logged))
        raise _contradiction(f"and the model differ in the columns {_some(other)}")


def _widths(logged: set[Datatype], mine: Datatype) -> list[str]:
    others = sorted(kind.value for kind in logged - {mine})
    return [f"MLmodel has {', '.join(others)}; the converted model takes {mine}."] if others else []


def _shape(spec: TensorSpec) -> str:
    return str([-1 if n is None else n for n in spec.shape])


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_MANY])[:160]
    return shown if len(names) <= _MANY else f"{shown} and {len(names) - _MANY} more"


def _contradiction(what: str) -> InvalidError:
    return InvalidError(
        f"the signature in MLmodel {what}: one of the two is of another model", field="file"
    )
