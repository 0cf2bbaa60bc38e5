"""What accelerators of NVIDIA this process could use, and the memory that is free on them.

Asked of `nvidia-smi`, which needs no library of ours. No accelerator was at hand when this was
written: what it prints is read from recorded output.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import InvalidError, UnavailableError, UnsupportedError

_QUERY: Final = "index,uuid,name,memory.free,memory.total"
_SECONDS: Final = 10.0
_MIB: Final = 1 << 20
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_CONTEXT: Final = 512 * _MIB
"""What a process takes on a device before any model: CUDA's context, cuBLAS, cuDNN."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One of them.

    Attributes:
        index: as `nvidia-smi` counts.
        uuid: of the card.
        name: `NVIDIA L4`.
        free: bytes.
        total: bytes.
    """

    index: int
    uuid: str
    name: str
    free: int
    total: int

    def __str__(self) -> str:
        return f"{self.name} with {self.free // _MIB} of {self.total // _MIB} MiB free"


def found(environment: Mapping[str, str] = os.environ) -> list[Gpu] | None:
    """The devices, in CUDA's order for this process; None where nobody tells.

    Args:
        environment: CUDA reads `CUDA_VISIBLE_DEVICES` of it, and so does this.
    """
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return None
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True, text=True)
    except subprocess.CalledProcessError:
        return []  # it is there, and finds no driver or no card
    except (OSError, subprocess.SubprocessError):
        return None
    return visible(read(done.stdout), environment.get(_VISIBLE))


def read(text: str) -> list[Gpu]:
    """What `nvidia-smi` printed; lines that are none of a card are left out."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_QUERY.split(",")):
            continue
        index, uuid, name, free, total = cells
        if index.isdecimal() and free.isdecimal() and total.isdecimal():
            gpus.append(Gpu(int(index), uuid, name, int(free) * _MIB, int(total) * _MIB))
    return gpus


def visible(gpus: list[Gpu], told: str | None) -> list[Gpu]:
    """Those that `CUDA_VISIBLE_DEVICES` leaves, in its order; a wrong name ends the list."""
    if told is None:
        return gpus
    chosen = []
    for word in (one.strip() for one in told.split(",")):
        match = [g for g in gpus if word == str(g.index) or (word and g.uuid.startswith(word))]
        if len(match) != 1:
            break
        chosen += match
    return chosen


def admit(
    number: int, wanted: int, setting: str, environment: Mapping[str, str] = os.environ
) -> None:
    """Whether a model has room on a device, as far as anybody can tell before it is loaded.

    Args:
        number: of the device, from 0.
        wanted: bytes; CUDA's own are added.
        setting: what asked for it, for the message: `device=cuda:1`.
        environment: as in `found`.

    Raises:
        UnsupportedError: there is no such device.
        UnavailableError: it has not so much memory free.
    """
    gpus = found(environment)
    if gpus is None:
        return  # no nvidia-smi in this container: the engine finds out
    if number >= len(gpus):
        there = "; ".join(f"cuda:{n} is {gpu}" for n, gpu in enumerate(gpus)) or "none"
        hidden = f" ({_VISIBLE}={environment[_VISIBLE]})" if _VISIBLE in environment else ""
        raise UnsupportedError(
            f"{setting}: no such device; nvidia-smi shows this process {there}{hidden}. Start the "
            "server where the device is (a container with --gpus, a pod with nvidia.com/gpu), or "
            "take device=cpu"
        )
    gpu = gpus[number]
    if wanted + _CONTEXT > gpu.free:
        raise UnavailableError(
            f"{setting}: the model is taken to need {(wanted + _CONTEXT) // _MIB} MiB there, and "
            f"it is {gpu}: unload another model, take another device, or set gpu_memory_mib to "
            "what it really takes",
            retry_after=5,
        )


def number_of(device: str, kind: str, field: str = "device") -> int:
    """The number in `cuda:1`; 0 of `cuda`.

    Raises:
        InvalidError: it is no device of that kind.
    """
    name, colon, number = device.partition(":")
    if name != kind or (colon and not (number.isdecimal() and len(number) < 3)):
        raise InvalidError(
            f"{field}: '{device[:40]}' is no device of {kind}: {kind}:0 is wanted", field=field
        )
    return int(number or 0)
