"""What memory there is and who takes it: processes, cgroup, machine. Linux; elsewhere unknown."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.core.machine import control_groups

MIB: Final = 1 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_RESERVE: Final = 0.1
_LEAST_RESERVE: Final = 256 * MIB
_FILES: Final = (  # of a control group of version 2, of version 1
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


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
    """Limit and use of every control group, of either version, that this process is in."""
    for folder in control_groups(root):
        for names in _FILES:
            with suppress(OSError, ValueError):
                yield _group(folder, *names)


def _group(folder: Path, limit: str, usage: str, cached: str) -> tuple[int, int]:
    total = int((folder / limit).read_text())  # "max" = no limit: ValueError
    used = int((folder / usage).read_text())
    for line in (folder / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == cached:  # pages of files that nobody waits for: given up at need
            used -= int(value)
    return total, used
