"""Opens the database and hands out transactions: reads see a snapshot, writers queue up."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from modelworks.core.errors import InvalidError
from modelworks.core.model import DEFAULT_TENANT
from modelworks.db import postgres, schema, sqlite
from modelworks.db.failures import translated
from modelworks.db.session import EveryTenantSession, TenantSession

_KNOWN = "postgresql://user:password@host:5432/database, sqlite:///path or a path"


@dataclass(frozen=True, slots=True)
class Database:
    """An open database whose schema is this build's.

    Attributes:
        reader: transactions that only read: one snapshot each.
        writer: transactions that take the write lock at once, so that none fails half-way
            because another one wrote in between.
        where: the database, for messages: a path, or a URL without its password.
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

    def migrating(self) -> AbstractContextManager[Connection]:
        """A write transaction that no other process migrates, or writes, beside.

        Raises:
            UnavailableError: another process has been migrating for too long.
        """
        if self.reader.dialect.name == "sqlite":
            return sqlite.migrating(self.reader, Path(self.where))
        return postgres.migrating(self.reader)

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


def open_database(where: Path | str) -> Database:
    """Open the database, creating or migrating its tables as needed, under a lock.

    Args:
        where: a SQLite file, `sqlite:///path`, or `postgresql://user:password@host:port/name`.

    Raises:
        InvalidError: no such kind of URL.
        MissingExtraError: the driver is not installed.
        UnsupportedError: a newer Modelworks wrote it.
        CorruptError: no database of ours, or a damaged one.
        UnavailableError: it cannot be reached, opened or written, or stays locked.
    """
    kind = _kind(where)
    return _open_sqlite(kind) if isinstance(kind, Path) else _open_postgres(kind)


def _kind(where: Path | str) -> Path | URL:
    """A SQLite file, or a URL of PostgreSQL."""
    scheme, separator, _ = str(where).partition("://")
    if isinstance(where, Path) or not separator:
        return Path(where)
    if scheme == "sqlite" and (path := where.removeprefix("sqlite:///")) not in {where, ""}:
        return Path(path)
    if scheme not in postgres.DRIVERS:
        raise InvalidError(f"databases at '{scheme[:20]}://' are not known here: {_KNOWN}")
    return postgres.parse(where)


def look(where: Path | str) -> tuple[str, str | None]:
    """The database for messages, and its schema's revision; nothing is made or changed.

    Args:
        where: as `open_database` takes it.

    Returns:
        Its address without a password; the revision, None where it has no tables yet.

    Raises:
        ModelworksError: those of `open_database`.
    """
    kind = _kind(where)
    if isinstance(kind, Path):
        if not kind.exists():
            return str(kind), None
        shown, engine = str(kind), sqlite.sqlite_engine(kind)
    else:
        shown, engine = postgres.shown(kind), postgres.postgres_engine(kind)
    try:
        with translated(shown), engine.connect() as connection:
            return shown, schema.revision(connection, shown)
    finally:
        engine.dispose()


def _open_sqlite(path: Path) -> Database:
    where = str(path)
    engine = sqlite.sqlite_engine(path)
    try:
        with translated(where):
            if not (path.exists() and schema.is_current(engine, where)):
                with sqlite.migrating(engine, path) as connection:
                    schema.bring_up(connection, where)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, sqlite.writing(engine), where)


def _open_postgres(url: URL) -> Database:
    where = postgres.shown(url)
    engine = postgres.postgres_engine(url)
    try:
        with translated(where):
            if not schema.is_current(engine, where):
                with postgres.migrating(engine) as connection:
                    schema.bring_up(connection, where)
    except BaseException:
        engine.dispose()
        raise
    return Database(postgres.reading(engine), postgres.writing(engine), where)
