"""SQLite: one file, one writer at a time, readers that never wait."""

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from modelworks.core.errors import UnavailableError

BUSY_MS = 10_000
"""How long a writer waits for another one."""

LOCK_SECONDS = 30.0
"""How long a process waits for another one's migration."""

_WRITES = "modelworks_writes"


def sqlite_engine(path: Path) -> Engine:
    """An engine on a SQLite file, set up as this house wants it; the schema is not looked at."""
    url = URL.create("sqlite+pysqlite", database=str(path))
    engine = create_engine(
        url, connect_args={"timeout": BUSY_MS / 1000}, pool_size=4, max_overflow=16, pool_timeout=30
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def writing(engine: Engine) -> Engine:
    """The same connections, whose transactions take the write lock at once."""
    return engine.execution_options(**{_WRITES: True})


@contextmanager
def migrating(engine: Engine, path: Path) -> Iterator[Connection]:
    """A write transaction that no other process migrates beside.

    Raises:
        UnavailableError: another process has been migrating for too long.
    """
    with _locked(path.with_name(path.name + ".lock")):
        _use_wal(engine)
        with writing(engine).begin() as connection:
            yield connection


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin` does
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _use_wal(engine: Engine) -> None:
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()
    finally:
        raw.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock; it ends with the process that held it, however that ends."""
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        file = path.open("ab")
    except OSError as error:
        raise UnavailableError(
            f"{path}: {error.strerror}; check that its folder exists and can be written"
        ) from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"{path}: another process has been migrating for "
                        f"{LOCK_SECONDS:.0f} s; retry, or end that process"
                    ) from error
                time.sleep(0.05)
        yield
