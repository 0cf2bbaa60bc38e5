"""What forms are measured on: the processor, what it can do, and accelerators beside it."""

import os
import platform
import re
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
CUDA: Final = "cuda"
"""The feature of a machine on which NVIDIA's GPUs can be reached."""

_CARD: Final = re.compile(r"nvidia\d+")
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
    telling = [next((one for one in _TELLING if one in found), "")]
    if any(_CARD.fullmatch(one.name) for one in accelerators(root)):
        found.append(CUDA)
        telling.append(CUDA)
    kind = " ".join((platform.machine().replace("_", "-"), *telling))
    return Hardware(name or platform.machine(), tuple(sorted(found)), cores, " ".join(kind.split()))


def accelerators(root: Path = Path("/")) -> tuple[Path, ...]:
    """The files of NVIDIA's driver through which this user may compute on a GPU.

    Without one of a card (`nvidia0`) there is nothing to compute on, whatever is installed.

    Args:
        root: where `dev` is; another one in tests.
    """
    found = sorted((root / "dev").glob("nvidia*"))
    return tuple(one for one in found if not one.is_dir() and os.access(one, os.R_OK | os.W_OK))


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
