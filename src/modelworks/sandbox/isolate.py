"""Puts walls up around the present process, in the order that works, and says which stand."""

import errno
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from modelworks.sandbox import kernel
from modelworks.sandbox.limits import Limits

# What Python and numeric libraries read of the system; nothing here is the user's.
_SYSTEM = {
    "/": "usr lib lib32 lib64 bin opt nix/store",
    "/etc": "ld.so.cache localtime ssl nsswitch.conf passwd os-release mime.types alternatives",
    "/proc": "cpuinfo meminfo stat self sys filesystems",
    "/sys": "devices/system fs/cgroup kernel/mm",
    "/dev": "urandom random zero",
}
_REFUSED_EVENTS = frozenset(
    {
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
        "os.startfile",
        "pty.spawn",
        "subprocess.Popen",
        "socket.bind",
        "socket.connect",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
        "urllib.Request",
    }
)
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Isolation:
    """Which walls stand around a job.

    Attributes:
        network: it can reach no network at all.
        files: Landlock: only its work folder can be written, and only the system, Python and the
            files that it was given can be read.
        processes: it cannot start a process or a program.
        privileges: it holds no capability and cannot gain one.
        reasons: why a wall does not stand, one line each.
    """

    network: bool = False
    files: bool = False
    processes: bool = False
    privileges: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every wall stands."""
        return self.network and self.files and self.processes and self.privileges


def isolate(
    work: Path, reads: tuple[Path, ...], limits: Limits, devices: tuple[Path, ...] = ()
) -> Isolation:
    """Put up every wall that this system offers around the calling process; there is no way back.

    Args:
        work: the only folder that can be written afterwards.
        reads: files and folders, besides Python and the system, that can be read.
        limits: for this process.
        devices: files of accelerators: they can be read and written.
    """
    reasons: list[str] = []

    def attempt(wall: Callable[[], Any]) -> Any:
        try:
            return wall()
        except (OSError, AttributeError, ValueError) as error:
            reasons.append(str(error) or type(error).__name__)
            return error

    def stands(result: Any) -> bool:
        return not isinstance(result, Exception)

    own_user = attempt(kernel.own_network)
    set_limits(limits, own_user=own_user is True)
    privileges = stands(attempt(kernel.drop_capabilities))
    privileges = stands(attempt(kernel.no_new_privileges)) and privileges
    python = [Path(p) for p in (*sys.path, sys.prefix, sys.base_prefix, sys.exec_prefix) if p]
    system = [Path(root, name) for root, names in _SYSTEM.items() for name in names.split()]
    written = [work, Path("/dev/null"), *devices]
    files = attempt(lambda: kernel.landlock(written, [*system, *python, *reads]))
    calls = stands(attempt(kernel.forbid_calls))
    return Isolation(
        network=stands(own_user) or calls,
        files=stands(files),
        processes=calls,
        privileges=privileges,
        reasons=tuple(reasons),
    )


def set_limits(limits: Limits, *, own_user: bool) -> None:
    """The kernel's resource limits; soft limits that are lower already are kept.

    Args:
        limits: wanted.
        own_user: the process is alone in its user namespace, so that processes can be counted.
    """
    bounds = [
        (resource.RLIMIT_AS, limits.memory_bytes, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds, 5),
        (resource.RLIMIT_FSIZE, limits.file_bytes, 0),
        (resource.RLIMIT_NOFILE, limits.open_files, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ]
    if own_user:
        bounds.append((resource.RLIMIT_NPROC, 256, 0))
    for kind, value, slack in bounds:
        if kind == resource.RLIMIT_CPU and not value:
            continue
        _, hard = resource.getrlimit(kind)
        ceiling = value + slack if hard == resource.RLIM_INFINITY else min(value + slack, hard)
        resource.setrlimit(kind, (min(value, ceiling), ceiling))


class Guard:
    """Refuses, inside Python, what no model file needs; the kernel's walls stand behind it.

    A refusal is a `PermissionError`, which libraries that only try their luck expect.

    Attributes:
        attempts: what was refused, at most 20.
    """

    def __init__(self) -> None:
        self.attempts: list[str] = []
        self._armed = False

    def arm(self) -> None:
        """Begin; there is no way back."""
        self._armed = True
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _REFUSED_EVENTS and self._armed:
            self._refuse(event, arguments)

    def _refuse(self, event: str, arguments: tuple[Any, ...]) -> NoReturn:
        what = f"{event}({', '.join(_short(a) for a in arguments[:2])})"
        if len(self.attempts) < _ATTEMPTS:
            self.attempts.append(what)
        raise PermissionError(errno.EPERM, f"{what}: {os.strerror(errno.EPERM)}")


def _short(value: Any) -> str:
    if isinstance(value, str | bytes | int | list | tuple | None):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    return type(value).__name__
