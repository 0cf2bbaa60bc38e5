"""What a machine uses of itself, as `/proc` and the control groups show it."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from modelworks.core.machine import control_groups, this_machine


@dataclass(frozen=True, slots=True)
class HostLook:
    """What was counted and held at one time; 0 = it is not known here.

    Attributes:
        cores: that we may use, after affinity and control groups.
        cpu_s: CPU time of all that shares these cores with us, since the machine began.
        memory: bytes in use, files that can be dropped excepted.
        memory_limit: bytes that we may use.
        disk_free: bytes, where the data folder lies.
        disk_size: the same, in all.
        received: bytes, by all interfaces but the loopback.
        sent: the same.
        files: open ones, of the whole machine.
        load: processes that run or wait, on average over a minute.
        faults: pages read back from disk, since the machine began: it has too little memory.
    """

    cores: float = 0.0
    cpu_s: float = 0.0
    memory: int = 0
    memory_limit: int = 0
    disk_free: int = 0
    disk_size: int = 0
    received: int = 0
    sent: int = 0
    files: int = 0
    load: float = 0.0
    faults: int = 0


@dataclass(frozen=True, slots=True)
class HostUse:
    """Between two looks, and at the second.

    Attributes:
        values: name of a series -> value.
    """

    values: dict[str, float] = field(default_factory=dict)


def look(folder: Path, root: Path = Path("/")) -> HostLook:
    """Look once.

    Args:
        folder: on the disk that counts.
        root: where `proc` and `sys` are; another one in tests.
    """
    machine = this_machine(root)
    group = next((g for g in control_groups(root) if (g / "cpu.stat").exists()), None)
    ours = _of_group(group) if machine.limited_by == "cgroup" and group else 0.0
    received, sent = _network(root)
    memory = {line.split(":")[0]: line for line in _lines(root / "proc/meminfo")}
    total, free = _kilobytes(memory, "MemTotal"), _kilobytes(memory, "MemAvailable")
    used, limit = total - free, total
    if 0 < machine.memory_bytes < total:
        held = [size for g in control_groups(root) if (size := _group_memory(g))]
        used, limit = (held or [used])[0], machine.memory_bytes
    disk_free = disk_size = 0
    with contextlib.suppress(OSError):
        found = os.statvfs(folder)
        disk_free, disk_size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return HostLook(
        cores=machine.quota,
        cpu_s=ours or _cpu(root),
        memory=max(0, used),
        memory_limit=limit,
        disk_free=disk_free,
        disk_size=disk_size,
        received=received,
        sent=sent,
        files=int(_first(root / "proc/sys/fs/file-nr")),
        load=_first(root / "proc/loadavg"),
        faults=_vmstat(root),
    )


def use(before: HostLook | None, now: HostLook, seconds: float) -> HostUse:
    """What a machine did between two looks.

    Args:
        before: None = only what is seen at once is said.
        now: the second look.
        seconds: between them.
    """
    told = {
        "host_memory_bytes": float(now.memory),
        "host_disk_free_bytes": float(now.disk_free),
        "host_files": float(now.files),
        "host_load": now.load,
    }
    if now.memory_limit:
        told["host_memory_share"] = now.memory / now.memory_limit
    if now.disk_size:
        told["host_disk_share"] = 1 - now.disk_free / now.disk_size
    if before is not None and seconds > 0:
        cores = max(0.0, now.cpu_s - before.cpu_s) / seconds
        told["host_cpu_cores"] = cores
        told["host_cpu_share"] = min(1.0, cores / now.cores) if now.cores else 0.0
        for name, newer, older in (
            ("host_received_bytes_per_s", now.received, before.received),
            ("host_sent_bytes_per_s", now.sent, before.sent),
            ("host_major_faults_per_s", now.faults, before.faults),
        ):
            told[name] = max(0, newer - older) / seconds
    return HostUse(told)


def _cpu(root: Path) -> float:
    """CPU time of the whole machine but what idles or waits for a disk."""
    ticks = os.sysconf("SC_CLK_TCK")
    for line in _lines(root / "proc/stat"):
        if line.startswith("cpu "):
            numbers = [int(number) for number in line.split()[1:9]]
            return (sum(numbers) - sum(numbers[3:5])) / ticks
    return 0.0


def _of_group(group: Path) -> float:
    for line in _lines(group / "cpu.stat"):
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    return 0.0


def _group_memory(group: Path) -> int:
    """What a group holds, less files that can be dropped."""
    held = _first(group / "memory.current") or _first(group / "memory.usage_in_bytes")
    inactive = 0
    for line in _lines(group / "memory.stat"):
        if line.startswith(("inactive_file ", "total_inactive_file ")):
            inactive = int(line.split()[1])
    return max(0, int(held) - inactive)


def _network(root: Path) -> tuple[int, int]:
    received = sent = 0
    for line in _lines(root / "proc/net/dev")[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if name.strip() != "lo" and len(fields) > 8:
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return received, sent


def _vmstat(root: Path) -> int:
    for line in _lines(root / "proc/vmstat"):
        if line.startswith("pgmajfault "):
            return int(line.split()[1])
    return 0


def _kilobytes(memory: dict[str, str], name: str) -> int:
    return int(memory[name].split()[1]) * 1024 if name in memory else 0


def _first(path: Path) -> float:
    """The first number of a file; 0 = there is none."""
    with contextlib.suppress(ValueError, IndexError):
        return float(_lines(path)[0].split()[0])
    return 0.0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
