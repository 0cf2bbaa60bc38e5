"""PostgreSQL: the same promises as on SQLite, kept by advisory locks and isolation levels.

A reader sees one snapshot (`REPEATABLE READ`). A writer first takes the one write lock of this
database, and from then on sees what every earlier writer committed (`READ COMMITTED`): so what was
decided from a row is still true when the decision is written, and no transaction fails because
another one wrote in between. The locks end with the connection, however its process ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from modelworks.core.errors import InvalidError, MissingExtraError

DRIVERS = ("postgresql", "postgres", "postgresql+psycopg")
"""Schemes of a URL that are PostgreSQL's."""

WRITE_LOCK = 0x6D6F6465_6C770001
MIGRATION_LOCK = 0x6D6F6465_6C770002
"""Advisory locks; their numbers are ours alone within the database that we are given."""

LOCK_MS = 10_000
"""How long a writer waits for another one."""

MIGRATION_MS = 30_000
"""How long a process waits for another one's migration."""

_SESSION = {
    "lock_timeout": LOCK_MS,
    "statement_timeout": 60_000,
    # A process that hangs in a transaction gives the write lock back after that.
    "idle_in_transaction_session_timeout": 180_000,
}
_WRITES = "modelworks_writes"
_FORM = "postgresql://user:password@host:5432/database"


def parse(text: str) -> URL:
    """A PostgreSQL URL for our driver.

    Raises:
        InvalidError: not of that form; its text is not repeated, for it may hold a password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InvalidError(f"the database's URL cannot be read: {_FORM} is wanted") from error
    if not url.database:
        raise InvalidError(f"the database's URL names no database: {_FORM} is wanted")
    return url.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """The URL for messages: no password, and no options, which may hold one."""
    place = url.host or str(url.query.get("host", "local socket"))
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{place}{port}/{url.database}"


def postgres_engine(url: URL) -> Engine:
    """An engine on a PostgreSQL database; nothing is connected yet.

    At most 16 connections; one that the server has closed is found before it is used.

    Raises:
        MissingExtraError: the driver is not installed.
    """
    options = {
        "application_name": "modelworks",
        "client_encoding": "utf8",
        "connect_timeout": 5,
        "keepalives_idle": 30,
        "tcp_user_timeout": 30_000,
    }
    given = {name: value for name, value in options.items() if name not in url.query}
    try:
        engine = create_engine(
            url,
            # No prepared statements: connection poolers in front lose them.
            connect_args={**given, "prepare_threshold": None},
            pool_size=4,
            max_overflow=12,
            pool_timeout=30,
            pool_pre_ping=True,
            pool_recycle=1800,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("PostgreSQL", "postgres", "psycopg") from error
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def reading(engine: Engine) -> Engine:
    """The same connections, whose transactions see one snapshot."""
    return engine.execution_options(isolation_level="REPEATABLE READ")


def writing(engine: Engine) -> Engine:
    """The same connections, whose transactions take the write lock at once."""
    return engine.execution_options(isolation_level="READ COMMITTED", **{_WRITES: True})


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other process migrates, or writes, beside."""
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {MIGRATION_MS}")
        for lock in (MIGRATION_LOCK, WRITE_LOCK):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
        yield connection


def _prepare(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        for name, value in _SESSION.items():
            cursor.execute(f"SET {name} = {value}")
    connection.commit()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITES, False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")
