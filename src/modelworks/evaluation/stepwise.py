"""Steps computed by NumPy, as they are meant: what a graph of them is held against at import."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelworks.core.imports import Ranges
from modelworks.core.outer import Part, Plan, Target
from modelworks.core.steps import InputSteps, OneHot, Scaling
from modelworks.core.tensor import Datatype, Tensors
from modelworks.protocol.tensors import DTYPES


def reference(plan: Plan, inputs: Tensors) -> dict[str, Any]:
    """The bare model's inputs, of those that no plug-in makes.

    Args:
        plan: the steps.
        inputs: what callers send, numbers in any width.
    """
    made = {target.spec.name: _target(target, inputs) for target in plan.targets}
    apart = {item.name for item in plan.apart}
    sent = {n: array for n, array in inputs.items() if n not in made and n not in apart}
    return {**sent, **made}


def likely(plan: Plan) -> dict[str, Ranges]:
    """What callers' values look like, as far as the steps tell."""
    return {item.name: found for item in plan.outer.steps if (found := _range(item))}


def _range(item: InputSteps) -> Ranges | None:
    rules, scale = item.validate, item.scale
    if item.one_hot is not None:
        return Ranges(values=item.one_hot.categories)
    if rules is not None and rules.allowed:
        return Ranges(values=rules.allowed)
    if rules is not None and rules.min is not None and rules.max is not None:
        return Ranges(rules.min, rules.max)
    if scale is None:
        return None
    shift, spread, _, _ = scale.affine
    if scale.kind is Scaling.MINMAX:
        return Ranges(min(shift, shift + spread), max(shift, shift + spread))
    return Ranges(shift - 3 * abs(spread), shift + 3 * abs(spread))


def _target(target: Target, inputs: Tensors) -> Any:
    wanted = target.spec.datatype
    columns = [_part(part, inputs) for part in target.parts]
    if wanted is Datatype.BYTES:
        return columns[0]
    array = np.concatenate(columns, axis=1) if len(columns) > 1 else columns[0]
    if target.order:
        array = array[:, list(target.order)]
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(DTYPES[wanted], copy=False)


def _part(part: Part, inputs: Tensors) -> Any:
    sources = [np.asarray(inputs[name]) for name in part.sources]
    if part.one_hot:
        step = part.items[0].one_hot
        if step is None:
            raise TypeError("a part without categories is no one-hot")
        array = _one_hot(step, _filled(sources[0], part.items[0]))
        return array[:, list(part.columns)] if part.columns else array
    if sources[0].dtype == object:
        return _filled(sources[0], part.items[0])
    array = np.concatenate(sources, axis=1) if len(sources) > 1 else sources[0]
    return array if part.idle else _numbers(array, part.items)


def _numbers(array: Any, items: Sequence[InputSteps]) -> Any:
    if len(items) == 1:
        return _number(array, items[0])
    columns = [_number(array[:, place], item) for place, item in enumerate(items)]
    return np.stack(columns, axis=1)


def _number(array: Any, item: InputSteps) -> Any:
    array = _filled(array.astype(np.float64), item)
    if item.scale is None:
        return array
    shift, spread, stretch, base = item.scale.affine
    with np.errstate(over="ignore", invalid="ignore"):
        array = (array - shift) / spread * stretch + base
    low, high = min(item.scale.range), max(item.scale.range)
    return np.clip(array, low, high) if item.scale.clip else array


def _filled(array: Any, item: InputSteps) -> Any:
    if item.impute is None:
        return array
    value = item.impute.value
    if array.dtype == object:
        text = str(value).encode()
        flat = [text if cell in {b"", ""} else cell for cell in array.reshape(-1).tolist()]
        filled = np.empty(len(flat), object)
        filled[:] = flat
        return filled.reshape(array.shape)
    return np.where(np.isnan(array), value, array) if array.dtype.kind == "f" else array


def _one_hot(step: OneHot, array: Any) -> Any:
    flat = array.reshape(-1).tolist()
    if isinstance(step.categories[0], str):
        flat = [cell.decode(errors="replace") if isinstance(cell, bytes) else cell for cell in flat]
    rows = [[float(cell == category) for category in step.columns] for cell in flat]
    return np.array(rows, np.float64).reshape(len(flat), len(step.columns))
