"""How windows lie in a chunk: one matrix, series by windows, as compressed planes of bytes.

Whole numbers (counts) are exact, as differences from window to window; others are rounded to
`KEPT_BITS` binary digits, distances to `DRIFT_BITS`: they are most of a year. A byte of each number
lies beside the same byte of its neighbours, so what does not change costs nearly nothing.
"""

import json
import zlib
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from modelworks.core.errors import CorruptError

WINDOWS: Final = 240
"""Of one chunk: four hours of minutes, ten days of hours."""
KEPT_BITS: Final = 12
"""Of a number that is not whole: it is right to 1 in 8,192."""
DRIFT_BITS: Final = 7
"""Of a distance: it is right to 1 in 256, far less than chance moves it from hour to hour."""
MOST: Final = 5_000
"""Series in one chunk: whatever makes more labels than that is no label."""
_LEVEL: Final = 6
_NUMBERS: Final = b"\x01"
_BYTES: Final = b"\x02"
_WHOLE: Final = 2.0**53

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name of a series and its labels but the model."""


@dataclass(slots=True)
class Chunk:
    """Windows of some series.

    Attributes:
        rows: a value a window; NaN = nothing was there to measure.
    """

    rows: dict[Key, Any] = field(default_factory=dict)

    def put(self, key: Key, places: Any, values: Any) -> bool:
        """Set windows of a series, in place of what was there; False = there is no room for it.

        Args:
            key: of the series.
            places: numbers of the windows.
            values: one a place.
        """
        row = self.rows.get(key)
        if row is None:
            if len(self.rows) >= MOST:
                return False
            row = self.rows[key] = np.full(WINDOWS, np.nan)
        row[places] = values
        return True


def span(resolution: int) -> int:
    """Seconds that a chunk covers."""
    return WINDOWS * resolution


def start_of(time: Any, resolution: int) -> Any:
    """Where the chunk begins whose windows have this end among them."""
    return (time - 1) // span(resolution) * span(resolution)


def pack(chunk: Chunk) -> bytes:
    """A chunk as bytes."""
    keys = sorted(chunk.rows)
    whole: list[Key] = []
    other: list[Key] = []
    for key in keys:
        row = chunk.rows[key]
        known = row[~np.isnan(row)]
        exact = bool((np.abs(known) < _WHOLE).all() and (known == np.floor(known)).all())
        (whole if exact else other).append(key)
    head = json.dumps([whole, other], ensure_ascii=False, separators=(",", ":")).encode()
    matrix = np.array([chunk.rows[key] for key in whole + other]).reshape(len(keys), WINDOWS)
    mask = np.isnan(matrix)
    filled = _carried(matrix, mask)
    counts = filled[: len(whole)].astype(np.int64)
    steps = np.diff(counts, axis=1, prepend=0)
    zigzag = (steps << 1 ^ steps >> 63).view(np.uint64)
    kept = [DRIFT_BITS if name.startswith("drift") else KEPT_BITS for name, _ in other]
    floats = _rounded(filled[len(whole) :], np.array(kept, np.uint32))
    body = b"".join(
        (
            len(head).to_bytes(4, "little"),
            head,
            np.packbits(mask, axis=1).tobytes(),
            _planes(zigzag),
            _planes(floats),
        )
    )
    return _NUMBERS + zlib.compress(body, _LEVEL)


def unpack(body: bytes, where: str, wanted: Callable[[Key], bool] | None = None) -> Chunk:
    """A chunk from bytes.

    Args:
        body: the bytes.
        where: what a message begins with.
        wanted: which of its series; None = all. The others are not decoded.

    Raises:
        CorruptError: they are none.
    """
    data = _opened(body, _NUMBERS, where)
    try:
        size = int.from_bytes(data[:4], "little")
        whole, other = json.loads(data[4 : 4 + size])
        at, count = 4 + size, len(whole) + len(other)
        keys = [(name, tuple((k, v) for k, v in labels)) for name, labels in whole + other]
        places = [place for place, key in enumerate(keys) if wanted is None or wanted(key)]
        packed = np.frombuffer(data, np.uint8, count * WINDOWS // 8, at)
        packed = packed.reshape(count, WINDOWS // 8)[places]
        mask = np.unpackbits(packed, axis=1).astype(bool)
        at += count * WINDOWS // 8
        zigzag = _from_planes(data, at, len(whole), np.uint64)
        floats = _from_planes(data, at + 8 * len(whole) * WINDOWS, len(other), np.uint32)
        split = bisect_left(places, len(whole))
        counts = zigzag(places[:split])
        steps = (counts >> np.uint64(1)).view(np.int64) ^ -(counts & np.uint64(1)).view(np.int64)
        exact = np.cumsum(steps, axis=1).astype(np.float64)
        rounded = floats([place - len(whole) for place in places[split:]]).view(np.float32)
        matrix = np.concatenate([exact, rounded.astype(np.float64)])
        matrix[mask] = np.nan
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptError(f"{where}: a chunk of series cannot be read: {error}") from error
    return Chunk(dict(zip([keys[place] for place in places], matrix, strict=True)))


def pack_bytes(found: Mapping[Key, Mapping[int, bytes]]) -> bytes:
    """Sketches as bytes: by series, then by window, for neighbours are alike."""
    keys = sorted(found)
    places = [[[place, len(found[key][place])] for place in sorted(found[key])] for key in keys]
    head = json.dumps([keys, places], ensure_ascii=False, separators=(",", ":")).encode()
    data = b"".join(found[key][place] for key in keys for place in sorted(found[key]))
    return _BYTES + zlib.compress(len(head).to_bytes(4, "little") + head + data, _LEVEL)


def unpack_bytes(body: bytes, where: str) -> dict[Key, dict[int, bytes]]:
    """Sketches from bytes.

    Raises:
        CorruptError: they are none.
    """
    data = _opened(body, _BYTES, where)
    found: dict[Key, dict[int, bytes]] = {}
    try:
        size = int.from_bytes(data[:4], "little")
        keys, places = json.loads(data[4 : 4 + size])
        at = 4 + size
        for (name, labels), row in zip(keys, places, strict=True):
            one = found[name, tuple((k, v) for k, v in labels)] = {}
            for place, length in row:
                one[place] = data[at : at + length]
                at += length
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptError(f"{where}: a chunk of sketches cannot be read: {error}") from error
    return found


def _opened(body: bytes, kind: bytes, where: str) -> bytes:
    if body[:1] != kind:
        raise CorruptError(f"{where}: a chunk of another kind, or of a newer Modelworks")
    try:
        return zlib.decompress(body[1:])
    except zlib.error as error:
        raise CorruptError(f"{where}: a chunk of series is damaged: {error}") from error


def _carried(matrix: Any, mask: Any) -> Any:
    """Gaps filled with the value before them: they then cost nothing."""
    places = np.where(mask, 0, np.arange(matrix.shape[1]))
    np.maximum.accumulate(places, axis=1, out=places)
    filled = np.take_along_axis(matrix, places, axis=1)
    return np.nan_to_num(filled, nan=0.0, posinf=3e38, neginf=-3e38)


def _rounded(values: Any, kept: Any) -> Any:
    """Floats of 32 bits whose mantissa ends in zeros; uint32. `kept`: binary digits, a row each."""
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    drop = (np.uint32(23) - kept)[:, None]
    one = np.uint32(1)
    return (bits + (one << (drop - one))) & (np.uint32(0xFFFFFFFF) << drop)


def _planes(values: Any) -> bytes:
    """The first bytes of all, then the second ones of all; fewer where the rest are zeros."""
    octets = values.reshape(-1, 1).view(np.uint8)
    return bytes(np.ascontiguousarray(octets.T).tobytes())


def _from_planes(data: bytes, at: int, count: int, kind: Any) -> Callable[[list[int]], Any]:
    """What gives some rows, by number, out of the planes of `count` of them."""
    size = np.dtype(kind).itemsize
    octets = np.frombuffer(data, np.uint8, count * WINDOWS * size, at)
    planes = octets.reshape(size, count, WINDOWS)

    def rows(places: list[int]) -> Any:
        some = np.moveaxis(planes[:, places], 0, -1)
        return np.ascontiguousarray(some).view(kind).reshape(len(places), WINDOWS)

    return rows
