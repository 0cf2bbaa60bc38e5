"""NVIDIA's accelerators, as `nvidia-smi` tells of them."""

import shutil
import subprocess
from typing import Final

_QUERY: Final = "index,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw"
_NAMES: Final = (
    ("host_gpu_share", 0.01),
    ("host_gpu_memory_bytes", 2.0**20),
    ("host_gpu_memory_limit_bytes", 2.0**20),
    ("host_gpu_celsius", 1.0),
    ("host_gpu_watts", 1.0),
)
_SECONDS: Final = 5.0


def look() -> dict[str, dict[str, float]]:
    """By number of the accelerator: name of a series -> value; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True, text=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return read(done.stdout)


def read(text: str) -> dict[str, dict[str, float]]:
    """What `nvidia-smi` printed; a figure that a card does not tell (`[N/A]`) is left out."""
    found = {}
    for line in text.splitlines():
        index, *cells = (cell.strip() for cell in line.split(","))
        if not index.isdigit() or len(cells) != len(_NAMES):
            continue
        values = {}
        for (name, unit), cell in zip(_NAMES, cells, strict=True):
            try:
                values[name] = float(cell) * unit
            except ValueError:
                continue
        found[index] = values
    return found
