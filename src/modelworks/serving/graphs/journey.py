"""One request on its way through a graph: who waits for whom, what is there, what went wrong.

No task and no future: a step that asks a model is a member of that model's queue, and its answer
sets free whoever waited for it.
"""

import logging
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError, UnavailableError
from modelworks.core.tensor import Tensors
from modelworks.protocol.graphs.plans import Ask, Node, Operate, Plan, Route
from modelworks.serving.batcher import Member
from modelworks.serving.graphs.bound import Bound, Steps, misshapen, of_step
from modelworks.serving.graphs.drive import Drive
from modelworks.serving.graphs.forks import Fork, parted
from modelworks.serving.infer import outcome_of
from modelworks.serving.statistics import Outcome

_log = logging.getLogger("modelworks.serving")
Lap = tuple[str, int, int]


class Journey:
    """Of one request.

    Args:
        member: of the graph's own queue.
        bound: the graph's models now; the list changes where a model is replaced.
        steps: counts.
        drive: hands members on.
        ended: told the outputs, or why there are none.

    Attributes:
        driven: a model's call is being answered, at whose end the drive is told.
        over: it was answered, or nobody wants it any more.
        laps: what each step took; None = nobody asks.
        waiting: its members in models' queues, or in their calls.
    """

    __slots__ = (
        *("_ended", "began", "bound", "drive", "laps", "member", "driven", "over", "steps"),
        "waiting",
    )

    def __init__(
        self,
        member: Member,
        bound: Sequence[Bound | None],
        steps: Steps,
        drive: Drive,
        ended: Callable[["Journey", Sequence[Any], ModelworksError | None], None],
    ) -> None:
        self.member = member
        self.bound = bound
        self.steps = steps
        self.drive = drive
        self.over = False
        self.driven = False
        self.laps: list[Lap] | None = None
        self.waiting: set[StepMember] = set()
        self.began = perf_counter_ns()
        self._ended = ended

    def begin(self, plan: Plan, values: list[Any], rows: int) -> None:
        """Set out. The first models are asked in the loop's next turn, with who else comes.

        Args:
            plan: of the graph.
            values: its inputs, in the order of the plan's first places; gets all other tensors.
            rows: how many.
        """
        values += [None] * (plan.places - len(values))
        Scope(self, plan, values, rows, self._arrived).go(plan.first)

    def _arrived(self, outputs: Sequence[Any]) -> None:
        self.over = True
        self._ended(self, outputs, None)

    def fail(self, step: str, number: int, error: Exception) -> None:
        """A step failed: so does the request; its other steps leave their queues."""
        if self.over:
            return
        if not isinstance(error, ModelworksError):
            _log.error("step '%s' of a graph failed", step, exc_info=error)
            error = CrashedError(f"it failed: {type(error).__name__}; the server's log says where")
        self.steps.failed(number)
        self.leave()
        self._ended(self, (), of_step(step, error))

    def leave(self) -> None:
        """Nobody wants it any more: leave every queue alone, harm no neighbour."""
        self.over = True
        members, self.waiting = self.waiting, set()
        for member in members:
            member.leave()

    def lap(self, name: str, since: int, now: int) -> None:
        """Note what a step took, where somebody asks."""
        if self.laps is not None:
            self.laps.append((name, since, now))


class Scope:
    """The steps of a graph, or of a branch, for some rows of a request.

    Args:
        journey: of the request.
        plan: the steps.
        values: tensors by place; those that come from outside are there.
        rows: how many.
        told: gets the outputs.
    """

    __slots__ = ("_left", "_missing", "_told", "journey", "plan", "rows", "values")

    def __init__(
        self,
        journey: Journey,
        plan: Plan,
        values: list[Any],
        rows: int,
        told: Callable[[Sequence[Any]], None],
    ) -> None:
        self.journey = journey
        self.plan = plan
        self.values = values
        self.rows = rows
        self._told = told
        self._left = list(plan.waits)
        self._missing = len(plan.nodes)

    def go(self, ready: Sequence[int]) -> None:
        """Begin these steps, and whatever can begin when they are done."""
        nodes, journey = self.plan.nodes, self.journey
        todo = list(ready)
        for at in todo:  # it grows meanwhile
            if journey.over:
                return
            node = nodes[at]
            try:
                if isinstance(node, Ask):
                    self._ask(node, at)
                elif self._run(node, at):
                    todo += self._freed(at)
            except Exception as error:  # noqa: BLE001 - one request's trouble is not its neighbours'
                journey.fail(node.name, node.step, error)
                return
        if not self._missing and not journey.over:
            values = self.values
            self._missing = -1
            self._told([values[place] for place in self.plan.outputs])

    def arrived(self, at: int) -> None:
        """The tensors of a step are there."""
        ready = self._freed(at)
        if ready or not self._missing:
            self.go(ready)

    def _freed(self, at: int) -> list[int]:
        """Who can begin now that a step is done."""
        self._missing -= 1
        left = self._left
        ready = []
        for other in self.plan.after[at]:
            left[other] -= 1
            if not left[other]:
                ready.append(other)
        return ready

    def _run(self, node: Operate | Route, at: int) -> bool:
        """Run a step that asks no model itself; True = it is done."""
        began = perf_counter_ns()
        if type(node) is Operate:
            self._operate(node)
        elif type(node) is Route and not self._route(node, at, began):
            return False
        self._took(node, began)
        return True

    def _took(self, node: Node, began: int) -> None:
        journey, now = self.journey, perf_counter_ns()
        journey.steps.done(node.step, self.rows, now - began)
        if journey.laps is not None:
            journey.lap(node.name, began, now)

    def _operate(self, node: Operate) -> None:
        values, rows = self.values, self.rows
        made = node.run([values[place] for place in node.inputs])
        for place, array in zip(node.outputs, made, strict=True):
            if misshapen(array, rows):
                raise CrashedError(f"it made {list(array.shape)} of {rows} rows")
            values[place] = array

    def _ask(self, node: Ask, at: int) -> None:
        journey, values = self.journey, self.values
        bound = journey.bound[node.model]
        if bound is None:
            raise UnavailableError("its model was unloaded; try again")
        inputs = {name: values[place] for name, place in node.inputs}
        for name, place, wanted in node.loose:
            shape = values[place].shape
            if len(shape) != 1 + len(wanted) or any(
                w is not None and g != w for g, w in zip(shape[1:], wanted, strict=True)
            ):
                raise InvalidError(
                    f"'{name}' is {list(shape[1:])} a row, and the model takes {list(wanted)}"
                )
        live = bound.live
        if live.checks is not None:
            live.checks.check(inputs)
        member = StepMember(self, node, at, bound, inputs)
        journey.waiting.add(member)
        try:
            if journey.driven:
                journey.drive.put(live.batcher, member)
            else:
                live.batcher.submit(member)
        except ModelworksError as error:
            journey.waiting.discard(member)
            live.recorder.ended(outcome_of(error), 0)
            raise

    def _route(self, node: Route, at: int, began: int) -> bool:
        """Send the rows to their branches; True = all of them are back already."""
        on = self.values[node.on] if node.on >= 0 else None
        if on is not None and on.size != self.rows:
            raise InvalidError(f"what decides is {list(on.shape)}: not one value a row")
        chosen = node.choose(on, self.rows)
        fork = Fork(parted(chosen, self.rows), self.rows)

        def back(outputs: Sequence[Any]) -> None:
            for place, array in zip(node.outputs, outputs, strict=True):
                self.values[place] = array
            if fork.begun:
                self._took(node, began)
                self.arrived(at)

        for number, (branch, rows) in enumerate(fork.parts):
            if self.journey.over:
                break
            self._branch(node, branch, rows, fork.taker(number, back))
        if self.journey.over:
            return False
        fork.begun = True
        return fork.complete

    def _branch(
        self, node: Route, branch: int, rows: Any, told: Callable[[Sequence[Any]], None]
    ) -> None:
        plan = node.branches[branch]
        values: list[Any] = [None] * plan.places
        for mine, theirs in node.taken[branch]:
            array = self.values[mine]
            values[theirs] = array if rows is None else array[rows]
        count = self.rows if rows is None else len(rows)

        def taken(outputs: Sequence[Any]) -> None:
            try:
                told(outputs)
            except Exception as error:  # noqa: BLE001 - the same as where steps begin
                self.journey.fail(node.name, node.step, error)

        Scope(self.journey, plan, values, count, taken).go(plan.first)


class StepMember(Member):
    """A step in the queue of its model."""

    __slots__ = ("_at", "_bound", "_node", "_scope")

    def __init__(self, scope: Scope, node: Ask, at: int, bound: Bound, inputs: Tensors) -> None:
        # What `Member` does, written out: a call less a step.
        live = bound.live
        self.inputs = inputs
        self.rows = scope.rows if live.batched else 1
        self.shape = None if live.one_shape else live.shape_of(inputs)
        self.received_ns = self.queued_ns = perf_counter_ns()
        self.deadline_ns = scope.journey.member.deadline_ns
        self.waiting = False
        self.timer = None
        self._scope = scope
        self._node = node
        self._at = at
        self._bound = bound

    @property
    def priority(self) -> int:
        """That of the request, as far as the model knows priorities."""
        return min(self._scope.journey.member.priority, self._bound.levels)

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`."""
        scope = self._scope
        journey = scope.journey
        if journey.over:
            return
        journey.waiting.discard(self)
        bound, values, rows, node = self._bound, scope.values, scope.rows, self._node
        for place, target in bound.wanted:
            array = outputs[place]
            if array.shape[:1] != (rows,):
                words = f"the model gave {list(array.shape)} for {rows} rows"
                journey.fail(node.name, node.step, CrashedError(words))
                return
            values[target] = array.copy() if bound.copied else array
        now = perf_counter_ns()
        journey.steps.done(node.step, rows, now - self.received_ns)
        if journey.laps is not None:
            journey.lap(node.name, self.received_ns, now)
        journey.driven = bound.direct
        scope.arrived(self._at)
        journey.driven = False

    def fail(self, error: ModelworksError) -> None:
        """See `Member.fail`: the model counts it as one of its own, the graph names the step."""
        recorder = self._bound.live.recorder
        recorder.ended(outcome_of(error), perf_counter_ns() - self.received_ns)
        journey = self._scope.journey
        journey.waiting.discard(self)
        journey.fail(self._node.name, self._node.step, error)

    def leave(self) -> None:
        """Out of the queue, where it still waits."""
        if self.waiting:
            live = self._bound.live
            live.batcher.cancel(self)
            live.recorder.ended(Outcome.CANCELLED, 0)
