"""What callers send, from what a model takes and the steps before it: pure, decided at import.

A model of one matrix keeps it where every step leaves a number a number; otherwise its features
become named columns, and the matrix is put together from them.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from modelworks.core.errors import InvalidError
from modelworks.core.outer_apart import FLOATS, apart_of, spec_of
from modelworks.core.steps import InputSteps, Unknown, Validate
from modelworks.core.steps_check import check_steps
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec

_NUMBERS = FLOATS | {d for d in Datatype if "INT" in d} | {Datatype.BOOL}


@dataclass(frozen=True, slots=True)
class Part:
    """Columns that a graph makes of what callers send.

    Attributes:
        sources: outer inputs, joined along axis 1.
        items: steps of each column; one alone is for all elements.
        columns: of a one-hot, those that are kept; empty = all of them.
    """

    sources: tuple[str, ...]
    items: tuple[InputSteps, ...]
    columns: tuple[int, ...] = ()

    @property
    def one_hot(self) -> bool:
        """Whether it is a category that becomes columns."""
        return self.items[0].one_hot is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is computed."""
        return all(item.idle for item in self.items)


@dataclass(frozen=True, slots=True)
class Target:
    """An input of the model and what it is put together from.

    Attributes:
        spec: of the input.
        parts: joined along axis 1.
        order: columns of the result among those of the parts; empty = as they come.
    """

    spec: TensorSpec
    parts: tuple[Part, ...]
    order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How steps stand before a model.

    Attributes:
        outer: what callers send, the steps in it with every name spelt out.
        targets: inputs that a graph makes; the others are sent as they are, or made by plug-ins.
        notes: choices made.
    """

    outer: Signature
    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()

    @property
    def apart(self) -> tuple[InputSteps, ...]:
        """Steps that no graph does."""
        return tuple(item for item in self.outer.steps if not item.in_graph)


def plan(model: Signature, steps: tuple[InputSteps, ...]) -> Plan:
    """Hold steps against the model that they stand before.

    Args:
        model: signature of the bare model.
        steps: as declared.

    Raises:
        InvalidError: they contradict themselves or do not fit the model; `field` is the path.
    """
    check_steps(steps)
    apart, made = apart_of(model, steps)
    graph = [item for item in steps if item.in_graph]
    if model.layout is Layout.MATRIX and not apart:
        return _matrix(model, graph)
    left = [spec for spec in model.inputs if spec.name not in made]
    return _columns(model, steps, apart, left)


# -- one matrix


def _matrix(model: Signature, items: Sequence[InputSteps]) -> Plan:
    spec = model.inputs[0]
    names = model.features
    order, items, notes = _order(spec, names, items)
    items = tuple(_required(item, spec) for item in items)
    for place, item in enumerate(items):
        _fits_target(item, _column(item, _cell(spec, item)), spec, f"inputs[{place}]")
    kept = all(item.one_hot is None and not item.datatype for item in items)
    scaled = any(item.scale is not None for item in items)
    if kept:
        datatype = Datatype.FP64 if scaled else spec.datatype
        allow = spec.allow_nan or any(item.impute is not None for item in items)
        shape = (spec.shape[0], len(items))
        outer = replace(spec, datatype=datatype, shape=shape, allow_nan=allow)
        features = tuple(item.name for item in items)
        target = Target(spec, (Part((spec.name,), items),), order)
        signature = replace(model, inputs=(outer,), features=features, steps=_told(items))
        return Plan(signature, (target,), notes)
    outers = tuple(_column(item, _cell(spec, item)) for item in items)
    signature = Signature(
        outers, model.outputs, Layout.COLUMNS, tuple(s.name for s in outers), model.classes,
        _told(items),
    )  # fmt: skip
    return Plan(signature, (Target(spec, _grouped(items), order),), notes)


def _order(
    spec: TensorSpec, names: tuple[str, ...], items: Sequence[InputSteps]
) -> tuple[tuple[int, ...], tuple[InputSteps, ...], tuple[str, ...]]:
    """Columns of the model among those that are made; all items; what was chosen."""
    made = [column for item in items for column in _made(item)]
    width = spec.shape[1] if len(spec.shape) > 1 else None
    if names and set(made) <= set(names) and len(set(made)) == len(made):
        rest = tuple(InputSteps(name) for name in names if name not in set(made))
        made += [item.name for item in rest]
        order = tuple(made.index(name) for name in names)
        natural = order == tuple(range(len(order)))
        return (() if natural else order), (*items, *rest), ()
    if width is not None and len(made) != width:
        raise _misfit(names, made, width)
    note = "the model's columns are those of the steps, in the order of the file"
    return (), tuple(items), (note,)


def _misfit(names: tuple[str, ...], made: list[str], width: int) -> InvalidError:
    if names:
        strange = next((name for name in made if name not in names), made[-1])
        close = difflib.get_close_matches(strange, names, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        return InvalidError(
            f"steps make the column '{strange}', which the model does not have{hint} "
            f"(it has {', '.join(names[:8])}{'...' if len(names) > 8 else ''})",
            field="steps",
        )
    return InvalidError(
        f"steps make {len(made)} columns and the model takes {width}: name every feature, in the "
        "order of training, also those without steps",
        field="steps",
    )


def _made(item: InputSteps) -> list[str]:
    if item.one_hot is None:
        return [item.name]
    return [f"{item.name}_{category}" for category in item.one_hot.columns]


def _required(item: InputSteps, spec: TensorSpec) -> InputSteps:
    """What the model could not do without is said to be required."""
    fine = spec.allow_nan or spec.datatype not in FLOATS
    if fine or item.impute is not None or item.one_hot is not None:
        return item
    return replace(item, validate=replace(item.validate or Validate(), required=True))


def _told(items: Iterable[InputSteps]) -> tuple[InputSteps, ...]:
    return tuple(item for item in items if item.names)


def _grouped(items: tuple[InputSteps, ...]) -> tuple[Part, ...]:
    """Neighbouring numbers are computed together."""
    parts: list[Part] = []
    for item in items:
        if item.one_hot is None and parts and not parts[-1].one_hot:
            last = parts.pop()
            parts.append(Part((*last.sources, item.name), (*last.items, item)))
        else:
            parts.append(Part((item.name,), (item,)))
    return tuple(parts)


def _cell(spec: TensorSpec, item: InputSteps) -> TensorSpec:
    return replace(spec, name=item.name, shape=(spec.shape[0], 1))


# -- named inputs


def _columns(
    model: Signature,
    steps: Sequence[InputSteps],
    apart: dict[str, InputSteps],
    left: list[TensorSpec],
) -> Plan:
    specs = {spec.name: spec for spec in left}
    targets: dict[str, Target] = {}
    outers: list[TensorSpec] = []
    told: list[InputSteps] = []
    simple = all(spec.shape[1:] == (1,) for spec in left)
    for place, item in enumerate(steps):
        if item.name in apart:
            first = model.inputs[0].shape[0] if model.inputs[0].shape else None
            shape = (first, 1) if simple else (first,)
            outers.append(TensorSpec(item.name, Datatype.BYTES, shape, allow_nan=False))
            told.append(apart[item.name])
            continue
        fed = _inputs_of(item, specs, f"inputs[{place}]")
        for spec, column in fed:
            kept = () if column is None else (column,)
            targets[spec.name] = Target(spec, (Part((item.name,), (item,), kept),))
        like = fed[0][0]
        outer = _column(item, replace(like, name=item.name))
        _fits_target(item, outer, like, f"inputs[{place}]")
        outers.append(outer)
        told.append(item)
    done = set(targets) | {spec.name for spec in outers}
    outers += [spec for spec in left if spec.name not in done]
    columns = all(spec.shape[1:] == (1,) for spec in outers)
    layout = Layout.COLUMNS if columns else Layout.TENSORS
    features = tuple(spec.name for spec in outers) if columns else ()
    signature = Signature(
        tuple(outers), model.outputs, layout, features, model.classes, _told(told)
    )
    busy = tuple(t for t in targets.values() if not _same(t, signature))
    return Plan(signature, busy)


def _inputs_of(
    item: InputSteps, specs: dict[str, TensorSpec], where: str
) -> list[tuple[TensorSpec, int | None]]:
    """The model's inputs that a step feeds, with the column of each."""
    if item.one_hot is None:
        return [(spec_of(item.name, specs, f"{where}.name"), None)]
    found: list[tuple[TensorSpec, int | None]] = [
        (spec_of(name, specs, where), i) for i, name in enumerate(_made(item))
    ]
    for spec, _ in found:
        if spec.shape[1:] != (1,):
            raise InvalidError(
                f"steps: {where}.one_hot: the model's input '{spec.name}' is no single column",
                field=f"{where}.one_hot",
            )
    return found


def _same(target: Target, outer: Signature) -> bool:
    """Whether the input is sent just as the model takes it."""
    part = target.parts[0]
    sent = next((s for s in outer.inputs if s.name == target.spec.name), None)
    return part.idle and sent is not None and sent.datatype is target.spec.datatype


def _column(item: InputSteps, spec: TensorSpec) -> TensorSpec:
    """What a caller sends for one item that a graph works on."""
    categories: tuple[str, ...] = spec.categories
    allow = spec.allow_nan or item.impute is not None
    if item.one_hot is not None:
        categories = tuple(str(c) for c in item.one_hot.categories)
        allow = True
        if item.one_hot.unknown is Unknown.ERROR and item.impute is None:
            allow = "" in categories
    return replace(spec, datatype=_datatype(item, spec), categories=categories, allow_nan=allow)


def _datatype(item: InputSteps, spec: TensorSpec) -> Datatype:
    if item.datatype:
        try:
            return Datatype(item.datatype)
        except ValueError:
            raise InvalidError(
                f"steps: '{item.name}': '{item.datatype}' is none of {', '.join(Datatype)}",
                field="steps",
            ) from None
    if item.one_hot is not None:
        kinds = {type(category) for category in item.one_hot.categories}
        if kinds == {str}:
            return Datatype.BYTES
        whole = kinds <= {int} and item.impute is None
        return Datatype.INT64 if whole else Datatype.FP64
    widened = item.impute is not None and spec.datatype in _NUMBERS - FLOATS
    return Datatype.FP64 if item.scale is not None or widened else spec.datatype


def _fits_target(item: InputSteps, outer: TensorSpec, spec: TensorSpec, where: str) -> None:
    """Numbers for numbers, texts for texts."""
    text = outer.datatype is Datatype.BYTES
    if item.one_hot is not None:
        wrong = text != isinstance(item.one_hot.categories[0], str)
    elif item.scale is not None:
        wrong = text or spec.datatype not in FLOATS
    elif item.impute is not None:
        wrong = text != isinstance(item.impute.value, str) or text != (
            spec.datatype is Datatype.BYTES
        )
    else:
        wrong = text != (spec.datatype is Datatype.BYTES)
    if wrong:
        raise InvalidError(
            f"steps: {where}: '{item.name}' is sent as {outer.datatype}, which does not fit its "
            f"steps and the model's {spec.datatype}",
            field=where,
        )
