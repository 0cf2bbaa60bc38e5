"""What memory there is and who takes it: processes, cgroup, machine. Linux; elsewhere unknown."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_RESERVE: Final = 0.1
_LEAST_RESERVE: Final = 256 * MIB


@dataclass(frozen=True, slots=True)
class Machine:
    """Of the tightest of cgroup and machine.

    Attributes:
        total: bytes.
        available: bytes that can be had without swapping.
    """

    total: int
    available: int

    @property
    def reserve(self) -> int:
        """Bytes that are left to everything else, so that the system need not kill anybody."""
        return max(int(self.total * _RESERVE), min(_LEAST_RESERVE, self.total // 2))


def own() -> int:
    """Resident bytes of this process; 0 where that is not known."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - no path is built here
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def of_processes(pids: Iterable[int]) -> int:
    """Bytes that processes take: what they share is shared out between those who share it."""
    return sum(_of_process(pid) for pid in pids)


def _of_process(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def machine(root: Path = Path("/")) -> Machine | None:
    """What this process may use; None where the system does not say.

    Args:
        root: of the file system; another one in tests.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        facts = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if ":" in line}
        found = Machine(facts["MemTotal"], facts["MemAvailable"])
    except (OSError, KeyError, ValueError, IndexError):
        return None
    for total, used in _groups(root):
        found = Machine(min(found.total, total), min(found.available, max(0, total - used)))
    return found


def _groups(root: Path) -> Iterable[tuple[int, int]]:
    """Limit and use of every cgroup, of either version, that this process is in."""
    files = {"": ("memory.max", "memory.current", "inactive_file")}
    files["memory"] = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        kind = "memory" if "memory" in kinds.split(",") else kinds
        if kind not in files:
            continue
        top = root / "sys/fs/cgroup" / kind
        here = top / path.strip("/")
        # Inside a container the path may be the host's: what is mounted at the top is our own.
        for folder in (here, *here.parents):
            if not folder.is_relative_to(top):
                break
            with suppress(OSError, ValueError):
                yield _group(folder, *files[kind])


def _group(folder: Path, limit: str, usage: str, cached: str) -> tuple[int, int]:
    total = int((folder / limit).read_text())  # "max" = no limit: ValueError
    used = int((folder / usage).read_text())
    for line in (folder / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == cached:  # pages of files that nobody waits for: given up at need
            used -= int(value)
    return total, used
