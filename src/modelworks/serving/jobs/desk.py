"""`POST /v2/models/{m}/jobs` and `/v2/jobs`: submissions in, states and results out."""

import hashlib
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

import orjson

from modelworks.core.errors import (
    InvalidError,
    ModelworksError,
    NotFoundError,
)
from modelworks.core.ids import iso, now_ns, uuid7
from modelworks.core.jobs import CallbackState, Job, JobState
from modelworks.edge.exchange import Exchange, Headers
from modelworks.protocol.oip import parse_header_length
from modelworks.protocol.openmetrics import Family
from modelworks.serving.infer import JSON, readable, refuse
from modelworks.serving.jobs import store
from modelworks.serving.jobs.lane import Models, orderless
from modelworks.serving.jobs.ledger import Base
from modelworks.serving.jobs.numbers import families
from modelworks.serving.jobs.options import JobOptions
from modelworks.serving.jobs.outside import Outside
from modelworks.serving.jobs.rows import Line, Result, Submission
from modelworks.serving.jobs.runner import Runner
from modelworks.serving.statistics import Recorder

Methods: TypeAlias = dict[bytes, Callable[[Exchange], None]]
INPUTS: Final = b"job-inputs"
CALLBACK: Final = b"job-callback"
TIMEOUT: Final = b"job-timeout-seconds"
KEY: Final = b"idempotency-key"
LISTED: Final = 100
_LENGTH: Final = b"inference-header-content-length"
_KEPT: Final = (b"content-type", _LENGTH, b"x-request-id")
_SAME: Final = (b"content-type", _LENGTH, TIMEOUT)
"""Headers of a submission that make it another one; an `X-Request-Id` is new at every try."""
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_LONGEST_S: Final = 30 * 86400
_DIGITS: Final = 9


class Desk:
    """Of one worker, on its loop.

    Args:
        options: see there.
        models: that are served.
        recorder: counts what is refused.
        who: says whose a request is; empty = nobody was asked.
    """

    def __init__(
        self,
        options: JobOptions,
        models: Models,
        recorder: Recorder,
        who: Callable[[Exchange], str],
    ) -> None:
        outside = Outside(options.outside)
        self._options = options
        self._models = models
        self._recorder = recorder
        self._who = who
        self._outside = outside
        self._runner = Runner(options, models, outside)
        self._accepted = self._refused = 0

    def start(self) -> None:
        """Run what waits from here on."""
        self._runner.start()

    async def close(self) -> None:
        """Stop; what was accepted is kept."""
        await self._runner.close()

    def families(self) -> list[Family]:
        """What is scraped."""
        return families(self._runner.counts, self._accepted, self._refused, self._runner.problem)

    def methods(self, rest: list[str]) -> Methods:
        """The answers below `/v2/jobs`, by method.

        Raises:
            NotFoundError: no such path.
        """
        match rest:
            case []:
                return {b"GET": self._list}
            case [job]:
                return {b"GET": partial(self._show, job), b"DELETE": partial(self._cancel, job)}
            case [job, "result"]:
                return {b"GET": partial(self._result, job)}
        raise NotFoundError(f"a job has no '{'/'.join(rest[1:])}'"[:200])

    # -- in

    def submit(self, name: str, version: str | None, exchange: Exchange) -> None:
        """Accept a job: the answer leaves when it is on the disk."""
        try:
            told = self._read(name, version or "", exchange)
            self._ask(
                exchange,
                partial(store.submit, options=self._options, told=told, look=False),
                partial(self._taken, told),
                len(told.body),
            )
        except (ModelworksError, RecursionError) as error:
            self._refused += 1
            refuse(exchange, readable(error), self._recorder)

    def _read(self, name: str, version: str, exchange: Exchange) -> Submission:
        headers = exchange.headers
        entry = self._models.entry(name, version or None)
        orderless(entry)
        remote = _text(headers.get(INPUTS, b""))
        callback = _text(headers.get(CALLBACK, b""))
        rows = 0
        if remote:
            if exchange.body:
                raise InvalidError(
                    "Job-Inputs says where the request is: send no body with it", field="body"
                )
            self._outside.place(remote, "Job-Inputs")
        elif entry.live is not None:
            given = headers.get(_LENGTH)
            length = None if given is None else parse_header_length(given)
            found = entry.live.reader.recognise(exchange.body, length)
            if found is None:
                rows = entry.live.reader.read(exchange.body, length).rows
            else:
                rows = found[0].rows
        elif not exchange.body:
            raise InvalidError("the body of an inference request is wanted", field="body")
        if callback:
            self._outside.place(callback, "Job-Callback")
        now = now_ns()
        kept = {
            known.decode(): headers[known].decode("latin-1")[:1024]
            for known in _KEPT
            if known in headers
        }
        key = headers.get(KEY, b"")
        if key and not _KEY.fullmatch(key):
            raise InvalidError(
                "Idempotency-Key: 1 to 255 printable ASCII characters without spaces are wanted",
                field="Idempotency-Key",
            )
        said = (headers.get(known, b"") for known in _SAME)
        parts: tuple[str | bytes, ...] = (name, version, remote, callback, *said, exchange.body)
        return Submission(
            uuid7(),
            self._who(exchange),
            name,
            version,
            exchange.body,
            kept,
            rows,
            now,
            now + self._seconds(headers.get(TIMEOUT)) * 1_000_000_000,
            key.decode("ascii"),
            _digest(parts) if key else b"",
            remote,
            callback,
        )

    def _seconds(self, given: bytes | None) -> int:
        if given is None:
            return round(self._options.deadline_s)
        if not given.isdigit() or len(given) > _DIGITS or not 0 < int(given) <= _LONGEST_S:
            raise InvalidError(
                f"Job-Timeout-Seconds: a whole number from 1 to {_LONGEST_S} is wanted",
                field="Job-Timeout-Seconds",
            )
        return int(given)

    def _taken(self, told: Submission, exchange: Exchange, job: Job) -> None:
        self._accepted += 1
        if job.id == told.id:
            self._runner.accepted(Line(told.model, told.version, bool(told.remote)))
        where = ((b"Location", f"/v2/jobs/{job.id}".encode()),)
        exchange.reply(202, document(job), JSON, where)

    # -- out

    def _show(self, job: str, exchange: Exchange) -> None:
        look = partial(store.look, owner=self._who(exchange), job=job)
        self._ask(exchange, look, _told, writes=False)

    def _cancel(self, job: str, exchange: Exchange) -> None:
        let_go = partial(store.cancel, owner=self._who(exchange), job=job, now=now_ns())
        self._ask(exchange, let_go, _told)

    def _result(self, job: str, exchange: Exchange) -> None:
        fetch = partial(store.result, owner=self._who(exchange), job=job)
        self._ask(exchange, fetch, _given, writes=False)

    def _list(self, exchange: Exchange) -> None:
        asked = dict(parse_qsl(exchange.query.decode("ascii", "replace"), keep_blank_values=True))
        most, after = asked.pop("limit", str(LISTED)), asked.pop("after", "")
        known: dict[str, list[str]] = {"state": list(JobState), "callback": list(CallbackState)}
        for name, value in asked.items():
            if name not in {"state", "model", "callback"}:
                raise InvalidError(
                    f"'{name[:40]}' is none of state, model, callback, after, limit", field="query"
                )
            if name in known and value not in known[name]:
                raise InvalidError(
                    f"{name}: '{value[:40]}' is none of {', '.join(known[name])}",
                    field=name,
                )
        number = int(most) if most.isascii() and most.isdigit() and len(most) <= _DIGITS else 0
        if not 0 < number <= store.MOST_LISTED:
            raise InvalidError(f"limit: 1 to {store.MOST_LISTED} is wanted", field="limit")
        owner = self._who(exchange)
        found = partial(store.listed, owner=owner, wanted=asked, after=after, most=number)
        self._ask(exchange, found, _several, writes=False)

    def _ask(
        self,
        exchange: Exchange,
        work: Callable[[Base], Any],
        answer: Callable[[Exchange, Any], None],
        size: int = 0,
        *,
        writes: bool = True,
    ) -> None:
        def told(found: Any, error: ModelworksError | None) -> None:
            if error is not None:
                self._refused += writes
                refuse(exchange, error, self._recorder)
            else:
                answer(exchange, found)

        self._runner.ledger.ask(work, told, size, writes=writes)


def document(job: Job) -> bytes:
    """A job, JSON."""
    return orjson.dumps(_shown(job))


def _told(exchange: Exchange, job: Job) -> None:
    exchange.reply(200, document(job), JSON)


def _several(exchange: Exchange, jobs: list[Job]) -> None:
    exchange.reply(200, orjson.dumps({"jobs": [_shown(job) for job in jobs]}), JSON)


def _given(exchange: Exchange, result: Result) -> None:
    headers: Headers = tuple(
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in result.headers.items()
    )
    exchange.reply(result.status, result.body, result.kind.encode("latin-1"), headers)


def _shown(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": job.id,
        "model": job.model,
        "version": job.version or None,
        "state": job.state,
        "created": iso(job.created_ns),
        "started": iso(job.started_ns) if job.started_ns else None,
        "ended": iso(job.ended_ns) if job.ended_ns else None,
        "deadline": iso(job.deadline_ns),
        "attempts": job.attempts,
    }
    if job.position is not None:
        shown["position"] = job.position
    if job.error:
        shown["error"] = job.error
    if job.callback:
        shown["callback"] = {
            "url": job.callback,
            "state": job.callback_state,
            "tries": job.callback_tries,
            "error": job.callback_error,
        }
    return shown


def _digest(parts: tuple[str | bytes, ...]) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(b"%d:" % len(data))
        found.update(data)
    return found.digest()


def _text(value: bytes) -> str:
    return value.decode("latin-1")
