"""Our processes, by what they are: CPU time, memory, files, threads."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from modelworks.core.processes import descendants, private_bytes

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_APPS: Final = "modelworks.apps."


@dataclass(frozen=True, slots=True)
class Use:
    """What the processes of one kind hold and have used.

    Attributes:
        count: of processes.
        cpu_s: since they began.
        memory: bytes beside files and what they share.
        files: open ones.
        threads: of them.
    """

    count: int = 0
    cpu_s: float = 0.0
    memory: int = 0
    files: int = 0
    threads: int = 0

    def plus(self, other: "Use") -> "Use":
        """Both together."""
        return Use(
            self.count + other.count,
            self.cpu_s + other.cpu_s,
            self.memory + other.memory,
            self.files + other.files,
            self.threads + other.threads,
        )


def look(roots: Iterable[int]) -> dict[str, Use]:
    """The processes that these began, and they themselves, by their part: `server`, `control`.

    A process without a part of its own belongs to its parent's.
    """
    found: dict[str, Use] = {}
    seen: dict[int, str] = {}
    for root in roots:
        for pid in descendants(root):
            if pid in seen:
                continue
            fields = _fields(pid)
            parent = int(fields[1]) if fields else 0
            seen[pid] = _part(pid) or seen.get(parent, "") or "other"
            if use := _use(pid, fields):
                found[seen[pid]] = found.get(seen[pid], Use()).plus(use)
    return found


def told(
    before: Mapping[str, float], now: Mapping[str, Use], seconds: float
) -> dict[str, dict[str, float]]:
    """By part: name of a series -> value.

    Args:
        before: CPU seconds by part at the look before; empty = there was none.
        now: this look.
        seconds: between them.
    """
    answer = {}
    for part, use in now.items():
        values = {
            "process_count": float(use.count),
            "process_memory_bytes": float(use.memory),
            "process_files": float(use.files),
            "process_threads": float(use.threads),
        }
        # A part that lost a process has used less than before: nothing is known of its time then.
        if part in before and seconds > 0 and use.cpu_s >= before[part]:
            values["process_cpu_cores"] = (use.cpu_s - before[part]) / seconds
        answer[part] = values
    return answer


def _part(pid: int) -> str:
    """The name behind `-m modelworks.apps.`; empty = it is none of these."""
    with contextlib.suppress(OSError):
        for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            text = word.decode(errors="replace")
            if text.startswith(_APPS):
                return text.removeprefix(_APPS)
    return ""


def _use(pid: int, fields: list[str]) -> Use | None:
    if len(fields) < 18:
        return None
    use = Use(1, (int(fields[11]) + int(fields[12])) / _TICKS, private_bytes([pid]))
    with contextlib.suppress(OSError):
        use = replace(use, files=len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - only counted
    return replace(use, threads=int(fields[17]))


def _fields(pid: int) -> list[str]:
    """What follows the name in `/proc/PID/stat`; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
