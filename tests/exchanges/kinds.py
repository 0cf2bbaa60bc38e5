"""One exchange: what a client sends, and what must come back."""

import zlib
from dataclasses import dataclass

from modelworks.edge.limits import Limits

LIMITS = Limits(
    max_body_bytes=4096,
    max_inflated_bytes=8192,
    header_timeout_s=0.6,
    body_timeout_s=0.6,
    idle_timeout_s=1.2,
)
"""For which the exchanges are made; `SETTINGS` says the same to a server's command line."""
SETTINGS = (
    *("--max-body", "4096", "--max-inflated", "8192"),
    *("--header-seconds", "0.6", "--body-seconds", "0.6", "--idle-seconds", "1.2"),
)
H = b"Host: a\r\n"
GET = b"GET /ok HTTP/1.1\r\n" + H
POST = b"POST /ok HTTP/1.1\r\n" + H
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Bad:
    """Bytes that must be refused.

    Attributes:
        group: heading on the page.
        title: what is wrong with it.
        data: all that the client sends before it closes its side.
        status: of the refusal, behind which the connection is closed.
        handled: requests before it in the stream that are answered 200.
    """

    group: str
    title: str
    data: bytes
    status: int
    handled: int = 0

    @property
    def answers(self) -> list[int]:
        """The statuses of all answers."""
        return [200] * self.handled + [self.status]


@dataclass(frozen=True)
class Good:
    """Bytes that must be served.

    Attributes:
        title: what is uncommon about it.
        data: all that the client sends before it closes its side.
        statuses: of the answers, `100 Continue` left out.
    """

    title: str
    data: bytes
    statuses: tuple[int, ...] = (200,)


@dataclass(frozen=True)
class Timed:
    """A course of events that a test plays; named here for the page.

    Attributes:
        title: what the client does.
        outcome: what it gets.
        test: the function that plays it.
    """

    title: str
    outcome: str
    test: str


def sized(body: bytes, *headers: bytes) -> bytes:
    """A POST with its Content-Length and further header lines."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return POST + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunks(body: bytes, *headers: bytes) -> bytes:
    """The same in one chunk."""
    lines = b"".join(header + b"\r\n" for header in headers)
    head = POST + lines + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (len(body), body) + END


def zipped(body: bytes) -> bytes:
    """In gzip."""
    maker = zlib.compressobj(wbits=31)
    return maker.compress(body) + maker.flush()


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers in a stream, cut by Content-Length."""
    found = []
    while answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        found.append(status)
        if status == 100:
            continue
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        answer = answer[length:]
    return found
