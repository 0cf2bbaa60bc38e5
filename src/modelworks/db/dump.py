"""Every row of a database as lines of JSON, and back into an empty database of any earlier schema.

A line is the list of one row's values, in the order of the table's columns; bytes are written in
base64. The rows of what passes (leases, locks) are left out.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from typing import Any, Final

from sqlalchemy import JSON, Connection, LargeBinary, MetaData, Table, func, insert, select, text

from modelworks.core.errors import ConflictError, CorruptError, UnsupportedError
from modelworks.db import schema
from modelworks.db.engine import Database
from modelworks.db.failures import translated
from modelworks.db.session import EveryTenantSession
from modelworks.db.tables import Base

PASSING: Final = frozenset({"leases", "deployment_locks"})
"""Tables whose rows mean something to running processes only."""

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of every table, whatever others write meanwhile.

    Attributes:
        connection: that sees it.
        session: the same, to ask of rows.
    """

    connection: Connection
    session: EveryTenantSession

    def tables(self) -> list[tuple[str, tuple[str, ...]]]:
        """(name, columns) of each table, those that others refer to first."""
        return [(t.name, tuple(t.columns.keys())) for t in _kept()]

    def lines(self, name: str) -> Iterator[bytes]:
        """The rows of a table, each as a line; by primary key."""
        table = Base.metadata.tables[name]
        statement = select(table).order_by(*table.primary_key.columns)
        options = {"yield_per": _BATCH}
        for row in self.connection.execute(statement, execution_options=options):
            line = json.dumps(list(row), default=_text, ensure_ascii=False, separators=(",", ":"))
            yield line.encode() + b"\n"


@contextmanager
def snapshot(database: Database, hold: Callable[[EveryTenantSession], None]) -> Iterator[Snapshot]:
    """The database as it is now.

    Args:
        database: open.
        hold: called in a write transaction that sees the very rows of the snapshot. What it
            writes is not in the snapshot.
    """
    with translated(database.where), database.reader.connect() as connection:
        with database.every_tenant() as session:
            # Nobody else writes now; the first statement is where the reader's snapshot begins.
            connection.execute(text("SELECT version_num FROM alembic_version"))
            hold(session)
        with EveryTenantSession(connection) as session:
            yield Snapshot(connection, session)


@dataclass(frozen=True, slots=True)
class Filling:
    """An empty database in the transaction that fills it.

    Attributes:
        connection: in that transaction.
        session: the same, for rows of this build's schema: after `bring_up`.
        where: the database, for messages.
    """

    connection: Connection
    session: EveryTenantSession
    where: str

    def add(self, name: str, columns: tuple[str, ...], lines: Iterable[bytes]) -> int:
        """Add rows to a table; how many.

        Raises:
            CorruptError: no such table or column, or values of the wrong kind.
            ConflictError: a row contradicts another one.
        """
        if name in PASSING:
            raise CorruptError(f"rows of '{name[:60]}' belong to no backup")
        table = _reflected(self.connection, name, columns)
        count = 0
        rows = (_row(table, columns, line, at) for at, line in enumerate(lines, 1))
        while batch := list(islice(rows, _BATCH)):
            self.connection.execute(insert(table), batch)
            count += len(batch)
        return count

    def bring_up(self) -> None:
        """Migrate what was added to this build's schema."""
        schema.bring_up(self.connection, self.where)


@contextmanager
def filling(database: Database, revision: str) -> Iterator[Filling]:
    """A transaction in which an empty database is filled with rows of an earlier schema, or ours.

    All of it is kept, or nothing. Other writers wait or are refused until it ends.

    Args:
        database: open; its schema is this build's.
        revision: of the schema that the rows have.

    Raises:
        ConflictError: the database holds rows.
        UnsupportedError: a newer Modelworks wrote the rows.
    """
    _known(revision)
    with translated(database.where), database.migrating() as connection:
        if connection.dialect.name == "postgresql":
            # Files travel between two statements, for as long as they take.
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        _empty(connection, database.where)
        if revision != schema.HEAD:
            schema.migrate(connection, "base", down=True)
            schema.migrate(connection, revision)
        with EveryTenantSession(connection) as session:
            yield Filling(connection, session, database.where)


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"a row holds a {type(value).__name__}")
    return base64.b64encode(value).decode()


def _kept() -> list[Table]:
    return [table for table in Base.metadata.sorted_tables if table.name not in PASSING]


def _known(revision: str) -> None:
    if revision > schema.HEAD:
        raise UnsupportedError(
            f"it was made by a newer Modelworks (schema {revision[:20]}, this one knows "
            f"{schema.HEAD}): pip install --upgrade modelworks"
        )
    folder = resources.files("modelworks.db") / "migrations" / "versions"
    known = {path.name.partition("_")[0] for path in folder.iterdir() if path.name.endswith(".py")}
    if revision not in known:
        raise CorruptError(f"no Modelworks ever had the schema '{revision[:20]}'")


def _empty(connection: Connection, where: str) -> None:
    for table in _kept():
        count = connection.execute(select(func.count()).select_from(table)).scalar_one()
        if count:
            raise ConflictError(
                f"database {where}: '{table.name}' holds {count} rows; a backup is restored into "
                "an empty installation only: name another with MODELWORKS_HOME, or with "
                "MODELWORKS_DATABASE and MODELWORKS_ARTIFACTS"
            )


def _reflected(connection: Connection, name: str, columns: tuple[str, ...]) -> Table:
    """The table as it is at the schema of the rows."""
    found = MetaData()
    found.reflect(connection, only=lambda one, _: one == name, resolve_fks=False)
    if name not in found.tables or name == "alembic_version":
        raise CorruptError(f"'{name[:60]}' is no table of that schema")
    table = found.tables[name]
    if set(columns) != set(table.columns.keys()) or len(columns) != len(table.columns):
        raise CorruptError(f"the columns of '{name}' are not those of that schema")
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type.none_as_null = bool(column.nullable)
    return table


def _row(table: Table, columns: tuple[str, ...], line: bytes, at: int) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"row {at} of '{table.name}' cannot be read") from error
    if not isinstance(values, list) or len(values) != len(columns):
        raise CorruptError(f"row {at} of '{table.name}' has not one value a column")
    row = dict(zip(columns, values, strict=True))
    for column in table.columns:
        value = row[column.name]
        if isinstance(column.type, LargeBinary) and isinstance(value, str):
            value = row[column.name] = _bytes(value, table.name, at)
        free = isinstance(column.type, JSON) or (value is None and column.nullable)
        if not free and type(value) is not column.type.python_type:
            raise CorruptError(f"row {at} of '{table.name}': '{column.name}' has a wrong value")
    return row


def _bytes(text: str, table: str, at: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise CorruptError(f"row {at} of '{table}' cannot be read") from error
