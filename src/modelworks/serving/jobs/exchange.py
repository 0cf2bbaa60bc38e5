"""A job's request as the models' code takes every request; its answer goes into the file."""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

import orjson

from modelworks.core.errors import UnsupportedError
from modelworks.core.jobs import JobState
from modelworks.edge.exchange import Headers
from modelworks.edge.trace import TraceContext
from modelworks.serving.jobs.rows import Claimed, Ending

if TYPE_CHECKING:
    from modelworks.edge.exchange import Stream

_LATER = frozenset({429, 503, 504})  # the same request may succeed later


class JobExchange:
    """Fulfils `edge.exchange.Exchange`.

    Args:
        job: that runs.
        path: of the request.
        ended: told of the answer, once.

    Attributes:
        later: the answer says that the same request may succeed later.
    """

    def __init__(
        self, job: Claimed, path: bytes, ended: Callable[["JobExchange", Ending], None]
    ) -> None:
        self.job = job
        self.method = b"POST"
        self.path = path
        self.query = b""
        self.headers = {k.encode("latin-1"): v.encode("latin-1") for k, v in job.headers.items()}
        self.body = job.body or b""
        self.received_ns = perf_counter_ns()
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.later = False
        self._ended: Callable[[JobExchange, Ending], None] | None = ended
        self._timer: asyncio.TimerHandle | None = None

    @property
    def trace(self) -> TraceContext | None:
        """None: whoever submitted it has been answered."""
        return None

    @property
    def request_id(self) -> str:
        """That of the submission, else the job's own."""
        return self.job.headers.get("x-request-id", "") or self.job.id

    @property
    def answered(self) -> bool:
        """Whether it has its answer."""
        return self._ended is None

    def within(self, seconds: float) -> None:
        """Give it up after so many seconds."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self.late)

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """Take the answer."""
        told, self._ended = self._ended, None
        self.on_gone = None
        if self._timer is not None:
            self._timer.cancel()
        if told is None:
            return
        self.later = status in _LATER
        good = 200 <= status < 300
        error = "" if good else _said(body)
        told(
            self,
            Ending(
                self.job.seq,
                self.job.attempt,
                JobState.DONE if good else JobState.FAILED,
                status,
                error,
                bytes(body),
                content_type.decode("latin-1"),
                {name.decode("latin-1"): value.decode("latin-1") for name, value in headers},
            ),
        )

    def stream(self, status: int, content_type: bytes, headers: Headers = ()) -> "Stream":
        """Refuse: a job's answer is whole.

        Raises:
            UnsupportedError: always; jobs are given to inference only, which does not ask.
        """
        raise UnsupportedError(f"a job's answer is whole ({status} {content_type!r} {headers})")

    def leave(self) -> None:
        """Nobody wants the answer any more: it leaves the queue, where it still waits."""
        self.gone, self._ended = True, None
        if self._timer is not None:
            self._timer.cancel()
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    def late(self) -> None:
        """Its time is over."""
        told = self._ended
        self.leave()
        if told is not None:
            why = "the job's deadline was over before its model answered"
            told(self, Ending(self.job.seq, self.job.attempt, JobState.EXPIRED, 504, why))


def _said(body: bytes) -> str:
    """What an error's body says."""
    try:
        told = orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        told = body[:1000].decode("utf-8", "replace")
    return str(told)[:1000]
