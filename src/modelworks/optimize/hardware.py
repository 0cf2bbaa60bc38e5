"""What forms are measured on: the processor, what it can do, how its energy is read."""

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelworks.core import machine
from modelworks.core.optimizing.variants import Hardware

_KNOWN: Final = {
    # as the system says: as we say
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "avx512_fp16": "avx512_fp16",
    "avx512_bf16": "avx512_bf16",
    "avx512_vnni": "avx512_vnni",
    "avx512f": "avx512f",
    "avx_vnni": "avx_vnni",
    "avx2": "avx2",
    "fma": "fma",
    "sve": "sve",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "asimddp": "dotprod",
    "asimdhp": "fp16",
}
_TELLING: Final = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "dotprod")
"""What decides which form is fastest, the strongest first: the class of hardware is named so."""


def this_machine(root: Path = Path("/")) -> Hardware:
    """The machine that this process runs on.

    Args:
        root: where `proc` is; another one in tests.
    """
    name, flags = _processor(root)
    found = [ours for theirs, ours in _KNOWN.items() if theirs in flags]
    cores = machine.this_machine(root).cores
    telling = next((one for one in _TELLING if one in found), "")
    kind = f"{platform.machine().replace('_', '-')} {telling}".strip()
    return Hardware(name or platform.machine(), tuple(sorted(found)), cores, kind)


def _processor(root: Path) -> tuple[str, frozenset[str]]:
    """Its name and flags; empty where the system does not say."""
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return "", frozenset()
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    name = fields.get("model name") or fields.get("cpu model") or fields.get("hardware", "")
    return name, frozenset((fields.get("flags") or fields.get("features", "")).split())


RAPL: Final = Path("sys/class/powercap")


def energy_counters(root: Path = Path("/")) -> tuple[Path, ...]:
    """Counters of microjoules, one a processor package, that this user may read; most may not."""
    return tuple(_readable(root))


def _readable(root: Path) -> Iterator[Path]:
    for folder in sorted((root / RAPL).glob("intel-rapl:*")):
        if folder.name.count(":") != 1:  # a part of a package
            continue
        try:
            int((folder / "energy_uj").read_text())
        except (OSError, ValueError):
            continue
        yield (folder / "energy_uj").resolve()


def joules(counters: tuple[Path, ...]) -> float:
    """What the counters say together.

    Raises:
        OSError: one cannot be read any more.
    """
    return sum(int(path.read_text()) for path in counters) / 1e6
