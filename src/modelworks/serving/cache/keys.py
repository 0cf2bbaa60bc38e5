"""What makes two questions the same: a digest of their bytes, or of their tensors.

BLAKE2b, because a caller chooses the bytes: who could make two questions collide would be given
another caller's answer. Measured: 0.9 us for 30 floats, 1 ms a megabyte.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

from modelworks.core.tensor import Tensors

LARGEST: Final = 4 << 20
"""Bytes of a question at most: to digest more would hold up the loop for over 4 ms."""
_BYTES: Final = 20


def of_body(kind: bytes, body: bytes, head: bytes = b"") -> bytes:
    """Of a request as it came.

    Args:
        kind: of request, at most 16 bytes: the same bytes mean something else elsewhere.
        body: whole.
        head: what of its headers changes what the bytes mean.
    """
    found = blake2b(body, digest_size=_BYTES, person=kind)
    found.update(b"\0" + head)
    return found.digest()


def of_tensors(inputs: Tensors, names: Iterable[str]) -> bytes | None:
    """Of a request's tensors: names, datatypes, shapes, bytes; None where they are too large.

    Args:
        inputs: by name.
        names: of all of them, always in the same order.
    """
    found = blake2b(digest_size=_BYTES)
    left = LARGEST
    for name in names:
        array = inputs[name]
        texts = array.dtype.hasobject
        raw = _texts(array, left) if texts else array.tobytes()
        left -= len(raw)
        if left < 0:
            return None
        told = f"{name}\0{'O' if texts else array.dtype.str}\0{array.shape}\0{len(raw)}\0"
        found.update(told.encode())
        found.update(raw)
    return found.digest()


def size_of(inputs: Tensors) -> int:
    """Bytes that `of_tensors` would read at least; no array is copied for it."""
    return sum(array.nbytes for array in inputs.values())


def _texts(array: Any, most: int) -> bytes:
    """BYTES elements, each behind its length: no two lists of texts are the same bytes.

    Of more than `most` bytes only so much is read that it shows.
    """
    parts: list[bytes] = []
    for item in array.ravel().tolist():
        raw = item.encode() if isinstance(item, str) else bytes(item)
        parts += (len(raw).to_bytes(8, "little"), raw)
        most -= 8 + len(raw)
        if most < 0:
            break
    return b"".join(parts)
