"""All SQL of the jobs' file that whoever runs jobs asks for: claim, end, tell, clear.

As in `store`: on the file's own thread, inside a transaction that somebody else ends. An attempt
is named by the runner and its number, and what names another one changes nothing: so a result is
recorded once, whoever comes late.
"""

import json
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from modelworks.core.errors import CorruptError
from modelworks.core.jobs import CallbackState, JobState
from modelworks.serving.jobs.options import JobOptions
from modelworks.serving.jobs.rows import (
    CallbackDue,
    Claim,
    Claimed,
    Counts,
    Ending,
    Line,
    Result,
)
from modelworks.serving.jobs.schema import OVERHEAD
from modelworks.serving.jobs.store import result_of

_SOME: Final = 500  # that one clearing moves: others wait for its commit
_PAGES: Final = 256
_EVER: Final = 1 << 62


def lines(base: sqlite3.Connection) -> list[Line]:
    """Which models have jobs that wait."""
    rows = base.execute(
        "SELECT model, version, remote != '' FROM jobs WHERE state = 'queued' GROUP BY 1, 2, 3"
    ).fetchall()
    return [Line(model, version, bool(remote)) for model, version, remote in rows]


def claim(  # noqa: PLR0913 - each part once, by name
    base: sqlite3.Connection,
    runner: str,
    line: Line,
    now: int,
    most: int,
    most_bytes: int,
    *,
    suspects: bool,
    before: int = _EVER,
) -> Claim:
    """Take the next jobs of a line: they run now, and nobody else takes them.

    Args:
        base: the file.
        runner: who runs them.
        line: whose jobs.
        now: UTC nanoseconds.
        most: jobs at most.
        most_bytes: of their bodies, above one job.
        suspects: take one that has to run alone, if it is next; False = stop before it.
        before: UTC nanoseconds; of jobs that were accepted by then.
    """
    rows = base.execute(
        "SELECT j.seq, id, attempts, headers, rows, remote, deadline_ns, crashes, crc, body "
        "FROM jobs j LEFT JOIN inputs USING(seq) WHERE state = 'queued' AND model = ? "
        "AND version = ? AND (remote != '') = ? AND due_ns <= ? AND created_ns <= ? "
        "ORDER BY j.seq LIMIT ?",
        (line.model, line.version, line.remote, now, before, most),
    )
    taken: list[Claimed] = []
    size, suspect = 0, False
    for seq, job, attempts, told, count, remote, deadline, crashes, crc, body in rows:
        if crashes and (taken or not suspects):
            suspect = True
            break
        sound = bool(remote) or (body is not None and zlib.crc32(body) == crc)
        found = (body or b"") if sound else None
        size += len(body or b"")
        if taken and size > most_bytes:
            break
        headers = json.loads(told)
        taken.append(
            Claimed(seq, job, attempts + 1, found, headers, count, remote, deadline, crashes > 0)
        )
        if crashes:
            break
    rows.close()
    base.executemany(
        "UPDATE jobs SET state = 'running', runner = ?, attempts = ?, started_ns = ? WHERE seq = ?",
        [(runner, job.attempt, now, job.seq) for job in taken],
    )
    return Claim(tuple(taken), suspect)


def end(base: sqlite3.Connection, runner: str, endings: Sequence[Ending], now: int) -> list[bool]:
    """Record what attempts came to; whether each was still wanted."""
    return [_end(base, runner, ending, now) for ending in endings]


def _end(base: sqlite3.Connection, runner: str, ending: Ending, now: int) -> bool:
    again = ending.state is JobState.QUEUED
    size = "size" if again else str(OVERHEAD + len(ending.body))
    moved = base.execute(
        f"UPDATE jobs SET state = ?, ended_ns = ?, error = ?, due_ns = ?, runner = '', "  # noqa: S608 - a number of ours
        f"size = {size}, callback_state = CASE WHEN callback_state = 'waiting' AND NOT ? "
        "THEN 'pending' ELSE callback_state END "
        "WHERE seq = ? AND state = 'running' AND runner = ? AND attempts = ?",
        (
            *(ending.state, 0 if again else now, ending.error, ending.due_ns, again),
            *(ending.seq, runner, ending.attempt),
        ),
    )
    if moved.rowcount != 1:
        return False
    if not again:
        base.execute("DELETE FROM inputs WHERE seq = ?", (ending.seq,))
    if ending.state in {JobState.DONE, JobState.FAILED}:
        base.execute(
            "INSERT INTO results VALUES(?, ?, ?, ?, ?, ?)",
            (
                *(ending.seq, ending.status, ending.kind, json.dumps(ending.headers)),
                *(zlib.crc32(ending.body), ending.body),
            ),
        )
    return True


def release(base: sqlite3.Connection, runner: str) -> int:
    """Give back what a runner has not begun, as if it had not been taken; how many jobs."""
    given = base.execute(
        "UPDATE jobs SET state = 'queued', attempts = attempts - 1, runner = '' "
        "WHERE runner = ? AND state = 'running'",
        (runner,),
    ).rowcount
    base.execute("UPDATE jobs SET runner = '' WHERE runner = ?", (runner,))
    return given


def holders(base: sqlite3.Connection) -> set[str]:
    """Who runs jobs, or tells of them, as the file has it."""
    return {row[0] for row in base.execute("SELECT DISTINCT runner FROM jobs WHERE runner != ''")}


def bury(base: sqlite3.Connection, dead: Collection[str], attempts: int, now: int) -> int:
    """Take back what runners had whose process has ended; how many jobs run again.

    One that has cost so many attempts fails: it may be what ended them.
    """
    again = 0
    for runner in dead:
        rows = base.execute(
            "SELECT seq, attempts, crashes FROM jobs WHERE runner = ? AND state = 'running'",
            (runner,),
        ).fetchall()
        for seq, attempt, crashes in rows:
            if crashes + 1 >= attempts:
                error = f"the worker ended {crashes + 1} times while this job ran"
                body = json.dumps({"error": error}).encode()
                _end(base, runner, Ending(seq, attempt, JobState.FAILED, 500, error, body), now)
                continue
            base.execute(
                "UPDATE jobs SET state = 'queued', crashes = crashes + 1, runner = '' "
                "WHERE seq = ?",
                (seq,),
            )
            again += 1
        base.execute("UPDATE jobs SET runner = '' WHERE runner = ?", (runner,))
    return again


def unclear(base: sqlite3.Connection, options: JobOptions, now: int) -> bool:
    """Whether `clear` has anything to do: it takes a commit, and looking takes none."""
    found = base.execute(
        "SELECT EXISTS(SELECT 1 FROM jobs WHERE state = 'queued' AND deadline_ns <= ?) OR "
        "EXISTS(SELECT 1 FROM jobs WHERE ended_ns BETWEEN 1 AND ? AND callback_state != 'pending')"
        " OR (SELECT COALESCE(SUM(bytes), 0) FROM totals) > ?"
        " OR (SELECT freelist_count FROM pragma_freelist_count) > ?",
        (now, now - round(options.keep_s * 1e9), round(0.9 * options.most_bytes), _PAGES),
    ).fetchone()
    return bool(found[0])


def clear(base: sqlite3.Connection, options: JobOptions, now: int) -> bool:
    """Expire what waited too long, drop what was kept long enough, or is too much.

    Returns:
        Whether there may be more of it.
    """
    late = base.execute(
        "UPDATE jobs SET state = 'expired', ended_ns = ?, size = ?, error = ?, due_ns = 0, "
        "callback_state = CASE callback_state WHEN 'waiting' THEN 'pending' ELSE callback_state END"
        " WHERE seq IN (SELECT seq FROM jobs WHERE state = 'queued' AND deadline_ns <= ? LIMIT ?)",
        (now, OVERHEAD, "its deadline was over before its model had time for it", now, _SOME),
    )
    base.execute(
        "DELETE FROM inputs WHERE seq IN (SELECT seq FROM jobs WHERE state = 'expired' "
        "AND ended_ns = ?)",
        (now,),
    )
    old = base.execute(
        "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE ended_ns BETWEEN 1 AND ? "
        "AND callback_state != 'pending' LIMIT ?)",
        (now - round(options.keep_s * 1e9), _SOME),
    )
    kept = int(base.execute("SELECT COALESCE(SUM(bytes), 0) FROM totals").fetchone()[0])
    # A tenth of the room is for those that come: what has ended goes for it, the oldest first.
    over = kept - round(0.9 * options.most_bytes)
    gone: list[tuple[int]] = []
    for telling in (False, True):  # those that somebody is still to be told of go last
        rows = base.execute(
            "SELECT seq, size FROM jobs WHERE ended_ns > 0 AND (callback_state = 'pending') = ? "
            "ORDER BY ended_ns LIMIT ?",
            (telling, _SOME - len(gone) if over > 0 else 0),
        )
        for seq, size in rows:
            gone.append((seq,))
            over -= size
            if over <= 0:
                break
        rows.close()
        base.executemany("DELETE FROM jobs WHERE seq = ?", gone)
    base.execute("DELETE FROM totals WHERE open = 0 AND bytes = 0")
    free = int(base.execute("PRAGMA freelist_count").fetchone()[0])
    for _ in range(min(free, _PAGES)):
        base.execute("PRAGMA incremental_vacuum(1)")  # Python's module steps it once, for one page
    return max(late.rowcount, old.rowcount, len(gone)) >= _SOME


def calling(base: sqlite3.Connection, now: int) -> bool:
    """Whether a callback is due that nobody makes."""
    return bool(
        base.execute(
            "SELECT EXISTS(SELECT 1 FROM jobs WHERE callback_state = 'pending' AND due_ns <= ? "
            "AND runner = '')",
            (now,),
        ).fetchone()[0]
    )


def callbacks(base: sqlite3.Connection, runner: str, now: int, most: int) -> list[CallbackDue]:
    """Take callbacks that are due; nobody else makes them meanwhile."""
    rows = base.execute(
        "SELECT seq, id, callback, callback_tries, state, error FROM jobs "
        "WHERE callback_state = 'pending' AND due_ns <= ? AND runner = '' ORDER BY due_ns LIMIT ?",
        (now, most),
    ).fetchall()
    found = []
    for seq, job, url, tries, state, error in rows:
        found.append(CallbackDue(seq, job, url, tries, _end_of(base, seq, JobState(state), error)))
    base.executemany(
        "UPDATE jobs SET runner = ? WHERE seq = ?", [(runner, due.seq) for due in found]
    )
    return found


def _end_of(base: sqlite3.Connection, seq: int, state: JobState, error: str) -> Result:
    """What is told of a job's end, also of one without a result."""
    try:
        found = result_of(base, seq, state)
    except CorruptError as damage:
        found, error = None, damage.message
    if found is not None:
        return found
    return Result(state, 500, json.dumps({"error": error}).encode(), "application/json", {})


def told(
    base: sqlite3.Connection,
    runner: str,
    due: CallbackDue,
    state: CallbackState,
    error: str,
    again_ns: int,
) -> None:
    """Note what became of a callback; PENDING = it is made again at `again_ns`."""
    base.execute(
        "UPDATE jobs SET callback_state = ?, callback_tries = ?, callback_error = ?, due_ns = ?, "
        "runner = '' WHERE seq = ? AND runner = ?",
        (state, due.tries + 1, error, again_ns, due.seq, runner),
    )


def counts(base: sqlite3.Connection) -> Counts:
    """The file in numbers."""
    states: Iterable[tuple[str, int]] = base.execute("SELECT state, jobs FROM states")
    kept = base.execute("SELECT COALESCE(SUM(bytes), 0) FROM totals").fetchone()
    oldest = base.execute("SELECT MIN(created_ns) FROM jobs WHERE state = 'queued'").fetchone()
    pending = base.execute("SELECT COUNT(*) FROM jobs WHERE callback_state = 'pending'").fetchone()
    dead = base.execute("SELECT COUNT(*) FROM jobs WHERE callback_state = 'dead'").fetchone()
    calls = {str(CallbackState.PENDING): pending[0], str(CallbackState.DEAD): dead[0]}
    return Counts(dict(states), calls, kept[0], oldest[0] or 0)
