"""All SQL of the jobs' file that callers ask for: accept, look, cancel, fetch.

Every function here runs on the file's own thread, inside a transaction that somebody else ends.
What raises a `ModelworksError` has written nothing.
"""

import json
import sqlite3
import zlib
from dataclasses import replace
from typing import Any, Final

from modelworks.core.errors import (
    ConflictError,
    CorruptError,
    LimitedError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.jobs import MOVES, CallbackState, Job, JobState
from modelworks.serving.jobs.options import JobOptions
from modelworks.serving.jobs.rows import Result, Submission
from modelworks.serving.jobs.schema import OVERHEAD

MOST_POSITION: Final = 10_000
MOST_LISTED: Final = 1000
_FIELDS: Final = (
    "id, model, version, state, created_ns, started_ns, ended_ns, deadline_ns, attempts, error, "
    "callback, callback_state, callback_tries, callback_error"
)
_PLACE: Final = (
    f"SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE state = 'queued' AND model = ? "  # noqa: S608 - a number of ours
    f"AND version = ? AND (remote != '') = ? AND seq < ? LIMIT {MOST_POSITION})"
)


def submit(base: sqlite3.Connection, options: JobOptions, told: Submission, *, look: bool) -> Job:
    """Write a job down.

    Args:
        base: the file.
        options: its bounds.
        told: what was submitted.
        look: count who waits before it; costs more than all the rest.

    Returns:
        The job; where its key came before with the same submission, that one.

    Raises:
        ConflictError: the key came before, with something else.
        LimitedError: the caller has too many open jobs.
        UnavailableError: there is no room for its body.
    """
    if told.key:
        known = base.execute(
            f"SELECT {_FIELDS}, seq, remote != '', digest FROM jobs WHERE owner = ? AND key = ?",  # noqa: S608 - names of ours
            (told.owner, told.key),
        ).fetchone()
        if known is not None:
            if known[-1] != told.digest:
                raise ConflictError(
                    f"Idempotency-Key '{told.key}' came before, with another submission (job "
                    f"{known[0]}): take a new key",
                    field="Idempotency-Key",
                )
            return _told(base, known[:-1])
    size = len(told.body) + OVERHEAD
    _admit(base, options, told.owner, size)
    waits = CallbackState.WAITING if told.callback else CallbackState.NONE
    made = base.execute(
        "INSERT INTO jobs(id, owner, key, digest, model, version, state, headers, rows, remote, "
        "callback, callback_state, size, created_ns, deadline_ns, due_ns) "
        "VALUES(?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (
            *(told.id, told.owner, told.key, told.digest, told.model, told.version),
            *(json.dumps(told.headers), told.rows, told.remote, told.callback, waits),
            *(size, told.created_ns, told.deadline_ns),
        ),
    )
    if not told.remote:
        base.execute(
            "INSERT INTO inputs VALUES(?, ?, ?)",
            (made.lastrowid, zlib.crc32(told.body), told.body),
        )
    place = None
    if look:
        line = (told.model, told.version, bool(told.remote), made.lastrowid)
        place = int(base.execute(_PLACE, line).fetchone()[0])
    return Job(
        *(told.id, told.model, told.version, JobState.QUEUED, told.created_ns),
        deadline_ns=told.deadline_ns,
        callback=told.callback,
        callback_state=waits,
        position=place,
    )


def look(base: sqlite3.Connection, owner: str, job: str) -> Job:
    """One job.

    Raises:
        NotFoundError: there is none of that id, or it is somebody else's.
    """
    return _told(base, _find(base, owner, job))


def listed(
    base: sqlite3.Connection, owner: str, wanted: dict[str, str], after: str, most: int
) -> list[Job]:
    """A caller's jobs, newest first.

    Args:
        base: the file.
        owner: whose.
        wanted: `state`, `model`, `callback` (its state) of those that are listed; empty = all.
        after: id of the last one that was listed before; empty = from the newest.
        most: at most so many.

    Raises:
        NotFoundError: there is no job `after`.
    """
    before = _find(base, owner, after)[-2] if after else 1 << 62
    rows = base.execute(
        f"SELECT {_FIELDS}, seq, remote != '' FROM jobs WHERE owner = ? AND seq < ? "  # noqa: S608 - names of ours
        "AND state = COALESCE(?, state) AND model = COALESCE(?, model) "
        "AND callback_state = COALESCE(?, callback_state) ORDER BY seq DESC LIMIT ?",
        (
            *(owner, before, wanted.get("state"), wanted.get("model"), wanted.get("callback")),
            min(most, MOST_LISTED),
        ),
    ).fetchall()
    return [_job(row, None) for row in rows]


def cancel(base: sqlite3.Connection, owner: str, job: str, now: int) -> Job:
    """Let a job go that has not ended; quiet where it was cancelled before.

    Raises:
        NotFoundError: there is none of that id, or it is somebody else's.
        ConflictError: it has ended otherwise.
    """
    row = _find(base, owner, job)
    seq, state = row[-2], JobState(row[3])
    if state is JobState.CANCELLED:
        return _told(base, row)
    if JobState.CANCELLED not in MOVES[state]:
        raise ConflictError(f"job {job} is {state} already: there is nothing left to cancel")
    base.execute(
        "UPDATE jobs SET state = 'cancelled', ended_ns = ?, runner = '', size = ?, error = ?, "
        "callback_state = CASE callback_state WHEN 'waiting' THEN 'pending' ELSE callback_state END"
        ", due_ns = 0 WHERE seq = ?",
        (now, OVERHEAD, "it was cancelled", seq),
    )
    base.execute("DELETE FROM inputs WHERE seq = ?", (seq,))
    return look(base, owner, job)


def result(base: sqlite3.Connection, owner: str, job: str) -> Result:
    """What a job gave, an error's body too.

    Raises:
        NotFoundError: there is no such job, or it is somebody else's.
        ConflictError: it has not ended, was cancelled, or its time was over.
        CorruptError: the result is not what was written.
    """
    row = _find(base, owner, job)
    state = JobState(row[3])
    if not state.ended:
        raise ConflictError(f"job {job} is {state}: it has no result yet; ask again later")
    found = result_of(base, row[-2], state)
    if found is None:
        raise ConflictError(f"job {job} has no result: {row[9]}")
    return found


def result_of(base: sqlite3.Connection, seq: int, state: JobState) -> Result | None:
    """The result at a place of the file; None = there is none.

    Raises:
        CorruptError: it is not what was written.
    """
    found = base.execute(
        "SELECT status, kind, headers, crc, body FROM results WHERE seq = ?", (seq,)
    ).fetchone()
    if found is None:
        return None
    status, kind, headers, crc, body = found
    if zlib.crc32(body) != crc:
        raise CorruptError("the result was damaged on the disk: submit the job again")
    return Result(state, status, body, kind, json.loads(headers))


def _admit(base: sqlite3.Connection, options: JobOptions, owner: str, size: int) -> None:
    mine = base.execute("SELECT open FROM totals WHERE owner = ?", (owner,)).fetchone()
    if mine is not None and mine[0] >= options.most_open:
        raise LimitedError(
            f"{mine[0]} jobs wait or run already, and a caller may have {options.most_open}: wait "
            "for some to end, or cancel them",
            retry_after=5,
        )
    kept = int(base.execute("SELECT COALESCE(SUM(bytes), 0) FROM totals").fetchone()[0])
    if kept + size > options.most_bytes:
        raise UnavailableError(
            f"the jobs' folder keeps {kept} bytes, and may keep {options.most_bytes}: try again "
            "when jobs have ended (serve --jobs-bytes)",
            retry_after=5,
        )


def _find(base: sqlite3.Connection, owner: str, job: str) -> Any:
    row = base.execute(
        f"SELECT {_FIELDS}, seq, remote != '' FROM jobs WHERE id = ? AND owner = ?",  # noqa: S608 - names of ours
        (job, owner),
    ).fetchone()
    if row is None:
        raise NotFoundError(f"no job '{job[:64]}' here: it was never accepted, or kept no longer")
    return row


def _told(base: sqlite3.Connection, row: Any) -> Job:
    if row[3] != JobState.QUEUED:
        return _job(row, None)
    line = (row[1], row[2], row[-1], row[-2])
    return _job(row, int(base.execute(_PLACE, line).fetchone()[0]))


def _job(row: Any, position: int | None) -> Job:
    told: list[Any] = list(row[:14])
    told[3], told[11] = JobState(told[3]), CallbackState(told[11])
    found = Job(*told)
    return found if position is None else replace(found, position=position)
