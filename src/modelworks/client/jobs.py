"""Jobs of a model server: submit, look, fetch, cancel."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from modelworks.client.wire import Wire
from modelworks.core.errors import ConflictError, CrashedError, DeadlineError
from modelworks.core.ids import uuid7
from modelworks.core.jobs import CallbackState, Job, JobState

_SECONDS: Final = 30.0
_FIRST_S: Final = 0.05
_LONGEST_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Submitting:
    """What may be said of a job, beside its request.

    Attributes:
        key: of idempotency: submitted again under it, it is the same job. Empty = a new one, which
            also makes it safe to try again where the connection breaks.
        callback: URL that its end is told to; empty = none.
        inputs_url: where the request's body lies; it is then submitted without one.
        seconds: within which it has its answer, or expires; 0 = as the server has it.
    """

    key: str = ""
    callback: str = ""
    inputs_url: str = ""
    seconds: int = 0

    def headers(self) -> dict[str, str]:
        """As HTTP says it."""
        told = {
            "Idempotency-Key": self.key or uuid7(),
            "Job-Callback": self.callback,
            "Job-Inputs": self.inputs_url,
            "Job-Timeout-Seconds": str(self.seconds) if self.seconds else "",
        }
        return {name: value for name, value in told.items() if value}


_PLAIN: Final = Submitting()


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """What a job gave, as inference would have.

    Attributes:
        body: of the answer.
        headers: of it.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Jobs:
    """Those of one caller on one server.

    Args:
        wire: to the server.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def submit(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        told: Submitting = _PLAIN,
    ) -> Job:
        """Have a request run later; when this returns, it is on the server's disk.

        Args:
            path: of the model: `fraud`, `fraud/versions/1.0.0`.
            body: of an inference request; empty with `told.inputs_url`.
            headers: of that request.
            told: see there.

        Raises:
            ConflictError: the key came before, with something else.
            LimitedError: too many jobs wait already.
            UnsupportedError: the server keeps no jobs.
            ModelworksError: as inference says it.
        """
        return _job(
            self._wire.json(
                "POST",
                f"/v2/models/{path}/jobs",
                body=body,
                headers={**(headers or {}), **told.headers()},
                seconds=_SECONDS,
            )
        )

    def show(self, job: str) -> Job:
        """How a job stands.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        return _job(self._wire.json("GET", _path(job), seconds=_SECONDS))

    def every(self, most: int = 100, **wanted: str) -> Iterator[Job]:
        """A caller's jobs, newest first.

        Args:
            most: at most so many.
            wanted: `state`, `model`, `callback`: of those only.
        """
        after = ""
        while most > 0:
            query = {**wanted, "limit": str(min(most, 500)), "after": after}
            found = self._wire.json("GET", "/v2/jobs", query=query, seconds=_SECONDS)["jobs"]
            for one in found:
                yield _job(one)
            if len(found) < min(most, 500):
                return
            most -= len(found)
            after = str(found[-1]["id"])

    def result(self, job: str) -> JobAnswer:
        """What a job gave.

        Raises:
            ConflictError: it has not ended, was cancelled, or its time was over.
            ModelworksError: the one that the request would have had.
        """
        return JobAnswer(*self._wire.send("GET", f"{_path(job)}/result", seconds=_SECONDS))

    def cancel(self, job: str) -> Job:
        """Let a job go.

        Raises:
            ConflictError: it has ended.
        """
        return _job(self._wire.json("DELETE", _path(job), seconds=_SECONDS))

    def wait(
        self, job: str, seconds: float = 60.0, pause: Callable[[float], None] = time.sleep
    ) -> Job:
        """Wait for a job's end; asks less and less often.

        Raises:
            DeadlineError: it did not end within `seconds`.
        """
        end, step = time.monotonic() + seconds, _FIRST_S
        while True:
            found = self.show(job)
            if found.state.ended:
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise DeadlineError(f"job {job} is {found.state} after {seconds:g} s")
            pause(min(step, left))
            step = min(_LONGEST_S, 1.5 * step)

    def wait_for(self, job: str, seconds: float = 60.0) -> JobAnswer:
        """Wait for a job's end, and fetch what it gave.

        Raises:
            DeadlineError: it did not end in time.
            ConflictError: it was cancelled, or its own time was over.
            ModelworksError: the one that the request would have had.
        """
        found = self.wait(job, seconds)
        if found.state not in {JobState.DONE, JobState.FAILED}:
            raise ConflictError(f"job {job} is {found.state}: {found.error}")
        return self.result(job)


def _path(job: str) -> str:
    return f"/v2/jobs/{quote(job, safe='')}"


def _job(told: Any) -> Job:
    try:
        callback = told.get("callback") or {}
        return Job(
            id=told["id"],
            model=told["model"],
            version=told["version"] or "",
            state=JobState(told["state"]),
            created_ns=_ns(told["created"]),
            started_ns=_ns(told["started"]),
            ended_ns=_ns(told["ended"]),
            deadline_ns=_ns(told["deadline"]),
            attempts=told["attempts"],
            error=told.get("error", ""),
            callback=callback.get("url", ""),
            callback_state=CallbackState(callback.get("state", CallbackState.NONE)),
            callback_tries=callback.get("tries", 0),
            callback_error=callback.get("error", ""),
            position=told.get("position"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CrashedError(f"the server gave no job: {error!r}") from error


def _ns(text: str | None) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6) * 1000 if text else 0
