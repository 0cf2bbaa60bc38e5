"""Joins feedback to the records it belongs to, hour by hour, and only where something changed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.files import replace_text
from modelworks.core.records import Batch, Part, Scan
from modelworks.core.seams import FeedbackStore, RecordStore
from modelworks.monitor.feedback.index import ID, KEY, Index, hashed, meet
from modelworks.monitor.feedback.latest import Told, columns_of

HOUR_NS: Final = 3_600_000_000_000
WINDOW_NS: Final = 30 * 24 * HOUR_NS
"""How long after a prediction a business key reaches it."""
_NEEDED: Final = ("id", "key", "item", "at_ns")
_TOLD: Final = tuple(one for one in Told.__dataclass_fields__ if one != "outcomes")
_OUTCOME: Final = "outcome."


@dataclass(frozen=True, slots=True)
class Joined:
    """An hour of a model with what is known of it by now.

    Attributes:
        model: name.
        since_ns: UTC, its beginning.
        until_ns: UTC, its end.
        batch: the columns of its records, and `truth`, `truth_at_ns` (0 = not known) and
            `outcome.NAME`.
    """

    model: str
    since_ns: int
    until_ns: int
    batch: Batch


class Join:
    """The join of one tenant.

    Args:
        records: a store.
        feedback: a store.
        folder: what it remembers; without it everything is joined once more.
        tenant: whose.
        window_ns: how long after a prediction a business key reaches it.
        alike: of keys as records have them, the form that feedback has; None = the same.
    """

    def __init__(
        self,
        records: RecordStore,
        feedback: FeedbackStore,
        folder: Path,
        tenant: str = "default",
        window_ns: int = WINDOW_NS,
        alike: Callable[[list[str]], Mapping[str, str]] | None = None,
    ) -> None:
        self._records = records
        self._feedback = feedback
        self._tenant = tenant
        self._window_ns = window_ns
        self._alike = alike or (lambda keys: {key: key for key in keys})
        self._state = folder / f"{tenant}.json"
        self._of_records = Index(folder / f"{tenant}-records", self._hash_records)
        self._of_feedback = Index(folder / f"{tenant}-feedback", self._hash_feedback)

    def join(self, since_ns: int = 0, columns: Sequence[str] = ()) -> Iterator[Joined]:
        """Every hour whose records or feedback changed since the last time, as it is now.

        Hours without any feedback are passed over. What was joined is remembered when the last hour
        has been taken: whoever is killed before gets them all again.

        Args:
            since_ns: records from then on.
            columns: of the records; empty = all.
        """
        records = self._records.parts(Scan(self._tenant, since_ns=since_ns))
        feedback = self._feedback.parts(Scan(self._tenant))
        known = self._remembered()
        news = {
            one: self._news(one, known["feedback"].get(_name(one)))
            for one in feedback
            if known["feedback"].get(_name(one)) != one.mark
        }
        for part in records:
            changed = known["records"].get(_name(part)) != part.mark
            hashes = self._of_records.of(part)
            near = [one for one in feedback if one.model == part.model]
            asked = [self._of_feedback.of(f)[0] for f in near] if changed else [
                news[f] for f in near if f in news
            ]  # fmt: skip
            if any(meet(hashes, one) for one in asked):
                yield self._joined(part, near, columns)
        self._remember(records, feedback)

    def window(self, wanted: Scan, columns: Sequence[str] = ()) -> Iterator[Joined]:
        """Every hour of a window, whether it changed or not; nothing is remembered."""
        feedback = self._feedback.parts(Scan(wanted.tenant, wanted.model))
        for part in self._records.parts(wanted):
            near = [one for one in feedback if one.model == part.model]
            yield self._joined(part, near, columns, wanted)

    def hours(
        self, wanted: Scan, passed: Callable[[Part], bool] = lambda _: False
    ) -> list[tuple[Part, str]]:
        """The hours of a window, and of each a text that changes with what `window` says of it.

        Args:
            wanted: the window.
            passed: which hours are passed over.
        """
        feedback = self._feedback.parts(Scan(wanted.tenant, wanted.model))
        found = []
        for part in self._records.parts(wanted):
            if passed(part):
                continue
            hashes = self._of_records.of(part)
            met = (
                f"{_name(one)} {one.mark}"
                for one in feedback
                if one.model == part.model and meet(hashes, self._of_feedback.of(one)[0])
            )
            found.append((part, "; ".join([part.mark, *met])))
        return found

    def _joined(
        self,
        part: Part,
        feedback: Sequence[Part],
        columns: Sequence[str],
        within: Scan = Scan(),  # noqa: B008 - frozen
    ) -> Joined:
        since = max(part.since_ns, within.since_ns)
        until = min(part.since_ns + HOUR_NS, within.until_ns)
        wanted = Scan(self._tenant, part.model, within.version, since, until)
        asked = tuple(dict.fromkeys((*columns, *_NEEDED))) if columns else ()
        batch = _whole(list(self._records.scan(wanted, asked)))
        if not batch.count:
            return Joined(part.model, since, until, batch)
        hashes = self._of_records.of(part)
        told = [
            one
            for other in feedback
            if meet(hashes, self._of_feedback.of(other)[0])
            for one in self._told(other)
        ]
        keys = self._keys(batch)
        lines = {**batch.columns, "key": [keys.get(key, "") for key in batch.columns["key"]]}
        more = columns_of(told, lines, batch.count, self._window_ns)
        return Joined(part.model, since, until, Batch({**batch.columns, **more}, batch.count))

    def _told(self, part: Part) -> Iterator[Told]:
        for batch in self._feedback.scan(_hour(self._tenant, part)):
            outcomes = [name for name in batch.columns if name.startswith(_OUTCOME)]
            plain = {name: batch.columns[name].tolist() for name in (*_TOLD, *outcomes)}
            for line in range(batch.count):
                named = {name.removeprefix(_OUTCOME): plain[name][line] for name in outcomes}
                values = {name: plain[name][line] for name in _TOLD}
                values["truth"] = _present(values["truth"])
                kept = {name: value for name, value in named.items() if _present(value) is not None}
                yield Told(**values, outcomes=kept)

    def _news(self, part: Part, mark: str | None) -> Any:
        """Hashes of the feedback of an hour that came since it had that mark."""
        now = self._of_feedback.of(part)
        before = self._of_feedback.before(part, mark) if mark else None
        if before is None:
            return now[0]
        return now[0][~np.isin(now[1], before[1])]

    def _hash_records(self, part: Part) -> Any:
        found = set()
        for batch in self._records.scan(_hour(self._tenant, part), ["id", "key"]):
            found |= {hashed(ID, one) for one in set(batch.columns["id"])}
            found |= {hashed(KEY, one) for one in self._keys(batch).values()}
        return np.array(sorted(found), np.uint64)

    def _keys(self, batch: Batch) -> Mapping[str, str]:
        """The business keys of records, each with the form that feedback has."""
        return self._alike(sorted({key for key in batch.columns["key"] if key}))

    def _hash_feedback(self, part: Part) -> Any:
        """What it belongs to, and below it which feedback it is."""
        pairs = [
            (
                hashed(ID, one.prediction) if one.prediction else hashed(KEY, one.key),
                hashed(str(one.received_ns), one.id),
            )
            for one in self._told(part)
        ]
        return np.array(sorted(pairs), np.uint64).reshape(-1, 2).T.copy()

    def _remembered(self) -> dict[str, dict[str, str]]:
        try:
            found = json.loads(self._state.read_text())
            return {name: dict(found[name]) for name in ("records", "feedback")}
        except (OSError, ValueError, KeyError, TypeError):  # not there, or of another time
            return {"records": {}, "feedback": {}}

    def _remember(self, records: Sequence[Part], feedback: Sequence[Part]) -> None:
        state = {
            "records": {_name(one): one.mark for one in records},
            "feedback": {_name(one): one.mark for one in feedback},
        }
        replace_text(self._state, json.dumps(state), mode=0o700)
        self._of_records.prune(records)
        self._of_feedback.prune(feedback)


def _whole(batches: Sequence[Batch]) -> Batch:
    """Batches as one."""
    if len(batches) == 1:
        return batches[0]
    names = dict.fromkeys(name for batch in batches for name in batch.columns)
    made = {}
    for name in names:
        parts = [
            batch.columns[name] if name in batch.columns else np.full(batch.count, None, object)
            for batch in batches
        ]
        plain = len({part.dtype.kind for part in parts}) == 1
        made[name] = np.concatenate(parts if plain else [part.astype(object) for part in parts])
    return Batch(made, sum(batch.count for batch in batches))


def _present(value: Any) -> Any:
    """None for NaN."""
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN


def _hour(tenant: str, part: Part) -> Scan:
    return Scan(tenant, part.model, since_ns=part.since_ns, until_ns=part.since_ns + HOUR_NS)


def _name(part: Part) -> str:
    return f"{part.model}/{part.since_ns}"
