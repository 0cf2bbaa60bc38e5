"""Turns what the database driver raises into one-line errors of `core`."""

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


def _line(error: BaseException | None) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
