"""Brings a database to this build's schema, once, whoever comes first.

alembic is imported only when there is something to migrate: a command that finds the schema
current does not pay for it.
"""

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text

from modelworks.core.errors import CorruptError, UnavailableError, UnsupportedError
from modelworks.db.tables import Base

HEAD = "0001"
"""Newest revision in `migrations/versions`; a test keeps it true."""

LOCK_SECONDS = 30.0
_MIGRATING = threading.Lock()
"""alembic keeps the migration under way in its modules: one at a time a process, whatever file."""


def bring_up(reader: Engine, writer: Engine, path: Path) -> None:
    """Migrate to `HEAD` where needed; concurrent callers wait for the first.

    Raises:
        UnsupportedError: a newer Modelworks wrote the database.
        CorruptError: it holds tables that are not ours.
        UnavailableError: another process has been migrating for too long.
    """
    if path.exists() and _current(reader) == HEAD:
        return
    with _locked(path.with_name(path.name + ".lock")):
        _use_wal(reader)
        if _current(reader) != HEAD:
            with writer.begin() as connection:
                migrate(connection, HEAD)


def migrate(connection: Connection, target: str, *, down: bool = False) -> None:
    """Run migrations to `target` inside the connection's transaction.

    Args:
        connection: in a write transaction.
        target: a revision, or `base` for an empty database.
        down: whether `target` is older than what the database has.
    """
    from alembic.config import Config  # noqa: PLC0415 - see the module's docstring
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - the same
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - the same

    files = resources.as_file(resources.files("modelworks.db") / "migrations")
    with _MIGRATING, files as folder:
        script = ScriptDirectory(str(folder))

        def steps(revision: Any, _context: Any) -> Any:
            # What alembic's own commands call; it has no public name for "in this transaction".
            plan = script._downgrade_revs if down else script._upgrade_revs  # noqa: SLF001 - see above
            return plan(target, revision)

        with EnvironmentContext(Config(), script, fn=steps) as environment:
            environment.configure(
                connection=connection,
                target_metadata=Base.metadata,
                render_as_batch=True,
                transactional_ddl=True,
            )
            environment.run_migrations()


def _current(engine: Engine) -> str | None:
    """The database's revision; None = an empty database."""
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        if "alembic_version" not in tables:
            if tables:
                raise CorruptError(
                    f"database {engine.url.database}: holds tables of another program "
                    f"({min(tables)}); choose another data folder"
                )
            return None
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision is not None and revision > HEAD:
        raise UnsupportedError(
            f"database {engine.url.database}: written by a newer Modelworks (schema {revision}, "
            f"this one knows {HEAD}): pip install --upgrade modelworks"
        )
    return revision


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
