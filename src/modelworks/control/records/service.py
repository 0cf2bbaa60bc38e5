"""The verbs of records and feedback, for one tenant on this machine's data folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from modelworks.control.forwarding.spools import Spools
from modelworks.control.records.compact import FORWARD, Compacted, compact
from modelworks.control.records.containers import take_in
from modelworks.control.records.erase import Derived, Erasable, Eraser, Progress, Receipt
from modelworks.control.records.export import FORMATS, Exported, Exports, export
from modelworks.control.records.forms import Forms
from modelworks.control.records.intake import Intake
from modelworks.control.records.retention import expire, fewest, remembered
from modelworks.control.records.rooms import Rooms, open_feedback, open_records, rooms_of
from modelworks.core.errors import (
    InvalidError,
    MissingExtraError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.home import Home, Stores
from modelworks.core.ids import now_ns
from modelworks.core.lock import locked
from modelworks.core.records import Batch, Scan
from modelworks.core.seams import FeedbackStore, RecordStore
from modelworks.monitor.feedback.inbox import Inbox
from modelworks.monitor.feedback.joining import HOUR_NS, WINDOW_NS, Join
from modelworks.plugins.load import load
from modelworks.protocol.records.kept import noted_days

Note = Callable[[str, str, Mapping[str, Any]], None]
_AT_HOME: Final = Stores()
_LOCK_S: Final = 300.0
_QUERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a store has of one model.

    Attributes:
        model: name.
        records: so many.
        since_ns: UTC, the hour of the first.
        until_ns: UTC, the end of the hour of the last.
        feedback: so much.
    """

    model: str
    records: int
    since_ns: int
    until_ns: int
    feedback: int


class Records:
    """Records and feedback of one tenant.

    Args:
        home: the data folder.
        stores: where the stores are, where that is not in it.
        tenant: whose.
        note: called with act, subject and detail of what is to be audited.
        clock: UTC nanoseconds.
        caches: further places of what an erasure erases.
    """

    def __init__(
        self,
        home: Home,
        stores: Stores = _AT_HOME,
        tenant: str = "default",
        note: Note = lambda *_: None,
        clock: Callable[[], int] = now_ns,
        caches: tuple[Erasable, ...] = (),
    ) -> None:
        self.rooms: Rooms = rooms_of(home, stores)
        self._stores = stores
        self._tenant = tenant
        self._note = note
        self._clock = clock
        explanations = Derived("explanations", home.cache / "explanations")
        self._caches: tuple[Erasable, ...] = (
            *caches,
            Spools(self.rooms.root / FORWARD),
            explanations,
        )
        self._inbox = Inbox(self.rooms.inbox)
        self._forms = Forms(self.rooms.root)
        self.intake = Intake(self._inbox, self._forms, tenant, clock)
        """Takes feedback in."""

    @cached_property
    def store(self) -> RecordStore:
        """The store of records; `MissingExtraError` without its libraries."""
        return open_records(self.rooms, self._stores)

    @cached_property
    def feedback(self) -> FeedbackStore:
        """The store of feedback."""
        return open_feedback(self.rooms, self._stores)

    def compact(self) -> Compacted:
        """Move closed segments and what came of feedback into the stores.

        Raises:
            UnavailableError: a store does not take it; it stays where it is.
        """
        with self._alone():
            take_in(self.rooms.containers, self.rooms.segments)
            return compact(self.rooms.segments, self.store, self._inbox, self.feedback)

    def expire(self, days: Mapping[str, int]) -> dict[str, int]:
        """Delete what is too old; how many records went, by model.

        Args:
            days: `retention_days` of models that are deployed now. Those that loggers noted count
                too, and of models that nobody records any more the last that were known.
        """
        with self._alone():
            noted = noted_days(self.rooms.root)
            whole = remembered(self.rooms.retention, fewest(noted, days))
            return expire(self.store, self.feedback, self._tenant, whole, self._clock())

    def models(self) -> list[Recorded]:
        """What there is, by model."""
        records = self.store.parts(Scan(self._tenant))
        told = self.feedback.parts(Scan(self._tenant))
        return [
            Recorded(
                model,
                sum(part.count for part in records if part.model == model),
                min(part.since_ns for part in records if part.model == model),
                max(part.since_ns for part in records if part.model == model) + HOUR_NS,
                sum(part.count for part in told if part.model == model),
            )
            for model in sorted({part.model for part in records})
        ]

    def scan(self, wanted: Scan, columns: Sequence[str] = ()) -> Iterator[Batch]:
        """Records in the order of time."""
        return self.store.scan(wanted, columns)

    def show(self, name: str, model: str = "") -> list[dict[str, Any]]:
        """The lines of one request, with what is known of it by now.

        Raises:
            NotFoundError: no record has that id.
        """
        join = self.joining()
        for part in self.store.parts(Scan(self._tenant, model)):
            wanted = Scan(self._tenant, part.model, "", part.since_ns, part.since_ns + HOUR_NS)
            if any(name in batch.columns["id"] for batch in self.store.scan(wanted, ["id"])):
                return [
                    line
                    for joined in join.window(wanted)
                    for line in lines_of(joined.batch)
                    if line["id"] == name
                ]
        raise NotFoundError(
            f"no record has the id '{name}': it may not be in the store yet (modelworks records "
            "compact), or be gone again",
            field="id",
        )

    def query(self, wanted: Scan, sql: str, most: int = 1000) -> list[dict[str, Any]]:
        """Rows of one SELECT over the table `records`; see `ext.records.query`.

        Raises:
            UnsupportedError: the store is a bucket.
        """
        where = self.rooms.store("store")
        if "://" in where:
            raise UnsupportedError(
                "records are queried in a folder, and these lie in a bucket: export them, or let "
                "DuckDB read the bucket itself"
            )
        try:
            run = load("tables", "sql")
        except MissingExtraError as error:
            raise MissingExtraError("a query", "monitor", error.missing) from error
        names, rows = run(Path(where), wanted, sql, most, _QUERY_S)
        return [dict(zip(names, map(_json, row), strict=True)) for row in rows]

    def joining(self, window_ns: int = WINDOW_NS) -> Join:
        """The join of records and feedback."""
        return Join(
            self.store,
            self.feedback,
            self.rooms.joins,
            self._tenant,
            window_ns,
            alike=self._forms.alike,
        )

    def export(
        self, wanted: Scan, kind: str, folder: Path, columns: Sequence[str] = ()
    ) -> Exported:
        """Write records to a file; see `control.records.export`."""
        if kind not in FORMATS:
            raise InvalidError(f"format '{kind}': one of {', '.join(FORMATS)}", field="format")
        with self._alone():
            register = Exports(self.rooms.exports)
            made = export(self.store, register, wanted, kind, folder, columns, self._clock())
        self._note("export", "records", {"path": made.path, "lines": made.lines})
        return made

    def erase(self, subject: str, say: Progress = lambda _: None) -> Receipt:
        """Erase a person; see `control.records.erase`. An audit row says that it was done."""
        with self._alone():
            eraser = Eraser(
                self.rooms,
                self.store,
                self.feedback,
                self._inbox,
                self._forms,
                self._tenant,
                self._caches,
            )
            receipt = eraser.erase(subject, self._clock, say)
        told = {"receipt": receipt.id, "records": receipt.records, "feedback": receipt.feedback}
        self._note("erase", "records", told)
        return receipt

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one who writes to the stores."""
        try:
            with locked(self.rooms.lock, _LOCK_S):
                yield
        except OSError as error:
            raise UnavailableError(f"{self.rooms.root}: {error.strerror or error}") from error


def lines_of(batch: Batch) -> Iterator[dict[str, Any]]:
    """A batch as lines of JSON values."""
    columns = {name: values.tolist() for name, values in batch.columns.items()}
    for line in range(batch.count):
        values = {name: column[line] for name, column in columns.items()}
        yield {name: _json(value) for name, value in values.items()}


def _json(value: Any) -> Any:
    """A value as JSON has it: None for NaN, dates and decimals as texts."""
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN
        return None
    plain = value is None or isinstance(value, str | int | float | list | dict)
    return value if plain else str(value)
