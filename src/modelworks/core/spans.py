"""What is told of one traced request, from the server to whoever exports it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Call:
    """The engine call that answered a request. Times are UTC nanoseconds.

    Attributes:
        rows: of the whole batch.
        queued: the request was decoded.
        started: the batch began.
        joined: its inputs were made.
        inferred: the engine was done.
        laps: steps around the model and the model itself: name, begin, end.
    """

    rows: int
    queued: int
    started: int
    joined: int
    inferred: int
    laps: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Traced:
    """One request whose caller keeps a trace of it. Times are UTC nanoseconds.

    Attributes:
        trace: its id, 32 hexadecimal digits.
        parent: the caller's span, 16 hexadecimal digits.
        state: `tracestate` as it came.
        method: of HTTP.
        path: without the query.
        status: of HTTP.
        begin: it was complete.
        end: it was answered.
        size: bytes of its body.
        model: that answered; empty = none did.
        version: of it.
        request_id: `X-Request-Id`; empty = none came.
        scheme: `http` or `https`.
        call: that answered it; None = it was refused, or is no prediction.
    """

    trace: str
    parent: str
    state: str
    method: str
    path: str
    status: int
    begin: int
    end: int
    size: int
    model: str = ""
    version: str = ""
    request_id: str = ""
    scheme: str = "http"
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Metrics at one time, as `protocol.openmetrics` has them, in plain types.

    Attributes:
        at: UTC nanoseconds.
        started: when everything that is counted began at 0.
        families: name, kind, text, and groups of points (suffix, labels, value).
    """

    at: int
    started: int
    families: Sequence[tuple[str, str, str, Sequence[Sequence[tuple[str, Mapping[str, str], Any]]]]]


class Exporter(Protocol):
    """Sends to a collector; entry points `modelworks.exporters`. Used by one thread."""

    extra: ClassVar[str]
    experimental: ClassVar[bool]

    def open(self, endpoint: str, resource: Mapping[str, str], seconds: float) -> None:
        """Where to send to, as whom, and how long one sending may take.

        Raises:
            InvalidError: no endpoint.
        """
        ...

    def spans(self, traced: Sequence[Traced]) -> bool:
        """Send them; False = they were not taken."""
        ...

    def metrics(self, measured: Measured) -> bool:
        """The same."""
        ...
