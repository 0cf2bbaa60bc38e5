"""A graph against the signatures of its models: names, datatypes, shapes, and what can never run.

The outcome is a plan that the server runs, and the signature that the graph is served with.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.graphs import (
    Branch,
    Graph,
    ModelStep,
    Named,
    OperationStep,
    Ref,
    SplitStep,
    Step,
    SwitchStep,
    every,
)
from modelworks.core.tensor import Layout, Role, Signature, TensorSpec
from modelworks.protocol.graphs.choosing import Choose, by_value, by_weight
from modelworks.protocol.graphs.operations import make
from modelworks.protocol.graphs.plans import Ask, Operate, Plan, Route
from modelworks.protocol.graphs.references import needs_of, reach
from modelworks.protocol.graphs.scopes import Scope
from modelworks.protocol.graphs.typed import Typed, axes, fits, refuse

Find = Callable[[ModelStep], Signature]
"""The signature of a step's model; raises a `ModelworksError` that says why there is none."""
_KEPT_ROLES: Final = frozenset({Role.LABEL, Role.PROBABILITIES, Role.SCORE})


@dataclass(frozen=True, slots=True)
class Checked:
    """A graph that can be run.

    Attributes:
        plan: how.
        signature: what callers send and get.
        asked: the steps that ask models, by their number.
        wanted: for each of them the outputs that are used: place in the model's signature -> place
            in the list of tensors.
    """

    plan: Plan
    signature: Signature
    asked: tuple[ModelStep, ...]
    wanted: tuple[tuple[tuple[int, int], ...], ...]


def check_graph(graph: Graph, find: Find) -> Checked:
    """Check a graph against its models.

    Args:
        graph: as read.
        find: signatures of its models.

    Raises:
        InvalidError: it cannot be run with them: which step, which field, the cure.
        ModelworksError: as `find`, with the step's name before it.
    """
    return _Check(graph, find).outcome()


class _Check:
    def __init__(self, graph: Graph, find: Find) -> None:
        self._graph = graph
        self._find = find
        self._inputs: dict[str, Typed] = {}
        self._steps = tuple(every(graph.steps))
        self._numbers = {step.name: number for number, step in enumerate(self._steps)}
        self._asked = graph.models()
        self._models = {step.name: number for number, step in enumerate(self._asked)}
        self._signatures: dict[str, Signature] = {}
        self._wanted: dict[str, dict[int, int]] = {step.name: {} for step in self._asked}

    def outcome(self) -> Checked:
        graph = self._graph
        for step in self._asked:
            self._signatures[step.name] = self._signature(step)
        self._derive()
        scope = Scope(graph.steps, None)
        for put in graph.inputs:
            scope.places[Ref("", put.name)] = scope.fresh()
        outputs = self._scope(scope, graph.outputs, "spec.outputs")
        self._all_used(graph)
        names = tuple(step.name for step in self._steps)
        plan = replace(scope.plan(outputs), steps=names)
        wanted = tuple(tuple(self._wanted[step.name].items()) for step in self._asked)
        given = [(name, self._typed(scope, ref, "spec.outputs")) for name, ref in graph.outputs]
        return Checked(plan, self._outer(given), self._asked, wanted)

    # -- models

    def _signature(self, step: ModelStep) -> Signature:
        try:
            found = self._find(step)
        except ModelworksError as error:
            raise named(step.name, error, f"{step.where}.model") from error
        if not found.batch_axis:
            refuse(
                f"step '{step.name}': model '{step.asked}' has no axis of rows that is first in "
                "every tensor and free: export it with a dynamic first axis",
                f"{step.where}.model",
            )
        specs = {spec.name: spec for spec in found.inputs}
        for name, _ in step.inputs:
            if name not in specs:
                refuse(
                    f"step '{step.name}': model '{step.asked}' has no input '{name}': it has "
                    f"{', '.join(specs)}",
                    f"{step.where}.inputs.{name}",
                )
        said = {name for name, _ in step.inputs}
        missing = [name for name in specs if name not in said]
        if missing:
            refuse(
                f"step '{step.name}': nothing is said of input '{missing[0]}' of model "
                f"'{step.asked}': add it (inputs: {{{missing[0]}: $input.{missing[0]}}})",
                f"{step.where}.inputs",
            )
        return found

    # -- what callers send

    def _derive(self) -> None:
        """Datatype and shape of every input: as declared, else as the models that take it."""
        takers: dict[str, list[tuple[ModelStep, TensorSpec]]] = {}
        for step in self._asked:
            specs = {spec.name: spec for spec in self._signatures[step.name].inputs}
            for name, ref in step.inputs:
                if not ref.step:
                    takers.setdefault(ref.name, []).append((step, specs[name]))
        for place, put in enumerate(self._graph.inputs):
            where = f"spec.inputs[{place}]"
            found = takers.get(put.name, [])
            if not found and (put.datatype is None or put.shape is None):
                refuse(
                    f"no model takes the input '{put.name}' as it is, so its datatype and shape "
                    "have to be declared: {name, datatype, shape}",
                    where,
                )
            datatype = put.datatype or found[0][1].datatype
            shape = put.shape
            for step, spec in found:
                if spec.datatype is not datatype:
                    cure = "declare its datatype, and put a cast before the others"
                    refuse(
                        f"step '{step.name}' takes the input '{put.name}' as {spec.datatype}, and "
                        f"it is {datatype}: {cure}",
                        where,
                    )
                if shape is not None and not fits(shape, spec.shape):
                    refuse(
                        f"step '{step.name}' takes the input '{put.name}' as {axes(spec.shape)}, "
                        f"and it is {axes(shape)}: put a reshape before one of them",
                        where,
                    )
                shape = spec.shape if shape is None else _closer(shape, spec.shape)
            assert shape is not None  # noqa: S101 - declared, or somebody takes it
            kept = replace(found[0][1], name=put.name, shape=shape) if found else None
            self._inputs[put.name] = Typed(datatype, shape, spec=kept)

    # -- steps

    def _scope(self, scope: Scope, outputs: Named, where: str) -> tuple[int, ...]:
        """Check the steps of a scope, in the order in which they can run; places of its outputs."""
        for step in self._order(scope):
            scope.given[step.name] = self._node(scope, step)
        return tuple(self._place(scope, ref, f"{where}.{name}") for name, ref in outputs)

    def _order(self, scope: Scope) -> Iterable[Step]:
        done: set[str] = set()
        path: list[str] = []

        def visit(name: str) -> Iterable[Step]:
            if name in done:
                return
            if name in path:
                circle = " -> ".join([*path[path.index(name) :], name])
                step = scope.steps[name]
                refuse(f"step '{name}' waits for itself: {circle}", step.where)
            path.append(name)
            for needed in sorted(needs_of(scope.steps[name])):
                if needed in scope.steps:
                    yield from visit(needed)
            path.pop()
            done.add(name)
            yield scope.steps[name]

        for name in scope.steps:
            yield from visit(name)

    def _node(self, scope: Scope, step: Step) -> dict[str, Typed]:
        scope.needs.append(frozenset(needs_of(step) & scope.steps.keys()))
        if isinstance(step, ModelStep):
            return self._ask(scope, step)
        if isinstance(step, OperationStep):
            return self._operate(scope, step)
        return self._route(scope, step)

    def _ask(self, scope: Scope, step: ModelStep) -> dict[str, Typed]:
        signature = self._signatures[step.name]
        specs = {spec.name: spec for spec in signature.inputs}
        inputs, loose = [], []
        for name, ref in step.inputs:
            where, spec = f"{step.where}.inputs.{name}", specs[name]
            typed = self._typed(scope, ref, where)
            if typed.datatype is not spec.datatype:
                refuse(
                    f"step '{step.name}': '{ref}' is {typed.datatype}, and model '{step.asked}' "
                    f"takes {spec.datatype} as '{name}': put a cast between them",
                    where,
                )
            if not fits(typed.shape, spec.shape):
                refuse(
                    f"step '{step.name}': '{ref}' is {axes(typed.shape)}, and model "
                    f"'{step.asked}' takes {axes(spec.shape)} as '{name}': put a reshape or select "
                    "between them",
                    where,
                )
            inputs.append((name, self._place(scope, ref, where)))
            if any(
                a is None and b is not None
                for a, b in zip(typed.shape[1:], spec.shape[1:], strict=True)
            ):
                loose.append((name, inputs[-1][1], spec.shape[1:]))
        number = self._numbers[step.name]
        scope.nodes.append(
            Ask(step.name, number, self._models[step.name], tuple(inputs), tuple(loose))
        )
        return {
            spec.name: Typed(
                spec.datatype,
                spec.shape,
                spec.role,
                signature.classes if spec.role in _KEPT_ROLES else (),
                spec,
            )
            for spec in signature.outputs
        }

    def _operate(self, scope: Scope, step: OperationStep) -> dict[str, Typed]:
        where = f"{step.where}.{step.operation}"
        known = [(name, self._typed(scope, ref, f"{where}.of")) for name, ref in step.inputs]
        try:
            given, run = make(step.operation, known, step.settings, where)
        except InvalidError as error:
            raise named(step.name, error, error.field or where) from error
        places = tuple(self._place(scope, ref, f"{where}.of") for _, ref in step.inputs)
        outputs = []
        for name, _ in given:
            ref = Ref(step.name, name)
            scope.places[ref] = scope.fresh()
            outputs.append(scope.places[ref])
        number = self._numbers[step.name]
        scope.nodes.append(Operate(step.name, number, places, tuple(outputs), run))
        return dict(given)

    def _route(self, scope: Scope, step: SwitchStep | SplitStep) -> dict[str, Typed]:
        on, choose = self._choose(scope, step)
        plans, taken = [], []
        given: dict[str, Typed] = {}
        for number, branch in enumerate(step.branches):
            inner = Scope(branch.steps, scope)
            places = self._scope(inner, branch.outputs, f"{branch.where}.outputs")
            mine = {
                name: self._typed(inner, ref, f"{branch.where}.outputs.{name}")
                for name, ref in branch.outputs
            }
            given = self._agree(step, branch, given, mine) if number else mine
            order = [list(mine).index(name) for name in given]
            plans.append(inner.plan(tuple(places[at] for at in order)))
            taken.append(
                tuple((self._place(scope, ref, branch.where), at) for ref, at in inner.taken)
            )
        outputs = []
        for name in given:
            ref = Ref(step.name, name)
            scope.places[ref] = scope.fresh()
            outputs.append(scope.places[ref])
        scope.nodes.append(
            Route(
                *(step.name, self._numbers[step.name], on, choose),
                *(tuple(plans), tuple(taken), tuple(outputs)),
            )
        )
        return given

    def _choose(self, scope: Scope, step: SwitchStep | SplitStep) -> tuple[int, Choose]:
        where = f"{step.where}.{'switch' if isinstance(step, SwitchStep) else 'split'}"
        try:
            if isinstance(step, SwitchStep):
                typed = self._typed(scope, step.on, f"{where}.on")
                whens = [when for when, _ in step.cases]
                choose = by_value(typed, whens, where)
                return self._place(scope, step.on, f"{where}.on"), choose
            if step.key is None:
                return -1, by_weight(None, step.salt, step.weights, where)
            typed = self._typed(scope, step.key, f"{where}.key")
            choose = by_weight(typed, step.salt, step.weights, where)
            return self._place(scope, step.key, f"{where}.key"), choose
        except InvalidError as error:
            raise named(step.name, error, error.field or where) from error

    def _agree(
        self,
        step: SwitchStep | SplitStep,
        branch: Branch,
        given: dict[str, Typed],
        mine: dict[str, Typed],
    ) -> dict[str, Typed]:
        """What all branches so far give alike."""
        where = f"{branch.where}.outputs"
        if given.keys() != mine.keys():
            refuse(
                f"step '{step.name}': this branch gives {', '.join(mine)}, and others give "
                f"{', '.join(given)}: all have to give the same names",
                where,
            )
        found = {}
        for name, one in given.items():
            other = mine[name]
            if one.datatype is not other.datatype or not fits(one.shape, other.shape):
                refuse(
                    f"step '{step.name}': '{name}' is {other.words} in this branch, and "
                    f"{one.words} in others: put a cast or a reshape into one",
                    f"{where}.{name}",
                )
            shape = tuple(
                a if a == b else None for a, b in zip(one.shape, other.shape, strict=True)
            )
            same = one.role is other.role and one.classes == other.classes
            role, classes = (one.role, one.classes) if same else (Role.TENSOR, ())
            found[name] = Typed(one.datatype, shape, role, classes)
        return found

    # -- references

    def _typed(self, scope: Scope, ref: Ref, where: str) -> Typed:
        return self._find_ref(scope, ref, where)[1]

    def _place(self, scope: Scope, ref: Ref, where: str) -> int:
        """Where its value lies in a scope; from now on somebody wants it."""
        full, _ = self._find_ref(scope, ref, where)
        place = scope.places.get(full)
        if place is not None:
            return place
        place = scope.places[full] = scope.fresh()
        if full.step in scope.steps:  # an output of a model, wanted for the first time
            names = [spec.name for spec in self._signatures[full.step].outputs]
            self._wanted[full.step][names.index(full.name)] = place
        else:
            scope.taken.append((full, place))
        return place

    def _find_ref(self, scope: Scope, ref: Ref, where: str) -> tuple[Ref, Typed]:
        if not ref.step:
            found = self._inputs.get(ref.name)
            if found is None:
                told = ", ".join(self._inputs) or "none"
                refuse(f"there is no input '{ref.name}': there is {told}", where)
            return ref, found
        at: Scope | None = scope
        while at is not None and ref.step not in at.steps:
            at = at.outer
        if at is None:
            raise self._no_step(ref, where)
        given = at.given.get(ref.step)
        if given is None:  # a router's branch uses what waits for that router
            refuse(f"step '{ref.step}' waits for the step that this stands in", where)
        if not ref.name:
            if len(given) != 1:
                told = ", ".join(given)
                words = f"step '{ref.step}' gives {told}: write which (steps.{ref.step}.NAME)"
                refuse(words, where)
            ref = Ref(ref.step, next(iter(given)))
        if ref.name not in given:
            words = f"step '{ref.step}' gives no '{ref.name}': it gives {', '.join(given)}"
            refuse(words, where)
        return ref, given[ref.name]

    def _no_step(self, ref: Ref, where: str) -> InvalidError:
        if ref.step in self._numbers:
            words = (
                f"step '{ref.step}' stands inside a branch, and is not seen from here: use what "
                "its router gives"
            )
        else:
            words = f"there is no step '{ref.step}': there is {', '.join(self._numbers) or 'none'}"
        return InvalidError(f"{where}: {words}", field=where)

    # -- the end

    def _all_used(self, graph: Graph) -> None:
        """Refuse what nobody's answer depends on: it would be computed for nothing."""
        used: set[str] = set()
        sent: set[str] = set()
        reach(graph.steps, graph.outputs, used, sent)
        for step in self._steps:
            if step.name not in used:
                refuse(
                    f"step '{step.name}' is not reached: no output depends on it; use it or take "
                    "it out",
                    step.where,
                )
        for place, put in enumerate(graph.inputs):
            if put.name not in sent:
                words = f"nobody uses the input '{put.name}': use it or take it out"
                refuse(words, f"spec.inputs[{place}]")

    def _outer(self, given: list[tuple[str, Typed]]) -> Signature:
        inputs = []
        for name, typed in self._inputs.items():
            plain = TensorSpec(name, typed.datatype, typed.shape)
            spec = typed.spec
            inputs.append(
                plain
                if spec is None
                else replace(plain, categories=spec.categories, allow_nan=spec.allow_nan)
            )
        outputs = tuple(
            TensorSpec(name, typed.datatype, typed.shape, typed.role) for name, typed in given
        )
        classes = next((t.classes for _, t in given if t.role is Role.PROBABILITIES), ())
        if not classes:
            classes = next((t.classes for _, t in given if t.classes), ())
        layout, features = self._rows()
        return Signature(tuple(inputs), outputs, layout, features, classes)

    def _rows(self) -> tuple[Layout, tuple[str, ...]]:
        """How plain rows become inputs: as the one model has it that takes the only input."""
        if len(self._inputs) == 1:
            for step in self._asked:
                signature = self._signatures[step.name]
                alone = len(step.inputs) == 1 and not step.inputs[0][1].step
                if alone and signature.layout is Layout.MATRIX:
                    return Layout.MATRIX, signature.features
        return Layout.TENSORS, ()


def named(step: str, error: ModelworksError, where: str | None = None) -> ModelworksError:
    """The same error, with the step that it comes from."""
    begin = f"step '{step}': "
    words = error.message
    words = words if words.startswith("step '") else begin + words
    made = type(error).__new__(type(error))
    made.__dict__.update(error.__dict__)
    made.args = (words,)
    made.message = words
    if where is not None:
        made.field = where
    return made


def same_tensors(one: Signature, other: Signature) -> bool:
    """Whether callers of the one are served by the other: equal names, datatypes and shapes."""
    return _told(one.inputs) == _told(other.inputs) and _told(one.outputs) == _told(other.outputs)


def _told(specs: tuple[TensorSpec, ...]) -> list[tuple[object, ...]]:
    return [(spec.name, spec.datatype, spec.shape) for spec in specs]


def _closer(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Every axis as far as either knows it."""
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))
