"""Turns what the database drivers raise into one-line errors of `core`."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from modelworks.core.errors import (
    ConflictError,
    CorruptError,
    CrashedError,
    ModelworksError,
    UnavailableError,
)

_SHOWN = 300

# PostgreSQL's SQLSTATE, the most specific prefix first: which error, and what to do about it.
# {} is what the server said.
_STATES: tuple[tuple[str, type[ModelworksError], str], ...] = (
    (
        "53100",
        UnavailableError,
        "the server's disk is full; nothing was changed: free some space, then retry",
    ),
    ("53300", UnavailableError, "the server has no connection left; retry, or raise its limit"),
    ("53", UnavailableError, "the server is out of resources ({}); retry"),
    ("55P03", UnavailableError, "another process keeps it locked; retry in a moment"),
    ("40", UnavailableError, "another process got in the way ({}); nothing was changed: retry"),
    ("57014", UnavailableError, "the server gave up on the statement ({}); retry"),
    ("57P", UnavailableError, "the server is being stopped or started ({}); retry"),
    ("25P03", UnavailableError, "the transaction took too long ({}); nothing was changed: retry"),
    ("08", UnavailableError, "the connection broke ({}); retry"),
    (
        "25006",
        UnavailableError,
        "it is read-only: a replica, or set so; connect to the primary server",
    ),
    ("28", UnavailableError, "the server refuses this user ({}): check user and password"),
    ("3D000", UnavailableError, "there is no such database: create it with createdb"),
    (
        "42501",
        UnavailableError,
        "this user may not do that ({}): grant it, or make it the database's owner",
    ),
    ("23", ConflictError, "{}: something else refers to it or has it"),
    ("XX", CorruptError, "{}; restore it from a backup"),
)

# What libpq says before there is a server to give a state.
_WORDS: tuple[tuple[str, str], ...] = (
    ("password authentication failed", "the server refuses this user: check user and password"),
    ("no password supplied", "the server wants a password: put it into the URL or PGPASSWORD"),
    ("no pg_hba.conf entry", "the server refuses this user from here: see its pg_hba.conf"),
    ("too many clients", "the server has no connection left; retry, or raise its limit"),
    ("remaining connection slots", "the server has no connection left; retry, or raise its limit"),
    ("too many connections", "the server has no connection left; retry, or raise its limit"),
    ("starting up", "the server is starting; retry in a moment"),
    ("shutting down", "the server is being stopped; retry when it is back"),
    ("role ", "the server does not know this user: check it, or make it with createuser"),
    ("database ", "there is no such database: create it with createdb"),
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise `core.errors` in place of driver errors.

    Args:
        where: the database, as the user knows it: a file or a URL without its password.
    """
    try:
        yield
    except DBAPIError as error:
        raise translate(error.orig, where) from error
    except sqlite3.Error as error:
        raise translate(error, where) from error
    except PoolTimeoutError as error:
        raise UnavailableError(f"database {where}: too many requests at once; retry") from error
    except SQLAlchemyError as error:
        raise CrashedError(f"database {where}: {_line(error)}") from error


def translate(error: BaseException | None, where: str) -> ModelworksError:
    """The error to show for what the driver raised."""
    if isinstance(error, sqlite3.Error) or hasattr(error, "sqlite_errorname"):
        return _of_sqlite(error, where)
    return _of_postgres(error, where)


def _of_sqlite(error: BaseException | None, where: str) -> ModelworksError:
    name = getattr(error, "sqlite_errorname", "") or ""
    text = _line(error)
    if name.startswith("SQLITE_FULL") or "disk is full" in text:
        return UnavailableError(
            f"database {where}: the disk is full; nothing was changed: free some space, then retry"
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or "locked" in text:
        return UnavailableError(
            f"database {where}: another process keeps it locked; retry in a moment"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return CorruptError(
            f"database {where}: {text}; restore it from a backup, or move it away to begin anew"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        return UnavailableError(
            f"database {where}: {text}; check that its folder exists and can be written"
        )
    if name.startswith("SQLITE_CONSTRAINT"):
        return ConflictError(f"database {where}: {text}: something else refers to it or has it")
    return CrashedError(f"database {where}: {text}")


def _of_postgres(error: BaseException | None, where: str) -> ModelworksError:
    state = getattr(error, "sqlstate", None) or ""
    text = _line(error)
    for prefix, kind, words in _STATES:
        if state.startswith(prefix):
            return kind(f"database {where}: {words.format(text)}")
    if state:
        return CrashedError(f"database {where}: {text}")
    if type(error).__name__ == "ProgrammingError":
        return UnavailableError(f"database {where}: {text}: check the options in its URL")
    said = text.partition("FATAL:")[2]
    for word, cure in _WORDS if said else ():
        if word in said:
            return UnavailableError(f"database {where}: {cure}")
    return UnavailableError(
        f"database {where}: {said.strip() or text}; check that the server runs and can be reached, "
        "then retry"
    )


def _line(error: BaseException | None) -> str:
    return str(error).strip().split("\n", 1)[0][:_SHOWN] or type(error).__name__
