"""Stores of records and of feedback, in a folder and in a bucket."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from modelworks.core.home import Access
from modelworks.core.records import Batch, Feedback, Part, Record, Scan
from modelworks.ext.records.files import BucketFiles, Files, LocalFiles
from modelworks.ext.records.partitions import Partitions
from modelworks.ext.records.places import Place, place_of, tenant_folder
from modelworks.ext.records.reading import scan

_ORDER: Final = ("at_ns", "id", "item")
_ARRIVAL: Final = ("received_ns", "id")
_PLAIN: Final = tuple(
    one.name
    for one in fields(Record)
    if one.name not in {"headers", "inputs", "outputs", "left_out"}
)
_TOLD: Final = tuple(one.name for one in fields(Feedback) if one.name != "outcomes")
_NOT_KEPT: Final = 10_000  # lines of a request of which neither inputs nor outputs are kept


class _Store:
    """What both kinds share.

    Args:
        files: where the files lie.
        order: of the lines.
    """

    def __init__(self, files: Files, order: Sequence[str]) -> None:
        self._tables = Partitions(files, order)

    def scan(self, wanted: Scan, columns: Sequence[str] = ()) -> Iterator[Batch]:
        """What is there, in the order of time."""
        return scan(self._tables, wanted, columns)

    def parts(self, wanted: Scan) -> Sequence[Part]:
        """The hours in which something of it may lie."""
        return self._tables.parts(wanted)

    def expire(self, tenant: str, model: str, before_ns: int) -> int:
        """Delete what is older, and what killed writers left."""
        self._tables.files.sweep(tenant_folder(tenant))
        pieces = self._tables.pieces(Scan(tenant, model, until_ns=before_ns))
        hours = {piece.place for piece in pieces}
        return sum(self._tables.expire(self._tables.at(hour), before_ns) for hour in sorted(hours))

    def _erase(self, tenant: str, matching: Mapping[str, Sequence[Any]]) -> int:
        self._tables.files.sweep(tenant_folder(tenant))
        return self._tables.remove(self._tables.pieces(Scan(tenant)), matching)


class _Records(_Store):
    """A `RecordStore`."""

    def __init__(self, files: Files) -> None:
        super().__init__(files, _ORDER)

    def write(self, records: Sequence[Record]) -> None:
        """Keep records that are not there yet."""
        groups: defaultdict[Place, dict[tuple[str, int], Record]] = defaultdict(dict)
        for record in records:
            place = place_of(record.tenant, record.model, record.at_ns)
            groups[place].setdefault((record.id, record.at_ns), record)
        self._tables.write({p: _lines(list(some.values())) for p, some in groups.items()})

    def erase(self, tenant: str, subjects: Sequence[str]) -> int:
        """Rewrite without the records of these subjects; the empty text is nobody's."""
        return self._erase(tenant, {"subject": [one for one in subjects if one]})


class _Feedbacks(_Store):
    """A `FeedbackStore`."""

    def __init__(self, files: Files) -> None:
        super().__init__(files, _ARRIVAL)

    def write(self, told: Sequence[Feedback]) -> None:
        """Keep feedback that is not there yet."""
        groups: defaultdict[Place, dict[tuple[str, int], Feedback]] = defaultdict(dict)
        for one in told:
            place = place_of(one.tenant, one.model, one.received_ns)
            groups[place].setdefault((one.id, one.received_ns), one)
        self._tables.write({p: _told(list(some.values())) for p, some in groups.items()})

    def erase(self, tenant: str, predictions: Sequence[str], keys: Sequence[str]) -> int:
        """Rewrite without what belongs to these predictions or keys."""
        some = {"prediction": predictions, "key": keys}
        return self._erase(
            tenant, {name: [v for v in values if v] for name, values in some.items()}
        )


class FolderRecords(_Records):
    """Records in a folder of this machine."""

    def __init__(self, where: str | Path, access: Access | None = None) -> None:
        super().__init__(LocalFiles(where, access))


class BucketRecords(_Records):
    """Records in a bucket."""

    def __init__(self, where: str | Path, access: Access | None = None) -> None:
        super().__init__(BucketFiles(where, access))


class FolderFeedback(_Feedbacks):
    """Feedback in a folder of this machine."""

    def __init__(self, where: str | Path, access: Access | None = None) -> None:
        super().__init__(LocalFiles(where, access))


class BucketFeedback(_Feedbacks):
    """Feedback in a bucket."""

    def __init__(self, where: str | Path, access: Access | None = None) -> None:
        super().__init__(BucketFiles(where, access))


def _lines(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Records of one hour as columns, a line an item."""
    counts = [_count(record) for record in records]
    total = sum(counts)
    made: dict[str, list[Any]] = {
        name: [
            value
            for record, count in zip(records, counts, strict=True)
            for value in (getattr(record, name),) * count
        ]
        for name in _PLAIN
    }
    made["item"] = [item for count in counts for item in range(count)]
    made["left_out"] = [
        value
        for record, count in zip(records, counts, strict=True)
        for value in (list(record.left_out),) * count
    ]
    start = 0
    for record, count in zip(records, counts, strict=True):
        for name, text in record.headers.items():
            _column(made, f"header.{name}", total)[start : start + count] = [text] * count
        for head, values in (("in", record.inputs), ("out", record.outputs)):
            for name, some in (values or {}).items():
                column = _column(made, f"{head}.{name}", total)
                column[start : start + len(some)] = list(some)
        start += count
    return made


def _count(record: Record) -> int:
    kept = [len(v) for some in (record.inputs, record.outputs) for v in (some or {}).values()]
    return max(1, *kept) if kept else max(1, min(record.rows, _NOT_KEPT))


def _column(made: dict[str, list[Any]], name: str, total: int) -> list[Any]:
    if name not in made:
        made[name] = [None] * total
    return made[name]


def _told(told: Sequence[Feedback]) -> dict[str, list[Any]]:
    made: dict[str, list[Any]] = {n: [getattr(one, n) for one in told] for n in _TOLD}
    for place, one in enumerate(told):
        for name, value in one.outcomes.items():
            _column(made, f"outcome.{name}", len(told))[place] = value
    return made
