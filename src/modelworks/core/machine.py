"""What this process may use of the machine: cores, CPU time and memory, by the kernel's limits."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number of about 2 ** 63


@dataclass(frozen=True, slots=True)
class Machine:
    """The share of a machine that a process has.

    Attributes:
        cores: logical ones it may run on (affinity).
        quota: cores' worth of CPU time that its control group gives; at most `cores`.
        memory_bytes: the smallest limit there is; 0 = unknown.
        limited_by: what sets `quota`: `affinity` or `cgroup`.
    """

    cores: int
    quota: float
    memory_bytes: int
    limited_by: str = "affinity"


def this_machine(root: Path = Path("/")) -> Machine:
    """What we may use.

    Args:
        root: where `proc` and `sys` are; another one in tests.
    """
    cores = _affinity()
    groups = list(control_groups(root))
    quotas = [quota for group in groups if (quota := _quota(group)) > 0]
    quota = min([float(cores), *quotas])
    limits = [limit for group in groups if 0 < (limit := _memory(group)) < _UNLIMITED]
    total = _total(root)
    return Machine(
        cores,
        quota,
        min([*limits, *([total] if total else [])], default=0),
        "cgroup" if quota < cores else "affinity",
    )


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def control_groups(root: Path = Path("/")) -> Iterator[Path]:
    """Folders of our control groups and those around them, of version 2 and of version 1.

    A container sees its own group at the top, whatever `/proc/self/cgroup` calls it.
    """
    text = _read(root / "proc/self/cgroup")
    base = root / "sys/fs/cgroup"
    for line in text.splitlines() or ["0::/"]:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        tops = [base / name for name in names.split(",") if name in {"cpu", "memory"}]
        tops += [base / names] if "cpu" in names.split(",") and "," in names else []
        for top in tops if names else [base, base / "unified"]:
            inner = Path(path.lstrip("/"))
            yield from dict.fromkeys([top / inner, *(top / p for p in inner.parents), top])


def _quota(group: Path) -> float:
    """Cores' worth of CPU time; 0 = no limit here."""
    with contextlib.suppress(ValueError, ZeroDivisionError):
        given, period = (_read(group / "cpu.max").split() or ["max", "1"])[:2]
        if given != "max":
            return int(given) / int(period)
    with contextlib.suppress(ValueError, ZeroDivisionError):
        given = _read(group / "cpu.cfs_quota_us")
        return max(0.0, int(given) / int(_read(group / "cpu.cfs_period_us")))
    return 0.0


def _memory(group: Path) -> int:
    """Bytes; 0 = no limit here."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with contextlib.suppress(ValueError):
            return int(_read(group / name))
    return 0


def _total(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
