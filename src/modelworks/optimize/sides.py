"""Rows with what is known of them, and who is on which side."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.evaluation.columns import name_of

_SHARE: Final = 0.25
"""Of one file's rows that passes are given, at most."""
_BUCKETS: Final = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows.

    Attributes:
        tensors: name -> array, first axis = row.
        labels: the truth, one a row; None = not known.
        columns: everything that the file has.
    """

    tensors: dict[str, Any]
    labels: Any = None
    columns: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Rows."""
        return min((len(array) for array in self.tensors.values()), default=0)

    def take(self, rows: Any) -> "Table":
        """Some of the rows, by their numbers."""
        return Table(
            {name: array[rows] for name, array in self.tensors.items()},
            None if self.labels is None else self.labels[rows],
            {name: column[rows] for name, column in self.columns.items()},
        )

    def known(self) -> "Table":
        """The rows whose truth is known; all of them where nobody asked."""
        if self.labels is None or self.labels.ndim != 1:
            return self
        if self.labels.dtype == object:
            kept = np.array([value is not None for value in self.labels.tolist()], bool)
        elif self.labels.dtype.kind == "f":
            kept = ~np.isnan(self.labels)
        else:
            return self
        return self if kept.all() else self.take(np.flatnonzero(kept))

    def some(self, most: int, seed: int) -> "Table":
        """At most so many rows, drawn, in their order."""
        if len(self) <= most:
            return self
        picked = np.random.default_rng(seed).choice(len(self), most, replace=False)
        return self.take(np.sort(picked))

    def whole(self, size: int) -> "Table":
        """As many rows as make whole calls of that size."""
        return self.take(np.arange(len(self) // size * size))

    def hashes(self, seed: int) -> list[bytes]:
        """One a row, of its inputs alone: the same inputs are on the same side."""
        names = sorted(self.tensors)
        return [
            _hash([self.tensors[name][row] for name in names], seed) for row in range(len(self))
        ]


def _hash(values: list[Any], seed: int) -> bytes:
    made = hashlib.blake2b(seed.to_bytes(8, "little", signed=True), digest_size=8)
    for value in values:
        array = np.asarray(value)
        if array.dtype == object:
            made.update("\0".join(map(name_of, array.ravel().tolist())).encode())
        else:
            made.update(np.ascontiguousarray(array).tobytes())
        made.update(b"\1")
    return made.digest()


def sides(table: Table, seed: int, most: int) -> tuple[Table, Table]:
    """A file's rows as those for passes and those that decide.

    Args:
        table: all of them.
        seed: of the hash.
        most: rows for passes; a quarter of all where that is less.
    """
    share = min(_SHARE, most / max(1, len(table)))
    places = [int.from_bytes(one, "little") % _BUCKETS for one in table.hashes(seed)]
    first = np.array(places, np.int64) < share * _BUCKETS
    return table.take(np.flatnonzero(first)), table.take(np.flatnonzero(~first))


def overlap(deciding: Table, learning: Table) -> Any:
    """Which of the rows for passes are among those that decide; [rows] of bool."""
    seen = set(deciding.hashes(0))
    return np.array([one in seen for one in learning.hashes(0)], bool)


def shared(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes.

    Raises:
        OSError: one cannot be read.
    """
    if first.stat().st_size != second.stat().st_size:
        return False
    with first.open("rb") as one, second.open("rb") as other:
        return hashlib.file_digest(one, "blake2b").digest() == (
            hashlib.file_digest(other, "blake2b").digest()
        )
