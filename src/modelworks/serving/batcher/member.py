"""One request on its way through a batcher, and how it gets its answer or its refusal."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from time import perf_counter_ns
from typing import Any, ClassVar, TypeAlias

from mypy_extensions import mypyc_attr

from modelworks.core.errors import CrashedError, ModelworksError
from modelworks.core.stateful import Step
from modelworks.core.tensor import Tensors
from modelworks.serving.execute import Ran

_log = logging.getLogger("modelworks.serving")


@mypyc_attr(allow_interpreted_subclasses=True)
class Member(ABC):
    """One request on its way through a batcher.

    Attributes:
        inputs: input name -> array.
        rows: items it counts for, 1 or more; 1 where requests are not batched.
        shape: members of equal shapes may share a batch.
        received_ns: when its bytes were complete, on `perf_counter_ns`'s clock.
        queued_ns: when it was decoded, same clock.
        deadline_ns: same clock; 0 = none.
        expected_ns: the wait that was foretold to it; set where it has a deadline.
        waiting: in the queue, not yet taken.
        priority: 1 goes first; 0 = it says nothing. Read only where a model has levels.
        sequence: which one it belongs to. Read only where a model keeps sequences.
        keeps: its answer may be kept for others. Read only where a model has a cache.
    """

    keeps: ClassVar[bool] = True

    __slots__ = (
        *("deadline_ns", "expected_ns", "inputs", "queued_ns", "received_ns", "rows", "shape"),
        *("timer", "waiting"),
    )

    expected_ns: float

    def __init__(
        self, inputs: Tensors, rows: int, shape: Hashable, received_ns: int, deadline_ns: int = 0
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.shape = shape
        self.received_ns = received_ns
        self.queued_ns = perf_counter_ns()
        self.deadline_ns = deadline_ns
        self.waiting = False
        self.timer: asyncio.TimerHandle | None = None

    @property
    def priority(self) -> int:
        """1 goes first; 0 = it says nothing, and goes last."""
        return 0

    @property
    def sequence(self) -> Step | None:
        """None = of none."""
        return None

    def decode(self) -> None:  # noqa: B027 - most have theirs from the beginning
        """Make the inputs, where that was put off.

        Raises:
            InvalidError: they are not what the model takes.
        """

    @abstractmethod
    def succeed(self, outputs: Sequence[Any]) -> None:
        """Take the outputs: this member's rows only."""

    @abstractmethod
    def fail(self, error: ModelworksError) -> None:
        """Take the error instead of an answer."""


Call: TypeAlias = Ran[Member]


def answer_each(call: Call) -> None:
    """Give every member its rows."""
    for member, outputs in call.each():
        deliver(member, outputs)


def deliver(member: Member, outputs: Sequence[Any]) -> None:
    """Give a member its rows; what goes wrong there stays there."""
    try:
        member.succeed(outputs)
    except Exception as error:  # noqa: BLE001 - one answer's trouble is not its neighbours'
        if not isinstance(error, ModelworksError):
            _log.exception("an answer could not be written")
            error = CrashedError("the answer could not be written; the server's log says why")
        refuse(member, error)


def refuse(member: Member, error: ModelworksError) -> None:
    """Give a member the error."""
    try:
        member.fail(error)
    except Exception:  # noqa: BLE001 - the same
        _log.exception("a refusal could not be written")
