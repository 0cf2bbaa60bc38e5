"""Brings a database to this build's schema, once, whoever comes first.

alembic is imported only when there is something to migrate: a command that finds the schema
current does not pay for it.
"""

import threading
from importlib import resources
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text

from modelworks.core.errors import CorruptError, UnsupportedError
from modelworks.db.tables import Base

HEAD = "0008"
"""Newest revision in `migrations/versions`; a test keeps it true."""

_MIGRATING = threading.Lock()
"""alembic keeps the migration under way in its modules: one at a time a process, whatever file."""


def is_current(engine: Engine, where: str) -> bool:
    """Whether the database has this build's schema; nothing is written.

    Raises:
        UnsupportedError: a newer Modelworks wrote the database.
        CorruptError: it holds tables that are not ours.
    """
    with engine.connect() as connection:
        return revision(connection, where) == HEAD


def bring_up(connection: Connection, where: str) -> None:
    """Migrate to `HEAD` where another process has not done so meanwhile.

    Args:
        connection: in a transaction that no other process migrates beside.
        where: the database, for messages.

    Raises:
        UnsupportedError: a newer Modelworks wrote the database.
        CorruptError: it holds tables that are not ours.
    """
    if revision(connection, where) != HEAD:
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

        def steps(current: Any, _context: Any) -> Any:
            # What alembic's own commands call; it has no public name for "in this transaction".
            plan = script._downgrade_revs if down else script._upgrade_revs  # noqa: SLF001 - see above
            return plan(target, current)

        with EnvironmentContext(Config(), script, fn=steps) as environment:
            environment.configure(
                connection=connection,
                target_metadata=Base.metadata,
                render_as_batch=True,
                transactional_ddl=True,
            )
            environment.run_migrations()


def revision(connection: Connection, where: str) -> str | None:
    """The database's revision; None = an empty database.

    Raises:
        UnsupportedError: a newer Modelworks wrote the database.
        CorruptError: it holds tables that are not ours.
    """
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        if tables:
            raise CorruptError(
                f"database {where}: holds tables of another program ({min(tables)}); give this "
                "one a database of its own: see MODELWORKS_HOME and MODELWORKS_DATABASE"
            )
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and found > HEAD:
        raise UnsupportedError(
            f"database {where}: written by a newer Modelworks (schema {found}, "
            f"this one knows {HEAD}): pip install --upgrade modelworks"
        )
    return found
