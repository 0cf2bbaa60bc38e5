"""The seam of brokers: messages that ask, and where their answers go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """A message that asks.

    Attributes:
        id: that its answer carries as `correlation-id`: as its sender said, else the broker's own.
        data: an inference request, or rows.
        headers: lower-case name -> value.
        subject: where it came from.
        reply: where its sender wants the answer; empty = where all answers go.
        tries: how often it came before.
        token: what the broker knows it by; nobody else's business.
    """

    id: str
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    reply: str = ""
    tries: int = 0
    token: Any = None


class EventBus(Protocol):
    """A broker (group `modelworks.events`)."""

    name: ClassVar[str]
    extra: ClassVar[str]  # the pip extra that brings its library
    experimental: ClassVar[bool]
    settings: ClassVar[Mapping[str, str]]  # name -> meaning

    def open(self, settings: Mapping[str, str], most: int) -> "OpenEvents":
        """Reach it, and listen.

        Args:
            settings: see `settings`.
            most: messages that may be under way at once; the broker hands over no more.

        Raises:
            InvalidError: a setting that cannot be; `field` names it.
            UnavailableError: nobody answers there.
        """
        ...


class OpenEvents(Protocol):
    """A broker, reached. `take` is called by one thread, the others by any.

    A message that is neither answered nor refused when the process ends comes again: so each is
    answered at least once, and a second answer carries the same `correlation-id`.
    """

    def take(self, most: int, seconds: float) -> Sequence[Event]:
        """The next messages; none where none came within `seconds`.

        Raises:
            UnavailableError: the broker is away; it is looked for again meanwhile.
        """
        ...

    def answer(self, event: Event, data: bytes, headers: Mapping[str, str]) -> None:
        """Publish an answer, and only when the broker has it acknowledge the message.

        Raises:
            UnavailableError: the broker is away.
        """
        ...

    def refuse(self, event: Event, reason: str) -> None:
        """Publish the message itself where the dead go, with the reason; then acknowledge it.

        Raises:
            UnavailableError: the broker is away.
        """
        ...

    def keep(self, event: Event) -> None:
        """It is still worked on: the broker is not to hand it to somebody else. Never raises."""
        ...

    def close(self) -> None:
        """Let go; what was not acknowledged comes again. Twice is quiet."""
        ...
