"""One engine call for several members: joined along the batch axis, checked, taken apart again."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from time import perf_counter_ns
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from modelworks.core.errors import CrashedError, ModelworksError
from modelworks.core.seams import Session
from modelworks.core.tensor import Tensors


class Cut(StrEnum):
    """Why a batch was not larger."""

    IDLE = "idle"  # nobody else waited and no delay was asked for
    DELAY = "delay"  # the delay was over
    ALONE = "alone"  # there was a delay, and nobody else was expected within it
    FULL = "full"  # the batch had reached its greatest size
    ROOM = "room"  # the next request's rows did not fit behind the others
    SHAPE = "shape"  # those who waited had inputs of other shapes
    PRIORITY = "priority"  # those who waited were of a lower priority
    DEADLINE = "deadline"  # waiting longer would have missed a member's deadline
    SINGLE = "single"  # the model is not batched
    RETRY = "retry"  # the batch had failed: each of its members ran alone


class HasInputs(Protocol):
    """What `execute` reads of a member."""

    @property
    def inputs(self) -> Tensors:
        """Input name -> array."""

    @property
    def rows(self) -> int:
        """Length of the batch axis."""


M = TypeVar("M", bound=HasInputs)


class Ran(Generic[M]):
    """One engine call and whom it answers. Times are of `perf_counter_ns`.

    Attributes:
        members: who was in it.
        results: one array an output, of all members; empty where it failed.
        error: why it failed.
        rows: items computed together.
        started: before the inputs were joined.
        joined: before the engine ran: what lies before is the making of its inputs.
        inferred: after the engine ran.
        cut: why it was not larger.
    """

    __slots__ = ("cut", "error", "inferred", "joined", "members", "results", "rows", "started")

    def __init__(  # noqa: PLR0913, PLR0917 - a record; a dataclass with slots cannot be compiled
        self,
        members: list[M],
        results: Sequence[Any],
        error: ModelworksError | None,
        rows: int,
        started: int,
        joined: int,
        inferred: int,
        cut: Cut = Cut.IDLE,
    ) -> None:
        self.members = members
        self.results = results
        self.error = error
        self.rows = rows
        self.started = started
        self.joined = joined
        self.inferred = inferred
        self.cut = cut

    @property
    def gathered(self) -> bool:
        """Whether there were inputs: what failed, if it did, was the engine."""
        return self.joined != self.started

    def each(self) -> Iterator[tuple[M, Sequence[Any]]]:
        """Every member with its rows of the outputs."""
        if len(self.members) == 1:
            yield self.members[0], self.results
            return
        start = 0
        for member in self.members:
            end = start + member.rows
            yield member, [array[start:end] for array in self.results]
            start = end


def joined(members: Sequence[HasInputs]) -> Tensors:
    """The members' inputs behind each other along the batch axis."""
    if len(members) == 1:
        return members[0].inputs
    every = [member.inputs for member in members]
    return {name: np.concatenate([i[name] for i in every]) for name in every[0]}


def execute(
    session: Session, members: list[M], gather: Callable[[list[M]], Tensors] = joined
) -> list[Ran[M]]:
    """Run `members` as one batch; if that fails, each alone, so that only the culprit pays.

    Args:
        session: of the model.
        members: at least one.
        gather: makes one set of inputs of the members'; may raise for a member's fault.

    Returns:
        One `Ran`, or where a batch of several failed, one a member.
    """
    ran = _run(session, members, gather)
    if ran.error is None or len(members) == 1:
        return [ran]
    if ran.gathered:
        return [_run(session, [member], gather, Cut.RETRY) for member in members]
    bad = [member for member in members if _spoils(member, gather)]
    good = [member for member in members if member not in bad]
    refused = [_run(session, [member], gather, Cut.RETRY) for member in bad or members]
    return refused + (execute(session, good, gather) if bad and good else [])


def _spoils(member: M, gather: Callable[[list[M]], Tensors]) -> bool:
    """Whether a member has no inputs to give."""
    try:
        gather([member])
    except Exception:  # noqa: BLE001 - it is told when the member is run
        return True
    return False


def _run(
    session: Session,
    members: list[M],
    gather: Callable[[list[M]], Tensors],
    cut: Cut = Cut.IDLE,
) -> Ran[M]:
    started = gathered = perf_counter_ns()
    results: Sequence[Any] = ()
    error: ModelworksError | None = None
    alone = len(members) == 1
    rows = members[0].rows if alone else sum([member.rows for member in members])
    try:
        inputs = gather(members)
        gathered = perf_counter_ns()
        results = session.infer(inputs)
        if cut is Cut.RETRY:  # others run before it is answered, perhaps on the same tensors
            results = [array.copy() for array in results]
        if not alone:
            _check(results, rows)
    except ModelworksError as problem:
        error = problem
    except Exception as problem:  # noqa: BLE001 - a plug-in's bug must not stop the queue
        error = CrashedError(f"the engine failed: {type(problem).__name__}: {problem}"[:300])
    return Ran(members, results, error, rows, started, gathered, perf_counter_ns(), cut)


def _check(results: Sequence[Any], rows: int) -> None:
    """Refuse outputs that have not one row an input row: nobody knows whose rows are whose."""
    for array in results:
        if array.shape[:1] != (rows,):
            raise CrashedError(
                f"the model gave an output of shape {list(array.shape)} for a batch of {rows} rows"
            )
