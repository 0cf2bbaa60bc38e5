"""A listening Unix socket: its path, its rights, and what an earlier server left there."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelworks.core.errors import ConflictError, InvalidError

_LONGEST = 107  # bytes; the kernel's `sun_path` has 108 with the zero behind it
_TRY_S = 1.0
_LOCK_S = 2.0


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """One that listens.

    Attributes:
        sock: non-blocking; connections wait in its backlog until somebody accepts them.
        path: absolute.
        identity: device and inode of the path, as it was made.
    """

    sock: socket.socket
    path: Path
    identity: tuple[int, int]

    def remove(self) -> None:
        """Take the path away, so that no further client connects, unless it is another's by now."""
        with contextlib.suppress(OSError):
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == self.identity:
                self.path.unlink()


def listen_unix(path: Path, mode: int, backlog: int) -> UnixSocket:
    """Listen on a path; a socket that nobody listens on is replaced.

    Args:
        path: at most 107 bytes long.
        mode: who may connect, as of `chmod`: connecting needs the right to write.
        backlog: connections that wait to be accepted.

    Raises:
        ConflictError: somebody listens there, or it is no socket.
        InvalidError: no such folder, no right to write there, or too long a path.
    """
    path = path.absolute()
    if len(os.fsencode(path)) > _LONGEST:
        raise InvalidError(
            f"{path} is too long for a Unix socket ({_LONGEST} bytes at most): take a shorter path",
            field="unix",
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone(path.parent):
            _clear(path)
            sock.bind(str(path))
            path.chmod(mode)  # nobody can connect before `listen`
            sock.listen(backlog)
            found = path.lstat()
    except OSError as error:
        sock.close()
        raise InvalidError(
            f"cannot listen on the Unix socket {path}: {error.strerror or error}", field="unix"
        ) from error
    except ConflictError:
        sock.close()
        raise
    sock.setblocking(False)  # noqa: FBT003 - the library's signature
    return UnixSocket(sock, path, (found.st_dev, found.st_ino))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: of two servers that start at once, one must not remove the other's.

    A folder that cannot be opened for reading is used without, and so is one whose lock somebody
    keeps for two seconds: anybody may take the lock of a folder that all can read.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        yield
        return
    try:
        end = time.monotonic() + _LOCK_S
        while not _locked(handle) and time.monotonic() < end:
            time.sleep(_LOCK_S / 100)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConflictError(f"{path} is there and is no socket: take another path", field="unix")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TRY_S)
        code = probe.connect_ex(str(path))
    if code != errno.ECONNREFUSED:
        raise ConflictError(
            f"another program listens on {path}: stop it or take another path", field="unix"
        )
    path.unlink()
