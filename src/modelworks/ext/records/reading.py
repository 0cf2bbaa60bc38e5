"""Lines in the order of time, out of files that may be merged meanwhile."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from modelworks.core.errors import UnavailableError
from modelworks.core.records import Batch, Scan
from modelworks.ext.records.columns import joined, nothing, values_of
from modelworks.ext.records.partitions import Partitions
from modelworks.ext.records.places import Piece

LINES: Final = 65_536
"""Lines of a batch, at most."""
_TRIES: Final = 5


def scan(partitions: Partitions, wanted: Scan, columns: Sequence[str]) -> Iterator[Batch]:
    """See `core.seams.RecordStore.scan`."""
    pieces = partitions.pieces(wanted)
    for _, group in groupby(pieces, lambda piece: piece.place.hour_ns):
        yield from _hour(partitions, list(group), wanted, columns)


def _hour(
    partitions: Partitions, pieces: list[Piece], wanted: Scan, columns: Sequence[str]
) -> Iterator[Batch]:
    since = wanted.since_ns
    for _ in range(_TRIES):
        try:
            for together in _clusters(partitions.live(pieces)):
                last = max(piece.last_ns for piece in together)
                if last >= since:
                    whole = _lines(partitions, together, wanted, since, columns)
                    since = last + 1
                    yield from _split(whole)
        except FileNotFoundError:  # merged meanwhile: another file stands for it
            places = sorted({piece.place for piece in pieces})
            pieces = [piece for place in places for piece in partitions.at(place)]
        else:
            return
    raise UnavailableError(
        f"records at {partitions.files.where} are rewritten faster than they can be read: try again"
    )


def _clusters(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Files whose times overlap, together; the others alone."""
    together: list[Piece] = []
    for piece in sorted(pieces, key=lambda one: (one.first_ns, one.path)):
        if together and piece.first_ns > max(one.last_ns for one in together):
            yield together
            together = []
        together.append(piece)
    if together:
        yield together


def _lines(
    partitions: Partitions,
    pieces: Sequence[Piece],
    wanted: Scan,
    since_ns: int,
    columns: Sequence[str],
) -> Batch:
    needed = (*columns, *partitions.order, "version") if columns else ()
    tables = [_within(partitions, partitions.read(one, needed), wanted, since_ns) for one in pieces]
    tables = [table for table in tables if table.num_rows]
    names = columns or list(dict.fromkeys(n for table in tables for n in table.column_names))
    count = sum(table.num_rows for table in tables)
    made = {
        name: joined(
            [
                values_of(table, name) if name in table.column_names else nothing(table.num_rows)
                for table in tables
            ]
        )
        for name in names
        if count
    }
    if len(tables) > 1:
        keys = pa.concat_tables([table.select(partitions.order) for table in tables])
        by = [(name, "ascending") for name in partitions.order]
        order = pc.sort_indices(keys, sort_keys=by).to_numpy()
        made = {name: values[order] for name, values in made.items()}
    return Batch(made, count)


def _within(partitions: Partitions, table: pa.Table, wanted: Scan, since_ns: int) -> pa.Table:
    times = table[partitions.order[0]]
    mask: Any = pc.and_(
        pc.greater_equal(times, max(wanted.since_ns, since_ns)), pc.less(times, wanted.until_ns)
    )
    if wanted.version:
        mask = pc.and_(mask, pc.equal(table["version"], wanted.version))
    return table.filter(mask)


def _split(batch: Batch) -> Iterator[Batch]:
    for start in range(0, batch.count, LINES):
        stop = min(start + LINES, batch.count)
        part = {name: values[start:stop] for name, values in batch.columns.items()}
        yield Batch(part, stop - start)
