"""Tensors in npz files, without pickle: what passes, forms and gates hand each other.

Texts and bytes (BYTES) lie in them as arrays of fixed width (`S`): zero bytes at an end are lost.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.protocol.tensors import DTYPES

MOST_TEXT: Final = 512 << 20
"""Bytes of the texts of one array: each takes as many as the longest."""


def save(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write arrays by name; object arrays of bytes or str become arrays of fixed width.

    Raises:
        InvalidError: one text among many is so long that all together take too much.
        OSError: it cannot be written.
    """
    plain = {name: _plain(np.asarray(array), name) for name, array in tensors.items()}
    with path.open("wb") as file:
        np.savez(file, **plain)


def narrowed(tensors: Mapping[str, Any], specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Tensors in the datatypes of their inputs."""
    return {spec.name: _typed(np.asarray(tensors[spec.name]), spec) for spec in specs}


def load(path: Path, specs: Sequence[TensorSpec] | None = None) -> dict[str, Any]:
    """Arrays by name, as engines take them.

    Args:
        path: of the file.
        specs: those that are wanted, in their datatypes; None = all, as they lie.

    Raises:
        InvalidError: no such file, one is missing, or it holds what only pickle could read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files if specs is None else [spec.name for spec in specs]
            found = {name: archive[name] for name in names}
    except (OSError, ValueError, KeyError) as error:
        raise InvalidError(f"{path.name} cannot be read: {error}", field="rows") from error
    if specs is None:
        return found
    return {spec.name: _typed(found[spec.name], spec) for spec in specs}


def _plain(array: Any, name: str) -> Any:
    if array.dtype != object:
        return array
    flat = [v.encode() if isinstance(v, str) else bytes(v) for v in array.ravel().tolist()]
    longest = max(map(len, flat), default=0)
    if longest * len(flat) > MOST_TEXT:
        raise InvalidError(
            f"'{name[:60]}': {len(flat)} texts, the longest of {longest} bytes, take more than "
            f"{MOST_TEXT >> 20} MiB: give fewer rows, or shorter texts",
            field="rows",
        )
    return np.array(flat, np.bytes_).reshape(array.shape)


def _typed(array: Any, spec: TensorSpec) -> Any:
    if spec.datatype is Datatype.BYTES:
        return array.astype(object)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(array.astype(DTYPES[spec.datatype], copy=False))
