"""One exchange on a connection of HTTP/2: what a client sends, and what must happen."""

from dataclasses import dataclass

from http2_wire import OPEN

CALM, CLOSED, COMPRESSION = "ENHANCE_YOUR_CALM", "STREAM_CLOSED", "COMPRESSION_ERROR"
FLOW, PROTOCOL, SIZE = "FLOW_CONTROL_ERROR", "PROTOCOL_ERROR", "FRAME_SIZE_ERROR"


@dataclass(frozen=True)
class Case:
    """Frames, and what they lead to.

    Attributes:
        group: heading on the page.
        title: what is sent.
        data: after the preface and empty SETTINGS, or with them where `first`.
        events: statuses of answers, RST_STREAM and GOAWAY with their codes, in order. Behind a
            GOAWAY the connection is closed; else it goes on.
        handled: requests that reach the application; -1 = any number, and before the last event
            there may be others.
        first: the data begins the connection.
    """

    group: str
    title: str
    data: bytes
    events: tuple[str, ...]
    handled: int = 0
    first: bool = False

    @property
    def sent(self) -> bytes:
        """From the first byte of the connection on."""
        return self.data if self.first else OPEN + self.data


@dataclass(frozen=True)
class Timed:
    """In which time, or what is not sent, matters: a test of its own.

    Attributes:
        title: what the client does.
        outcome: what happens.
        test: its name.
    """

    title: str
    outcome: str
    test: str


def goaway(group: str, code: str, cases: dict[str, bytes], *, first=False) -> tuple[Case, ...]:
    """Cases that end the connection."""
    events = (f"GOAWAY {code}",)
    return tuple(Case(group, title, sent, events, first=first) for title, sent in cases.items())


def ended(group: str, code: str, cases: dict[str, bytes]) -> tuple[Case, ...]:
    """Cases that end their stream."""
    events = (f"RST_STREAM {code}",)
    return tuple(Case(group, title, sent, events) for title, sent in cases.items())
