"""The open sequences of one model: bounded in number, bytes and idle time. Pure, told the time."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final

from modelworks.core.errors import UnavailableError
from modelworks.core.stateful import Sequences

_OVERHEAD: Final = 1500
"""Bytes that an open sequence takes beside its states; measured with tracemalloc."""
_ARRAY: Final = 128


class Sequence:
    """One.

    Attributes:
        anew: it was begun anew where another version has the name: gone when nobody waits for it.
        id: as the caller says it.
        states: input name -> array; None = its first request was not answered yet.
        turn: the request that is being computed; None = none is.
        line: requests that came after it.
        used: when it was asked or answered last, on the table's clock.
        bytes: that it is counted with.
    """

    __slots__ = ("anew", "bytes", "id", "line", "states", "turn", "used")

    def __init__(self, key: int | str, now: float) -> None:
        self.anew = False
        self.id = key
        self.states: Mapping[str, Any] | None = None
        self.turn: Any = None
        self.line: deque[Any] = deque()
        self.used = now
        self.bytes = 0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self.turn is not None or bool(self.line)


class Table:
    """All of one model.

    Args:
        limits: as declared.
        first: bytes of the states that a sequence begins with.

    Attributes:
        bytes: that all take.
    """

    __slots__ = ("_first", "_limits", "_open", "bytes")

    def __init__(self, limits: Sequences, first: int) -> None:
        self._limits = limits
        self._first = first
        self._open: OrderedDict[int | str, Sequence] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def get(self, key: int | str) -> Sequence | None:
        """The sequence of that id."""
        return self._open.get(key)

    def open(self, key: int | str, now: float) -> Sequence:
        """Begin one.

        Raises:
            UnavailableError: there are as many as may be, or their states leave no room.
        """
        limits = self._limits
        if len(self._open) >= limits.max:
            raise UnavailableError(
                f"{len(self._open)} sequences are open, and no more may be: end one, or wait until "
                f"one was idle for {limits.idle_s:g} s",
                field="parameters.sequence_id",
            )
        sequence = Sequence(key, now)
        sequence.bytes = _OVERHEAD + self._first
        if self.bytes + sequence.bytes > limits.max_bytes:
            raise UnavailableError(
                f"the states of {len(self._open)} sequences take {self.bytes} bytes of at most "
                f"{limits.max_bytes}: end one, or wait until one was idle for {limits.idle_s:g} s",
                field="parameters.sequence_id",
            )
        self.bytes += sequence.bytes
        self._open[key] = sequence
        return sequence

    def keep(self, sequence: Sequence, states: Mapping[str, Any]) -> bool:
        """Remember its states; False = they take too much, and nothing has changed."""
        size = _OVERHEAD + sum(_ARRAY + array.nbytes for array in states.values())
        if self.bytes - sequence.bytes + size > self._limits.max_bytes:
            return False
        self.bytes += size - sequence.bytes
        sequence.bytes = size
        sequence.states = states
        return True

    def touch(self, sequence: Sequence, now: float) -> None:
        """It was asked for."""
        sequence.used = now
        self._open.move_to_end(sequence.id)

    def forget(self, sequence: Sequence) -> None:
        """Let go of it; twice is quiet."""
        if self._open.get(sequence.id) is sequence:
            del self._open[sequence.id]
            self.bytes -= sequence.bytes

    def idle(self, now: float) -> list[Sequence]:
        """Those that nobody asked for too long, and for which nobody waits."""
        until = now - self._limits.idle_s
        found = []
        for sequence in self._open.values():
            if sequence.used > until:
                break
            if not sequence.busy:
                found.append(sequence)
        return found

    def next_look(self, now: float) -> float | None:
        """In how many seconds the oldest one may be idle too long; None = none is open."""
        for sequence in self._open.values():
            return max(0.0, sequence.used + self._limits.idle_s - now)
        return None

    def all(self) -> list[Sequence]:
        """Every open one."""
        return list(self._open.values())
