"""One request and its whole answer, for what a benchmark asks besides its load."""

import json
import time
from dataclasses import dataclass
from typing import Any, Final

from modelworks.core.errors import DeadlineError, InvalidError, UnavailableError
from modelworks.measure.link import RECEIVE, Link
from modelworks.measure.message import request_bytes
from modelworks.measure.target import Target

_LARGEST: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: three digits.
        body: its bytes.
        json_length: of `Inference-Header-Content-Length`; -1 = not there.
    """

    status: int
    body: bytes
    json_length: int = -1

    @property
    def good(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """What the server said, short enough for a message."""
        try:
            data = json.loads(self.body)
        except ValueError:
            data = None
        said = data.get("error") or data.get("detail") if isinstance(data, dict) else None
        text = said if isinstance(said, str) else self.body[:200].decode(errors="replace")
        return f"{self.status} {text}".strip()[:300]


def exchange(target: Target, request: bytes, seconds: float = 30.0) -> Answer:
    """Send one request on a connection of its own.

    Args:
        target: where to.
        request: the whole of it.
        seconds: for the whole exchange.

    Raises:
        UnavailableError: nothing listens there, or it hung up.
        DeadlineError: no answer in time.
        InvalidError: what answers speaks no HTTP/1.
    """
    end = time.monotonic() + seconds
    with target.connect(target.context(), min(seconds, 5.0)) as opened:
        link = Link(opened)
        link.kept = []
        link.begin()
        opened.settimeout(seconds)
        try:
            opened.sendall(request)
            size, whole = 0, False
            while not whole:
                opened.settimeout(max(0.001, end - time.monotonic()))
                data = opened.recv(RECEIVE)
                if not data:
                    break
                size += len(data)
                if size > _LARGEST:
                    break
                whole = link.feed(data)
        except TimeoutError as error:
            raise DeadlineError(f"{target.url}: no answer within {seconds:g} s") from error
        except OSError as error:
            raise UnavailableError(f"{target.url}: the connection broke: {error}") from error
        except InvalidError as error:
            raise InvalidError(f"{target.url}: {error.message}") from error
        if size > _LARGEST:
            raise InvalidError(f"{target.url}: an answer of over 256 MB")
        if link.head is None or not (whole or link.finished_by_closing()):
            raise UnavailableError(f"{target.url}: the server hung up before its answer")
        return Answer(link.head.status, b"".join(link.kept), link.head.json_length)


def get_json(target: Target, seconds: float = 5.0) -> Any:
    """The JSON of a GET; None where it is not answered with 2xx and JSON.

    Raises:
        UnavailableError: nothing listens there.
    """
    answer = exchange(target, request_bytes(target, method="GET"), seconds)
    if not answer.good:
        return None
    try:
        return json.loads(answer.body)
    except ValueError:
        return None
