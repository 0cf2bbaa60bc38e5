"""Which processes serve an address on this machine, and the CPU time that they have used."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from modelworks.core.errors import NotFoundError
from modelworks.measure.target import Target

_LISTEN: Final = "0A"
_LOCAL: Final = frozenset({"localhost", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound
_SCHED: Final = 2  # the clock of a process's CPU time, ns, all its threads


def serving(target: Target) -> tuple[int, ...]:
    """Processes of this machine that listen there; empty = another machine's, or not ours to see.

    Args:
        target: the endpoint.
    """
    if not (target.unix or target.host in _LOCAL or target.host.startswith("127.")):
        return ()
    wanted = _unix_inodes(target.unix) if target.unix else _tcp_inodes(target.port)
    links = {f"socket:[{inode}]" for inode in wanted}
    found = [pid for pid in _pids() if links & set(_descriptors(pid))]
    return () if os.getpid() in found else tuple(found)


def tree(roots: Iterable[int]) -> set[int]:
    """The processes and all their descendants that live now."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if Path(f"/proc/{pid}").exists()]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def cpu_ns(pid: int) -> int | None:
    """CPU time that a process has used so far, ns; None where it has ended."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _SCHED)
    except (OSError, OverflowError):
        return None


class ServerCpu:
    """CPU time of a server's processes since this was made.

    Args:
        pids: its processes; their descendants count too.

    Raises:
        NotFoundError: none of them lives.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._roots = tuple(pids)
        self._before = self._now()
        if not self._before:
            raise NotFoundError(f"no process {', '.join(map(str, self._roots))}", field="pid")

    def seconds(self) -> float:
        """Used since; what a process used that has ended meanwhile is not in it."""
        now = self._now()
        return sum(used - self._before.get(pid, 0) for pid, used in now.items()) / 1e9

    def _now(self) -> dict[int, int]:
        found = {pid: cpu_ns(pid) for pid in tree(self._roots) - {os.getpid()}}
        return {pid: used for pid, used in found.items() if used is not None}


def _pids() -> list[int]:
    try:
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """State, parent and what follows; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _descriptors(pid: int) -> list[str]:
    found = []
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.append(str(entry.readlink()))
            except OSError:
                continue
    except OSError:
        return []
    return found


def _tcp_inodes(port: int) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        for fields in _lines(f"/proc/net/{name}"):
            if len(fields) > 9 and fields[3] == _LISTEN:
                here = int(fields[1].rpartition(":")[2], 16)
                if here == port:
                    found.add(fields[9])
    return found


def _unix_inodes(path: str) -> set[str]:
    return {fields[6] for fields in _lines("/proc/net/unix") if fields[7:] == [path]}


def _lines(path: str) -> list[list[str]]:
    try:
        return [line.split() for line in Path(path).read_text().splitlines()[1:]]
    except OSError:
        return []
