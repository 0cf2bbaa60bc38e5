"""Changes of a file of API keys: add, list, revoke. Comments and the order of lines stay."""

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modelworks.core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from modelworks.core.keys import Key, Keys, Role, digest_of, new_key, parse

_HEAD: Final = "# Modelworks API keys: name:role:sha256:hash\n"
_LARGEST: Final = 2 << 20
_LOCK_S: Final = 10.0
_STEP_S: Final = 0.05


class KeyFile:
    """One file of keys.

    Args:
        path: need not exist before the first `add`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # behind a link: the link itself stays

    def keys(self) -> Keys:
        """What is in it.

        Raises:
            NotFoundError: no such file.
            InvalidError: it cannot be read, or a line is wrong.
        """
        return parse_file(self._path)

    def add(self, name: str, role: Role) -> str:
        """Make a key; only its hash is kept.

        Raises:
            ConflictError: there is a key of that name.
            InvalidError: the file cannot be read or written.
        """
        key = new_key()
        with self._locked():
            text = _text(self._path) if self._path.exists() else _HEAD
            if any(known.name == name for known in _parsed(self._path, text).entries):
                raise ConflictError(
                    f"{self._path} has a key of the name {name}: revoke it, or add one of another "
                    "name and revoke this one later",
                    field="name",
                )
            line = f"{Key(name, role, digest_of(key.encode()))}\n"
            self._replace(text + ("" if text.endswith("\n") else "\n") + line)
        return key

    def revoke(self, name: str) -> Key:
        """Take a key out; whoever follows the file refuses it from its next look on.

        Raises:
            NotFoundError: there is no key of that name, or no file.
            InvalidError: the file cannot be read or written.
        """
        with self._locked():
            found = next((key for key in self.keys().entries if key.name == name), None)
            if found is None:
                raise NotFoundError(f"{self._path} has no key of the name {name}", field="name")
            lines = _text(self._path).splitlines(keepends=True)
            left = "".join(line for line in lines if line.strip() != str(found))
            self._replace(left if left.strip() else _HEAD)
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time: a lock on the folder, which leaves nothing behind."""
        folder = self._path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise InvalidError(f"folder {folder}: {error.strerror}", field="file") from error
        try:
            _wait(held, folder)
            yield
        finally:
            os.close(held)

    def _replace(self, text: str) -> None:
        """The whole file at once: a reader sees the old one or the new one."""
        path = self._path
        temporary = ""
        try:
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".keys-", suffix=".tmp")
            with os.fdopen(handle, "w") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise InvalidError(
                f"{path} cannot be written: {error.strerror}", field="file"
            ) from error


def parse_file(path: Path) -> Keys:
    """The keys of a file.

    Raises:
        NotFoundError: no such file.
        InvalidError: it cannot be read, or a line is wrong; the message names both.
    """
    return _parsed(path, _text(path))


def _parsed(path: Path, text: str) -> Keys:
    try:
        return parse(text)
    except InvalidError as error:
        raise InvalidError(f"the key file {path}: {error.message}", field="keys") from error


def _text(path: Path) -> str:
    try:
        # Without waiting: a pipe in its place would keep us for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - opened by number
            data = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no key file {path}: make one by `modelworks keys add NAME --file {path}`",
            field="keys",
        ) from error
    except OSError as error:
        raise InvalidError(
            f"the key file {path} cannot be read by this user: {error.strerror}", field="keys"
        ) from error
    if data is None or len(data) > _LARGEST:
        raise InvalidError(f"{path} is no key file: it is too large, or no file", field="keys")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidError(
            f"the key file {path}: byte {error.start + 1} is no text (UTF-8)", field="keys"
        ) from error


def _wait(held: int, folder: Path) -> None:
    end = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                return  # a file system without locks: a change alone is whole all the same
            if time.monotonic() > end:
                raise UnavailableError(
                    f"another program has changed keys in {folder} for {_LOCK_S:g} s: try again",
                    field="file",
                ) from error
            time.sleep(_STEP_S)
        else:
            return
