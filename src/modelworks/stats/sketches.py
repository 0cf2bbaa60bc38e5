"""What a window leaves of one feature: a few dozen bytes that add up exactly.

Everything is a whole number, so that merging is associative to the last bit: the sketch of two
windows is that of their rows together, in whatever order they were merged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.errors import CorruptError

STEP: Final = 1024
"""Moments are kept in steps of 1/1024 of the reference's scale."""
FARTHEST: Final = 64
"""Values farther than this many scales from the centre count as so far in the moments."""
MOST_NAMES: Final = 4
MOST_LETTERS: Final = 16
_MOST_CELLS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Sketch:
    """One feature in one window, against a reference's cells.

    Attributes:
        counts: of values by cell.
        first: sum of the standardised values, in steps.
        second: sum of their squares, in squared steps.
        named: of names that the reference does not have, those with the smallest hashes, and how
            often each came. A name that is kept was kept in every part that it came in, so its
            count is exact.
    """

    counts: tuple[int, ...]
    first: int = 0
    second: int = 0
    named: tuple[tuple[str, int], ...] = ()

    def mean(self, moved: int) -> float:
        """Mean of the standardised values: how many scales it lies from the reference's.

        Args:
            moved: how many values the moments are of.
        """
        return self.first / STEP / moved if moved else float("nan")

    def deviation(self, moved: int) -> float:
        """Standard deviation of the standardised values; 1 = as in the reference."""
        if not moved:
            return float("nan")
        square = self.second / STEP**2 / moved - self.mean(moved) ** 2
        return float(np.sqrt(max(square, 0.0)))


def moments(values: NDArray[np.float64], centre: float, scale: float) -> tuple[int, int]:
    """`first` and `second` of finite values."""
    steps = np.clip((values - centre) / scale, -FARTHEST, FARTHEST) * STEP
    whole = np.rint(steps).astype(np.int64)
    return int(whole.sum()), int((whole * whole).sum())


def smallest(names: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The few names to keep, cut to sixteen letters; counts of equal ones are added up."""
    together: dict[str, int] = {}
    for name, count in names:
        short = name[:MOST_LETTERS]
        together[short] = together.get(short, 0) + count
    return tuple(sorted(together.items(), key=lambda pair: _hash(pair[0]))[:MOST_NAMES])


def merge(one: Sketch, other: Sketch) -> Sketch:
    """The sketch of both windows' rows.

    Raises:
        ValueError: they have different cells.
    """
    if len(one.counts) != len(other.counts):
        raise ValueError(f"sketches of {len(one.counts)} and of {len(other.counts)} cells")
    return Sketch(
        tuple(map(int.__add__, one.counts, other.counts)),
        one.first + other.first,
        one.second + other.second,
        smallest([*one.named, *other.named]) if one.named or other.named else (),
    )


def encode(sketch: Sketch) -> bytes:
    """As bytes: whole numbers of seven bits a byte; empty cells at the end are left out."""
    counts = list(sketch.counts)
    while counts and not counts[-1]:
        counts.pop()
    numbers = [len(sketch.counts), len(counts), *counts]
    numbers += [_folded(sketch.first), sketch.second, len(sketch.named)]
    found = b"".join(map(varint, numbers))
    for name, count in sketch.named:
        text = name.encode("utf-8", "replace")
        found += varint(len(text)) + text + varint(count)
    return found


def decode(data: bytes, place: int = 0) -> tuple[Sketch, int]:
    """Read one sketch.

    Args:
        data: in which it lies.
        place: of its first byte.

    Returns:
        (sketch, place of the first byte behind it).

    Raises:
        CorruptError: no sketch lies there.
    """
    try:
        cells, place = read_varint(data, place)
        filled, place = read_varint(data, place)
        if cells > _MOST_CELLS or filled > cells:
            raise CorruptError("a sketch has more cells than there can be")
        counts = []
        for _ in range(filled):
            count, place = read_varint(data, place)
            counts.append(count)
        first, place = read_varint(data, place)
        second, place = read_varint(data, place)
        named, place = _names(data, place)
    except (IndexError, UnicodeDecodeError) as error:
        raise CorruptError("a sketch ends too early or is no sketch") from error
    counts += [0] * (cells - filled)
    return Sketch(tuple(counts), (first >> 1) ^ -(first & 1), second, named), place


def varint(number: int) -> bytes:
    """A whole number from 0 on, seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """(number, place behind it).

    Raises:
        IndexError: it ends too early.
        CorruptError: it is longer than any that is written.
    """
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
        if shift > 140:
            raise CorruptError("a number of a sketch does not end")


def columns(sketches: Sequence[Sketch]) -> NDArray[np.int64]:
    """Counts as an array, a line a sketch."""
    return np.array([sketch.counts for sketch in sketches], np.int64)


def _names(data: bytes, place: int) -> tuple[tuple[tuple[str, int], ...], int]:
    count, place = read_varint(data, place)
    if count > MOST_NAMES:
        raise CorruptError("a sketch has more names than are kept")
    found: list[tuple[str, int]] = []
    for _ in range(count):
        length, place = read_varint(data, place)
        text = data[place : place + length]
        if len(text) < length:
            raise IndexError
        number, place = read_varint(data, place + length)
        found.append((text.decode(), number))
    return tuple(found), place


def _folded(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _hash(name: str) -> Any:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
