"""Adapters (LoRA) as peft keeps them: whether their matrices are of this model.

vLLM takes a matrix of any shape, and answers wrongly without a word. So the heads of the files,
which are JSON, are compared before.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError

_HEAD: Final = 64 << 20  # bytes
_BEGINS: Final = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(file: Path) -> dict[str, tuple[int, ...]]:
    """Of the tensors of a safetensors file.

    Raises:
        InvalidError: it is none, or cut short.
    """
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_HEAD, size):
                raise ValueError("its head is longer than the file")  # noqa: TRY301 - of one cure
            head = json.loads(stream.read(length))
        tensors = {name: told for name, told in head.items() if name != "__metadata__"}
        if any(8 + length + told["data_offsets"][1] > size for told in tensors.values()):
            raise ValueError("it is cut short")  # noqa: TRY301 - the same
        return {name: tuple(map(int, told["shape"])) for name, told in tensors.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error) as error:
        raise InvalidError(
            f"{file.name} is no safetensors file, or damaged: {str(error)[:80]}", field="file"
        ) from error
    except RecursionError as error:
        raise InvalidError(f"{file.name} is no safetensors file", field="file") from error


def judge(name: str, adapter: Path, rank: int, base: Shapes) -> None:
    """Refuse an adapter that is of another model.

    Args:
        name: of it.
        adapter: its weights.
        rank: that its configuration says.
        base: shapes of the model's own matrices.

    Raises:
        InvalidError: a matrix has another shape than the model's, or another rank.
    """
    found = shapes_of(adapter)
    if not any(key.endswith(_DOWN) for key in found):
        raise InvalidError(f"adapter '{name}' has no matrices of LoRA", field="adapters")
    for key, down in found.items():
        if not key.endswith(_DOWN):
            continue
        module = key.removesuffix(_DOWN)
        up = found.get(module + _UP, ())
        matrix = base.get(module.removeprefix(_BEGINS) + ".weight")
        fits = len(down) == len(up) == 2 and down[0] == up[1] <= rank
        if not fits or (matrix is not None and (up[0], down[1]) != matrix):
            raise InvalidError(
                f"adapter '{name}': {module[-60:]} is {list(up)} x {list(down)} of rank {rank}, "
                f"and the model's matrix {list(matrix or ())}: it was made for another model",
                field="adapters",
            )
