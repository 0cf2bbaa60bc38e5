"""Opens the database and hands out transactions: reads see a snapshot, writers queue up."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from modelworks.core.model import DEFAULT_TENANT
from modelworks.db import schema
from modelworks.db.failures import translated
from modelworks.db.session import EveryTenantSession, TenantSession

BUSY_MS = 10_000
"""How long a writer waits for another one."""

_WRITES = "modelworks_writes"


@dataclass(frozen=True, slots=True)
class Database:
    """An open database whose schema is this build's.

    Attributes:
        reader: transactions that only read (`BEGIN`).
        writer: transactions that take the write lock at once (`BEGIN IMMEDIATE`), so that no
            transaction fails half-way because another one wrote in between.
        where: the database, for messages.
    """

    reader: Engine
    writer: Engine
    where: str

    def tenant(self, name: str = DEFAULT_TENANT) -> "TenantScope":
        """The rows of one tenant."""
        return TenantScope(self, name)

    @contextmanager
    def every_tenant(self) -> Iterator[EveryTenantSession]:
        """A write transaction over all tenants, for housekeeping of what they share."""
        with (
            translated(self.where),
            EveryTenantSession(self.writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            session.connection()  # take the lock now, not at the first statement
            yield session

    def close(self) -> None:
        """Close every connection. Twice is quiet."""
        self.reader.dispose()


@dataclass(frozen=True, slots=True)
class TenantScope:
    """What a service holds instead of a database: it can only reach one tenant's rows."""

    database: Database
    tenant: str

    @contextmanager
    def read(self) -> Iterator[TenantSession]:
        """One consistent snapshot; nothing written in it is kept."""
        with (
            translated(self.database.where),
            TenantSession(self.database.reader, self.tenant) as session,
        ):
            yield session

    @contextmanager
    def write(self) -> Iterator[TenantSession]:
        """One transaction, alone among writers: all of it is kept, or nothing."""
        with (
            translated(self.database.where),
            TenantSession(self.database.writer, self.tenant) as session,
            session.begin(),
        ):
            session.connection()  # take the lock now, not at the first statement
            yield session


def open_database(path: Path) -> Database:
    """Open the SQLite file, creating or migrating it as needed, under a lock.

    Raises:
        UnsupportedError: a newer Modelworks wrote it.
        CorruptError: no SQLite database, or a damaged one.
        UnavailableError: it cannot be opened or written, or stays locked.
    """
    where = str(path)
    engine = sqlite_engine(path)
    try:
        with translated(where):
            schema.bring_up(engine, _writing(engine), path)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, _writing(engine), where)


def sqlite_engine(path: Path) -> Engine:
    """An engine on a SQLite file, set up as this house wants it; the schema is not looked at."""
    url = URL.create("sqlite+pysqlite", database=str(path))
    engine = create_engine(
        url, connect_args={"timeout": BUSY_MS / 1000}, pool_size=4, max_overflow=16, pool_timeout=30
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _writing(engine: Engine) -> Engine:
    return engine.execution_options(**{_WRITES: True})


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
