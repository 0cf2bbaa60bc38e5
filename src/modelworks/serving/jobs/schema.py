"""The tables of the jobs' file, and how it is opened."""

import sqlite3
from pathlib import Path
from typing import Final

from modelworks.core.errors import CorruptError, UnavailableError, UnsupportedError

VERSION: Final = 1
OVERHEAD: Final = 512
"""Bytes that a job counts for beside its body."""
BUSY_S: Final = 10.0  # another worker's commit takes some milliseconds

_SCHEMA: Final = """
CREATE TABLE jobs(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    state TEXT NOT NULL,
    headers TEXT NOT NULL,
    "rows" INTEGER NOT NULL,
    remote TEXT NOT NULL,
    callback TEXT NOT NULL,
    callback_state TEXT NOT NULL,
    callback_tries INTEGER NOT NULL DEFAULT 0,
    callback_error TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    runner TEXT NOT NULL DEFAULT '',
    created_ns INTEGER NOT NULL,
    deadline_ns INTEGER NOT NULL,
    due_ns INTEGER NOT NULL,
    started_ns INTEGER NOT NULL DEFAULT 0,
    ended_ns INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX jobs_key ON jobs(owner, key) WHERE key != '';
CREATE INDEX jobs_owner ON jobs(owner, seq);
CREATE INDEX jobs_waiting ON jobs(model, version, remote != '', seq) WHERE state = 'queued';
CREATE INDEX jobs_deadline ON jobs(deadline_ns) WHERE state = 'queued';
CREATE INDEX jobs_held ON jobs(runner) WHERE runner != '';
CREATE INDEX jobs_ended ON jobs(ended_ns) WHERE ended_ns > 0;
CREATE INDEX jobs_age ON jobs(created_ns) WHERE state = 'queued';
CREATE INDEX jobs_telling ON jobs(due_ns) WHERE callback_state = 'pending';
CREATE INDEX jobs_dead ON jobs(seq) WHERE callback_state = 'dead';
CREATE TABLE inputs(seq INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE results(
    seq INTEGER PRIMARY KEY,
    status INTEGER NOT NULL,
    kind TEXT NOT NULL,
    headers TEXT NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE totals(owner TEXT PRIMARY KEY, open INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE states(state TEXT PRIMARY KEY, jobs INTEGER NOT NULL);
CREATE TRIGGER jobs_came AFTER INSERT ON jobs BEGIN
    INSERT INTO totals VALUES(new.owner, 1, new.size)
        ON CONFLICT(owner) DO UPDATE SET open = open + 1, bytes = bytes + new.size;
    INSERT INTO states VALUES(new.state, 1) ON CONFLICT(state) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state, size ON jobs BEGIN
    UPDATE totals SET open = open + (new.ended_ns = 0) - (old.ended_ns = 0),
        bytes = bytes + new.size - old.size WHERE owner = new.owner;
    UPDATE states SET jobs = jobs - 1 WHERE state = old.state;
    INSERT INTO states VALUES(new.state, 1) ON CONFLICT(state) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_went AFTER DELETE ON jobs BEGIN
    UPDATE totals SET open = open - (old.ended_ns = 0), bytes = bytes - old.size
        WHERE owner = old.owner;
    UPDATE states SET jobs = jobs - 1 WHERE state = old.state;
    DELETE FROM inputs WHERE seq = old.seq;
    DELETE FROM results WHERE seq = old.seq;
END;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, or make it; every commit is on the disk when it returns.

    Raises:
        UnavailableError: it may not be used.
        CorruptError: it is no such file, or damaged beyond what SQLite mends by itself.
        UnsupportedError: a newer version of Modelworks has written it.
        sqlite3.Error: the disk is full, or refuses.
    """
    base = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        path.chmod(0o600)
        base.execute("PRAGMA auto_vacuum = INCREMENTAL")  # in force only where the file is new
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        base.execute("PRAGMA cache_size = -16384")
        base.execute("BEGIN IMMEDIATE")
        found = int(base.execute("PRAGMA user_version").fetchone()[0])
        if found > VERSION:
            raise UnsupportedError(  # noqa: TRY301 - closed below, as after any other error
                f"{path} was written by a newer Modelworks (form {found}, this one knows "
                f"{VERSION}): update this server, or give it another folder"
            )
        if not found:
            for statement in _statements():
                base.execute(statement)
            base.execute(f"PRAGMA user_version = {VERSION}")
        base.execute("COMMIT")
    except OSError as error:
        base.close()
        raise UnavailableError(f"{path} cannot be used: {error.strerror}") from error
    except sqlite3.DatabaseError as error:
        base.close()
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise damaged(path, error) from error
    except BaseException:
        base.close()
        raise
    return base


def damaged(path: Path, error: Exception) -> CorruptError:
    """What is said of a file that cannot be read."""
    return CorruptError(
        f"{path} is damaged ({error}): move it away to go on with an empty one, and mend it with "
        "sqlite3's .recover"
    )


def _statements() -> list[str]:
    """One by one: `executescript` would commit first."""
    found, part = [], ""
    for line in _SCHEMA.splitlines(keepends=True):
        part += line
        if part.strip() and sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    return found
