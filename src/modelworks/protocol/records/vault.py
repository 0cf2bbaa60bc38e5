"""Tokens in the place of values: a vault says which is which, until a value is erased there.

An SQLite file beside the segments, readable by its owner only. Deleted values are overwritten in
the file (`secure_delete`), and nothing of them stays in a journal.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from modelworks.core.errors import UnavailableError

VAULT: Final = "vault.db"
_WAIT_S: Final = 5.0
_CACHED: Final = 10_000


class Vault:
    """The tokens of one folder of records. Used by one thread.

    Args:
        folder: of the records.

    Raises:
        UnavailableError: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / VAULT
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise self._unavailable(error) from error
        self._known: dict[str, str] = {}
        self._version = 0
        try:
            self._db = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS tokens (value TEXT PRIMARY KEY, token TEXT UNIQUE)"
                " WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def tokens(self, values: Iterable[str]) -> list[str]:
        """A token for each; the same one for the same value, made at its first coming.

        Raises:
            UnavailableError: the vault cannot be written; nothing may be written then either.
        """
        wanted = list(values)
        try:
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
            if version != self._version or len(self._known) > _CACHED:
                self._version = version  # another process changed it, and may have erased
                self._known.clear()
            missing = {value for value in wanted if value not in self._known}
            if missing:
                self._learn(missing)
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        return [self._known[value] for value in wanted]

    def find(self, value: str) -> str:
        """The token of a value; empty where it has none."""
        row = self._db.execute("SELECT token FROM tokens WHERE value = ?", (value,)).fetchone()
        return row[0] if row else ""

    def value(self, token: str) -> str:
        """The value of a token; empty where there is none, or it was erased."""
        row = self._db.execute("SELECT value FROM tokens WHERE token = ?", (token,)).fetchone()
        return row[0] if row else ""

    def forget(self, tokens: Iterable[str]) -> int:
        """Erase the values of tokens; how many there were.

        Raises:
            UnavailableError: the vault cannot be written.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            gone = [
                self._db.execute("DELETE FROM tokens WHERE token = ?", (token,)).rowcount
                for token in tokens
            ]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        self._known.clear()
        return sum(gone)

    def close(self) -> None:
        """Let go of the file; twice is quiet."""
        self._db.close()

    def _learn(self, values: set[str]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT OR IGNORE INTO tokens VALUES (?, ?)",
                [(value, f"tok_{secrets.token_hex(16)}") for value in sorted(values)],
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        for value in values:
            self._known[value] = self.find(value)

    def _unavailable(self, error: sqlite3.Error | OSError) -> UnavailableError:
        return UnavailableError(f"the vault {self._path} cannot be used: {error}")
