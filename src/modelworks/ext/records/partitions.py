"""Tables by tenant, model and hour: Parquet files that are written once, merged and rewritten.

A file's name says which times it holds, so that most are never opened. A file that stands for
others names them in its foot; whoever sees both takes it alone, and so a writer may be killed
between writing the one and deleting the others.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from modelworks.core.errors import CorruptError, UnavailableError
from modelworks.core.records import Part, Scan
from modelworks.ext.records.columns import concatenated, table_of
from modelworks.ext.records.files import Files
from modelworks.ext.records.places import (
    Piece,
    Place,
    model_folder,
    path_of,
    piece_of,
    tenant_folder,
)

_MANY: Final = 8  # small files in an hour, before they are merged
_LARGE: Final = 200_000  # records of a file that is merged no more
_ROWS: Final = 65_536  # of a row group
_FEET: Final = 4096  # that are remembered
_REPLACES: Final = b"replaces"


class Partitions:
    """Tables in files.

    Args:
        files: where they lie.
        order: columns that lines are sorted by: the time first, then what tells lines apart.
    """

    def __init__(self, files: Files, order: Sequence[str]) -> None:
        self.files = files
        self.order = tuple(order)
        self._feet: dict[str, tuple[str, ...]] = {}

    # -- writing

    def write(self, groups: Mapping[Place, Mapping[str, Sequence[Any]]]) -> None:
        """Keep lines, by hour; those of records that are there already are left out.

        Raises:
            UnavailableError: they were not all written; none is kept.
        """
        written = []
        try:
            for place, columns in groups.items():
                table = self._unknown(place, table_of(columns).sort_by(self._sorting()))
                if table.num_rows:
                    written.append(self._put(place, table, ()))
        except BaseException:
            for path in written:
                with contextlib.suppress(UnavailableError):
                    self.files.delete(path)
            raise
        for place in groups:
            with contextlib.suppress(UnavailableError):  # the next writer merges them
                self._merge(place)

    def remove(self, pieces: Sequence[Piece], matching: Mapping[str, Sequence[Any]]) -> int:
        """Rewrite files without the lines whose column is one of the values; records that went.

        Args:
            pieces: of these files.
            matching: column -> values, any of which.
        """
        wanted = {name: pa.array(values) for name, values in matching.items() if len(values)}
        gone = 0
        for piece in self.cleaned(pieces) if wanted else ():
            with contextlib.suppress(FileNotFoundError):
                table = self.read(piece, (*wanted, *self.order))
                hits = [pc.is_in(table[n], v) for n, v in wanted.items() if n in table.column_names]
                mask = hits[0] if len(hits) == 1 else pc.or_(*hits) if hits else None
                if mask is not None and pc.any(mask).as_py():
                    gone += self._rewrite(piece, pc.invert(pc.fill_null(mask, fill_value=False)))
        return gone

    def expire(self, pieces: Sequence[Piece], before_ns: int) -> int:
        """Delete what is older; records that went."""
        gone = 0
        for piece in self.cleaned(pieces):
            if piece.last_ns < before_ns:
                self.files.delete(piece.path)
                gone += piece.count
            elif piece.first_ns < before_ns:
                times = self.read(piece, self.order)[self.order[0]]
                gone += self._rewrite(piece, pc.greater_equal(times, before_ns))
        return gone

    def cleaned(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those that no other stands for; the others are deleted."""
        live = self.live(pieces)
        for piece in set(pieces) - set(live):
            self.files.delete(piece.path)
        return live

    # -- reading

    def pieces(self, wanted: Scan) -> list[Piece]:
        """The files in which something may lie, in the order of time."""
        top = tenant_folder(wanted.tenant)
        folder = model_folder(wanted.tenant, wanted.model) if wanted.model else top
        found = (piece_of(path) for path in self.files.list(folder))
        within = [
            piece
            for piece in found
            if piece and piece.last_ns >= wanted.since_ns and piece.first_ns < wanted.until_ns
        ]
        return sorted(within, key=lambda piece: (piece.place, piece.first_ns, piece.path))

    def at(self, place: Place) -> list[Piece]:
        """The files of an hour."""
        found = (piece_of(path) for path in self.files.list(place.folder))
        return [piece for piece in found if piece]

    def live(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those that no other of them stands for."""
        if len(pieces) < 2:
            return list(pieces)
        dead = {path for piece in pieces if piece.replaces for path in self._replaced(piece)}
        return [piece for piece in pieces if piece.path not in dead]

    def parts(self, wanted: Scan) -> list[Part]:
        """The hours, and what tells one state of them from another."""
        hours: defaultdict[Place, list[Piece]] = defaultdict(list)
        for piece in self.pieces(wanted):
            hours[piece.place].append(piece)
        return [
            Part(
                place.model,
                place.hour_ns,
                blake2b("\n".join(p.path for p in pieces).encode(), digest_size=8).hexdigest(),
                sum(piece.count for piece in pieces),
            )
            for place, pieces in sorted(hours.items())
        ]

    def read(self, piece: Piece, columns: Sequence[str] = ()) -> pa.Table:
        """A file's lines; of `columns` those that it has, empty = all.

        Raises:
            FileNotFoundError: it is gone: another stands for it.
            CorruptError: it is no Parquet file.
        """
        source = self.files.open(piece.path)
        try:
            file = parquet.ParquetFile(source)
            names = set(file.schema_arrow.names)
            wanted = [name for name in dict.fromkeys(columns) if name in names]
            return file.read(wanted if columns else None, use_threads=False)
        except pa.ArrowException as error:
            raise self._corrupt(piece, error) from error

    # -- inside

    def _sorting(self) -> list[tuple[str, str]]:
        return [(name, "ascending") for name in self.order]

    def _keys(self, table: pa.Table) -> list[tuple[str, int]]:
        """Id and time of every record, each once, in their order."""
        ids, times = table["id"].to_pylist(), table[self.order[0]].to_pylist()
        return list(dict.fromkeys(zip(ids, times, strict=True)))

    def _unknown(self, place: Place, table: pa.Table) -> pa.Table:
        """The lines of records that are not there yet."""
        times = table[self.order[0]]
        first, last = times[0].as_py(), times[-1].as_py()
        near = [p for p in self.at(place) if p.first_ns <= last and p.last_ns >= first]
        known = {key for piece in near for key in self._keys(self.read(piece, self.order))}
        if not known:
            return table
        ids = table["id"].to_pylist()
        new = [key not in known for key in zip(ids, times.to_pylist(), strict=True)]
        return table.filter(pa.array(new))

    def _put(self, place: Place, table: pa.Table, replaced: Sequence[str]) -> str:
        path = path_of(place, self._keys(table), replaced)
        if replaced:
            table = table.replace_schema_metadata({_REPLACES: json.dumps(list(replaced))})
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink, compression="zstd", row_group_size=_ROWS)
        self.files.put(path, sink.getvalue())
        return path

    def _merge(self, place: Place) -> None:
        """Make one file of many small ones."""
        pieces = self.at(place)
        if len(pieces) < _MANY:
            return
        small = [piece for piece in self.cleaned(pieces) if piece.count < _LARGE]
        size = min((_size(p) for p in small), default=0)
        while size <= _size_of(_LARGE):
            fitting = [piece for piece in small if _size(piece) <= size]
            if sum(_size(piece) == size for piece in fitting) >= _MANY:
                tables = [self.read(piece) for piece in fitting]
                table = concatenated(tables).sort_by(self._sorting())
                self._put(place, table, [piece.path for piece in fitting])
                for piece in fitting:
                    self.files.delete(piece.path)
                return
            size += 1

    def _rewrite(self, piece: Piece, keep: Any) -> int:
        """Put a file with some of its lines into its place; how many records went."""
        table = self.read(piece).filter(keep)
        kept = len(self._keys(table)) if table.num_rows else 0
        if kept:
            self._put(piece.place, table, [piece.path])
        self.files.delete(piece.path)
        return piece.count - kept

    def _replaced(self, piece: Piece) -> tuple[str, ...]:
        """What a file stands for; one that is gone stands for nothing."""
        if piece.path not in self._feet:
            try:
                foot = parquet.read_metadata(self.files.open(piece.path)).metadata or {}
            except FileNotFoundError:
                return ()
            except pa.ArrowException as error:
                raise self._corrupt(piece, error) from error
            if len(self._feet) >= _FEET:
                self._feet.clear()
            self._feet[piece.path] = tuple(json.loads(foot.get(_REPLACES, b"[]")))
        return self._feet[piece.path]

    def _corrupt(self, piece: Piece, error: Exception) -> CorruptError:
        line = str(error).split("\n", 1)[0][:120]
        return CorruptError(
            f"{self.files.where}/{piece.path} is damaged ({line}): restore it from a backup, or "
            "delete it"
        )


def _size(piece: Piece) -> int:
    return _size_of(piece.count)


def _size_of(count: int) -> int:
    """Files of like size have the same number: 8 of one make one of the next."""
    return max(count.bit_length() - 1, 0) // 3
