"""Small operations on tensors between models: what each takes, gives and does.

An operation is made once, when a graph is checked, from what is known of its inputs; it then runs
on every request's rows. The first axis is that of the rows, and stays so.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Role
from modelworks.protocol.graphs.typed import Shape, Typed, axes, fits, refuse
from modelworks.protocol.tensors import DTYPES

Arrays: TypeAlias = Sequence[Any]
Run: TypeAlias = Callable[[Arrays], Arrays]
Made: TypeAlias = tuple[tuple[tuple[str, Typed], ...], Run]
"""The outputs by name, and what makes them of the inputs."""
Inputs: TypeAlias = Sequence[tuple[str, Typed]]
Settings: TypeAlias = dict[str, Any]

VALUE: Final = "value"
"""The output of an operation that has one."""
_FLOATS: Final = (Datatype.FP32, Datatype.FP64)
_NUMBERS: Final = tuple(
    kind for kind in Datatype if kind not in {Datatype.BYTES, Datatype.BF16, Datatype.BOOL}
)
_WHOLE: Final = tuple(kind for kind in _NUMBERS if "INT" in kind)
_LARGEST_AXIS: Final = 1 << 31


def make(kind: str, inputs: Inputs, settings: Settings, where: str) -> Made:
    """An operation on these inputs.

    Args:
        kind: its name.
        inputs: what is known of them.
        settings: as written.
        where: path of the operation, for messages.

    Raises:
        InvalidError: it cannot be done to them; says why.
    """
    return _MAKERS[kind](inputs, settings, where)


# -- the form of tensors


def _rename(inputs: Inputs, settings: Settings, where: str) -> Made:
    _known(settings, (), where)
    return tuple(inputs), _same


def _cast(inputs: Inputs, settings: Settings, where: str) -> Made:
    typed = _one(inputs, where)
    _known(settings, ("to",), where)
    try:
        to = Datatype(settings.get("to", ""))
    except ValueError:
        refuse(f"to: a datatype is wanted: {', '.join(Datatype)}", f"{where}.to")
    for kind in (to, typed.datatype):
        if kind in {Datatype.BYTES, Datatype.BF16}:
            refuse(f"{kind} is not cast: numbers and truth values are", f"{where}.to")
    dtype = DTYPES[to]
    made = Typed(to, typed.shape, typed.role, typed.classes)
    return ((VALUE, made),), lambda arrays: [arrays[0].astype(dtype, copy=False)]


def _reshape(inputs: Inputs, settings: Settings, where: str) -> Made:
    typed = _one(inputs, where)
    _known(settings, ("shape",), where)
    shape = settings.get("shape")
    if not isinstance(shape, list) or not all(_is_axis(axis) for axis in shape):
        refuse("shape: the axes of one row, as numbers; one may be -1", f"{where}.shape")
    if shape.count(-1) > 1:
        refuse("shape: one axis at most is -1", f"{where}.shape")
    have, want = _elements(typed.shape[1:]), _elements([a for a in shape if a != -1])
    if have is not None and want is not None:
        if (-1 in shape and (not want or have % want)) or (-1 not in shape and have != want):
            refuse(f"a row of {typed.words} has {have} elements, not {shape}", f"{where}.shape")
        shape_of_row = [have // want if axis == -1 else axis for axis in shape]
    else:
        shape_of_row = [None if axis == -1 else axis for axis in shape]
    if -1 in shape and _elements([a for a in shape if a != -1]) == 0:
        refuse("shape: beside an axis of 0 none can be -1", f"{where}.shape")
    target = tuple(shape)
    empty = tuple(axis or 0 for axis in shape_of_row)  # of no rows -1 says nothing

    def run(arrays: Arrays) -> Arrays:
        array = arrays[0]
        rows = array.shape[0]
        known = target if rows else empty
        try:
            return [array.reshape((rows, *known))]
        except ValueError as error:
            raise InvalidError(
                f"rows of shape {list(array.shape[1:])} cannot become {list(target)}"
            ) from error

    made = Typed(typed.datatype, (None, *shape_of_row), typed.role, typed.classes)
    return ((VALUE, made),), run


def _concat(inputs: Inputs, settings: Settings, where: str) -> Made:
    _known(settings, ("axis",), where)
    first = _alike(inputs, where)
    axis = _axis(settings, 1, len(first.shape), where)
    parts = [typed.shape for _, typed in inputs]
    for shape in parts:
        for place, (mine, theirs) in enumerate(zip(first.shape, shape, strict=True)):
            if place != axis and mine is not None and theirs is not None and mine != theirs:
                refuse(
                    f"{axes(first.shape)} and {axes(shape)} differ beside axis {axis}",
                    f"{where}.of",
                )
    lengths = [shape[axis] for shape in parts]
    total = None if None in lengths else sum(length or 0 for length in lengths)
    shape = tuple(total if at == axis else one for at, one in enumerate(_common(parts)))
    made = Typed(first.datatype, shape)
    return ((VALUE, made),), lambda arrays: [_joined(np.concatenate, arrays, axis)]


def _stack(inputs: Inputs, settings: Settings, where: str) -> Made:
    _known(settings, ("axis",), where)
    first = _alike(inputs, where)
    shapes = [typed.shape for _, typed in inputs]
    for shape in shapes:
        if not fits(first.shape, shape):
            refuse(f"{axes(first.shape)} and {axes(shape)} are not alike", f"{where}.of")
    axis = _axis(settings, 1, len(first.shape) + 1, where)
    common = _common(shapes)
    shape = (*common[:axis], len(inputs), *common[axis:])
    made = Typed(first.datatype, shape)
    return ((VALUE, made),), lambda arrays: [_joined(np.stack, arrays, axis)]


def _select(inputs: Inputs, settings: Settings, where: str) -> Made:
    typed = _one(inputs, where)
    _known(settings, ("columns",), where)
    columns = settings.get("columns")
    if not isinstance(columns, list) or not columns or not all(_is_index(c) for c in columns):
        refuse("columns: a list of numbers from 0", f"{where}.columns")
    if len(typed.shape) < 2:
        refuse(f"{typed.words} has no columns", f"{where}.of")
    width = typed.shape[-1]
    if width is not None and max(columns) >= width:
        refuse(f"there are {width} columns, and none {max(columns)}", f"{where}.columns")
    least = max(columns) + 1
    # Neighbours in order are a view; others have to be copied.
    run_of = list(range(columns[0], columns[0] + len(columns)))
    part: Any = slice(columns[0], columns[0] + len(columns)) if columns == run_of else columns

    def run(arrays: Arrays) -> Arrays:
        if arrays[0].shape[-1] < least:
            raise InvalidError(f"there are {arrays[0].shape[-1]} columns, and {least} are wanted")
        return [arrays[0][..., part]]

    return ((VALUE, Typed(typed.datatype, (*typed.shape[:-1], len(columns)))),), run


# -- what models say


def _argmax(inputs: Inputs, settings: Settings, where: str) -> Made:
    typed = _one(inputs, where, _NUMBERS)
    _known(settings, (), where)
    if len(typed.shape) < 2 or typed.shape[-1] == 0:
        refuse(f"{typed.words} has no columns", f"{where}.of")
    made = Typed(Datatype.INT64, typed.shape[:-1])
    return ((VALUE, made),), _largest


def _largest(arrays: Arrays) -> Arrays:
    if not arrays[0].shape[-1]:
        raise InvalidError("there is nothing to choose from: no column")
    return [arrays[0].argmax(axis=-1)]


def _softmax(inputs: Inputs, settings: Settings, where: str) -> Made:
    """exp(x - max) over its sum, along the last axis."""
    typed = _one(inputs, where, _FLOATS)
    _known(settings, (), where)
    if len(typed.shape) < 2:
        refuse(f"{typed.words} has no columns", f"{where}.of")

    def run(arrays: Arrays) -> Arrays:
        array = arrays[0]
        if not array.size:
            return [array]
        with np.errstate(invalid="ignore"):  # of infinities: NaN, as the formula has it
            raised = np.exp(array - array.max(axis=-1, keepdims=True))
        return [raised / raised.sum(axis=-1, keepdims=True)]

    made = Typed(typed.datatype, typed.shape, Role.PROBABILITIES, typed.classes)
    return ((VALUE, made),), run


def _threshold(inputs: Inputs, settings: Settings, where: str) -> Made:
    typed = _one(inputs, where, _NUMBERS)
    _known(settings, ("at", "labels"), where)
    at = settings.get("at")
    if not isinstance(at, int | float) or isinstance(at, bool) or not abs(at) < float("inf"):
        refuse("at: a finite number is wanted", f"{where}.at")
    if "labels" not in settings:
        made = Typed(Datatype.BOOL, typed.shape)
        return ((VALUE, made),), lambda arrays: [arrays[0] >= at]
    labels = _labels_of(settings, where)
    if len(labels) != 2:
        refuse("labels: two are wanted, for below and for the rest", f"{where}.labels")
    low, high = labels

    def run(arrays: Arrays) -> Arrays:
        made = np.empty(arrays[0].shape, dtype=object)
        made[...] = low
        made[arrays[0] >= at] = high
        return [made]

    return ((VALUE, Typed(Datatype.BYTES, typed.shape, Role.LABEL)),), run


def _labels(inputs: Inputs, settings: Settings, where: str) -> Made:
    typed = _one(inputs, where, _WHOLE)
    _known(settings, ("labels",), where)
    known = _labels_of(settings, where)
    table = np.empty(len(known), dtype=object)
    table[:] = known

    def run(arrays: Arrays) -> Arrays:
        array = arrays[0]
        if array.size and (array.min() < 0 or array.max() >= len(known)):
            raise InvalidError(f"there are {len(known)} labels, and one was asked for beyond them")
        return [table[array]]

    return ((VALUE, Typed(Datatype.BYTES, typed.shape, Role.LABEL)),), run


# -- ensembles


def _mean(inputs: Inputs, settings: Settings, where: str) -> Made:
    _known(settings, (), where)
    return _weighted(inputs, [1.0] * len(inputs), where)


def _weighted_mean(inputs: Inputs, settings: Settings, where: str) -> Made:
    _known(settings, ("weights",), where)
    weights = settings.get("weights")
    if not isinstance(weights, list) or not all(_is_weight(one) for one in weights):
        refuse("weights: a list of numbers from 0", f"{where}.weights")
    if len(weights) != len(inputs):
        words = f"there are {len(weights)} for {len(inputs)} tensors"
        refuse(f"weights: {words}", f"{where}.weights")
    if not sum(weights):
        refuse("weights: one at least is above 0", f"{where}.weights")
    return _weighted(inputs, [float(one) for one in weights], where)


def _weighted(inputs: Inputs, weights: list[float], where: str) -> Made:
    first = _alike(inputs, where, _FLOATS)
    shapes = [typed.shape for _, typed in inputs]
    for shape in shapes:
        if not fits(first.shape, shape):
            refuse(f"{axes(first.shape)} and {axes(shape)} are not alike", f"{where}.of")
    total = sum(weights)
    shares = [np.array(weight / total, DTYPES[first.datatype]) for weight in weights]

    def run(arrays: Arrays) -> Arrays:
        _same_shapes(arrays)
        made = arrays[0] * shares[0]
        for array, share in zip(arrays[1:], shares[1:], strict=True):
            made += array * share
        return [made]

    # Who averages columns says that they mean the same: one that knows their classes is enough.
    every = {typed.classes for _, typed in inputs if typed.classes}
    roles = {typed.role for _, typed in inputs}
    classes = every.pop() if len(every) == 1 else ()
    role = first.role if len(roles) == 1 else Role.TENSOR
    return ((VALUE, Typed(first.datatype, _common(shapes), role, classes)),), run


def _vote(inputs: Inputs, settings: Settings, where: str) -> Made:
    """The value that most of the inputs have; of equally many the one that stands first."""
    _known(settings, (), where)
    first = _alike(inputs, where)
    shapes = [typed.shape for _, typed in inputs]
    for shape in shapes:
        if not fits(first.shape, shape):
            refuse(f"{axes(first.shape)} and {axes(shape)} are not alike", f"{where}.of")

    def run(arrays: Arrays) -> Arrays:
        _same_shapes(arrays)
        votes = [sum((one == other).astype(np.int64) for other in arrays) for one in arrays]
        best, most = arrays[0].copy(), votes[0]
        for array, count in zip(arrays[1:], votes[1:], strict=True):
            better = count > most
            best[better] = array[better]
            most = np.maximum(most, count)
        return [best]

    return ((VALUE, Typed(first.datatype, _common(shapes), Role.LABEL, first.classes)),), run


_MAKERS: Final[dict[str, Callable[[Inputs, Settings, str], Made]]] = {
    "rename": _rename,
    "cast": _cast,
    "reshape": _reshape,
    "concat": _concat,
    "stack": _stack,
    "select": _select,
    "argmax": _argmax,
    "softmax": _softmax,
    "threshold": _threshold,
    "labels": _labels,
    "mean": _mean,
    "weighted_mean": _weighted_mean,
    "vote": _vote,
}
NAMES: Final = tuple(_MAKERS)


# -- what several of them ask


def _same(arrays: Arrays) -> Arrays:
    return arrays


def _known(settings: Settings, names: tuple[str, ...], where: str) -> None:
    for key in settings:
        if key not in names:
            told = f"known are of, {', '.join(names)}" if names else "known is of"
            refuse(f"there is no key '{key[:60]}': {told}", f"{where}.{key}")


def _one(inputs: Inputs, where: str, kinds: Sequence[Datatype] = tuple(Datatype)) -> Typed:
    if len(inputs) != 1:
        refuse(f"one tensor is wanted, not {len(inputs)}", f"{where}.of")
    typed = inputs[0][1]
    if typed.datatype not in kinds:
        refuse(_other_kind(typed.datatype, kinds), f"{where}.of")
    return typed


def _alike(inputs: Inputs, where: str, kinds: Sequence[Datatype] = tuple(Datatype)) -> Typed:
    first = inputs[0][1]
    if first.datatype not in kinds:
        refuse(_other_kind(first.datatype, kinds), f"{where}.of")
    for _, typed in inputs:
        if typed.datatype is not first.datatype:
            words = f"{first.datatype} and {typed.datatype} are there: put a cast before one"
            refuse(words, f"{where}.of")
        if len(typed.shape) != len(first.shape):
            words = f"{axes(first.shape)} and {axes(typed.shape)} have other axes: put a reshape"
            refuse(f"{words} before one", f"{where}.of")
    return first


def _other_kind(datatype: Datatype, kinds: Sequence[Datatype]) -> str:
    cure = "texts are no numbers" if datatype is Datatype.BYTES else "put a cast before it"
    return f"{datatype} is none of {', '.join(kinds)}: {cure}"


def _axis(settings: Settings, default: int, end: int, where: str) -> int:
    axis = settings.get("axis", default)
    if not isinstance(axis, int) or isinstance(axis, bool) or not 1 <= axis < end:
        words = f"1 to {end - 1} (0 is that of the rows)" if end > 1 else "there is none"
        refuse(f"axis: {words}", f"{where}.axis")
    return axis


def _common(shapes: Sequence[Shape]) -> Shape:
    """Every axis as far as any of them knows it."""
    return (None, *(next((a for a in one if a is not None), None) for one in _columns(shapes)))


def _columns(shapes: Sequence[Shape]) -> list[tuple[int | None, ...]]:
    return list(zip(*(shape[1:] for shape in shapes), strict=True))


def _elements(shape: Sequence[int | None]) -> int | None:
    total = 1
    for axis in shape:
        if axis is None:
            return None
        total *= axis
    return total


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_AXIS


def _is_axis(value: Any) -> bool:
    return _is_index(value) or (value == -1 and not isinstance(value, bool))


def _is_weight(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < float("inf")


def _labels_of(settings: Settings, where: str) -> list[bytes]:
    labels = settings.get("labels")
    if not isinstance(labels, list) or not labels or not all(isinstance(x, str) for x in labels):
        refuse("labels: a list of texts", f"{where}.labels")
    return [label.encode() for label in labels]


def _joined(join: Any, arrays: Arrays, axis: int) -> Any:
    try:
        return join(arrays, axis=axis)
    except ValueError as error:
        shapes = " and ".join(str(list(array.shape)) for array in arrays)
        raise InvalidError(f"tensors of shapes {shapes} do not go together") from error


def _same_shapes(arrays: Arrays) -> None:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        told = " and ".join(str(list(array.shape)) for array in arrays)
        raise InvalidError(f"tensors of shapes {told} are not alike")
