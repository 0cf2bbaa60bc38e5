"""Processes of this machine, as `/proc` shows them: who they are, and what they hold."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_DEAD: Final = {"Z", "X"}


def began(pid: int) -> int:
    """When a process began, in clock ticks since the machine did; 0 = it has ended.

    Number and beginning together are one process for ever: a number alone is used again.
    """
    fields = _fields(pid)
    return 0 if not fields or fields[0] in _DEAD else int(fields[19])


def end(process: "subprocess.Popen[str] | subprocess.Popen[bytes]", wait_s: float) -> None:
    """Ask a child of ours to end, kill it where it has not in time, and close its output."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(wait_s)
    if process.stdout is not None:
        process.stdout.close()


def parent(pid: int) -> int:
    """Of a process; 0 = it is gone."""
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def marked(variable: str) -> dict[int, str]:
    """Our processes that were started with an environment variable, by number: its value."""
    found = {}
    head = f"{variable}=".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # another user's, or gone by now
            for text in (entry / "environ").read_bytes().split(b"\0"):
                if text.startswith(head):
                    found[int(entry.name)] = text.removeprefix(head).decode(errors="replace")
    return {pid: value for pid, value in found.items() if began(pid)}


def descendants(pid: int) -> list[int]:
    """A process and all that it started, as far as they live."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        if not began(one):
            continue
        found.append(one)
        for task in _tasks(one):
            with suppress(OSError):
                waiting += map(int, (task / "children").read_text().split())
    return found


def private_bytes(pids: Iterable[int]) -> int:
    """Memory that processes hold beside files and what they share."""
    total = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
            total += (int(resident) - int(shared)) * _PAGE
    return total


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _fields(pid: int) -> list[str]:
    """What follows the name in `/proc/PID/stat`; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
