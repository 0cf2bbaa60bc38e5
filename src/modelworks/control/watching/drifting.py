"""The duty that compares what a model was asked with what it was trained on, window by window."""

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from modelworks.control.watching.collecting import MOST_ROWS, joined, taken
from modelworks.control.watching.duty import LATE_S, Done
from modelworks.core.errors import CorruptError
from modelworks.core.records import Batch, Scan
from modelworks.core.seams import RecordStore
from modelworks.core.series import Series
from modelworks.monitor.drift import window as windows
from modelworks.monitor.drift.points import evidence_points, points
from modelworks.monitor.drift.records import columns_of
from modelworks.monitor.drift.reference import Reference
from modelworks.monitor.drift.report import report
from modelworks.monitor.drift.watching import Sums, Watch
from modelworks.monitor.series.chunk import Key
from modelworks.monitor.series.names import HOUR, MINUTE
from modelworks.monitor.series.sketches import SketchStore

Find = Callable[[str, str], Reference | None]

FEWEST_ROWS: Final = 50
"""Below that a window says nothing; it waits for the hour that it lies in."""
BEHIND: Final = 24
"""Windows that are looked at after the worker was away; earlier ones are left out."""


class Drift:
    """Drift of every version that has a reference and whose requests are recorded.

    Args:
        store: of records.
        find: the reference of a version.
        sketches: kept hour by hour.
        tenant: whose.
        window_s: length of a window, from a minute to an hour.
        budget_s: what does not fit into it waits for the next run.
    """

    deadline_s = 600.0

    def __init__(
        self,
        store: Callable[[], RecordStore],
        find: Find,
        sketches: SketchStore,
        tenant: str = "default",
        window_s: int = HOUR,
        budget_s: float = 300.0,
    ) -> None:
        self._store = store
        self._find = find
        self._sketches = sketches
        self._tenant = tenant
        self._window = window_s
        self._budget = budget_s
        self.name = "drift" if window_s == HOUR else f"drift {window_s} s"
        self.every_s = float(min(window_s, 5 * MINUTE))

    def run(self, now: float, state: Mapping[str, Any]) -> Done:
        """See `Duty`. Records come in late: a window is looked at `LATE_S` after its end."""
        last = int(now - LATE_S) // self._window * self._window
        since = max(int(state.get("until", 0)), last - BEHIND * self._window)
        if not state:
            since = last - self._window
        sums, found, until = dict(state.get("sums", {})), [], since
        began = time.monotonic()
        for end in range(since + self._window, last + 1, self._window):
            found += list(self._at(end, sums))
            until = end
            if time.monotonic() - began > self._budget:
                break
        return Done(
            found,
            HOUR if self._window == HOUR else MINUTE,
            {"until": until, "sums": sums},
            "" if until >= last else f"{(last - until) // self._window} windows behind",
        )

    def _at(self, end: int, sums: dict[str, Any]) -> Iterator[Series]:
        """The points of one window of every version."""
        wanted = Scan(self._tenant, "", "", (end - self._window) * 10**9, end * 10**9)
        models = sorted({part.model for part in self._store().parts(wanted)})
        for model in models:
            for version, batch in self._versions(model, wanted):
                reference = self._find(model, version)
                if reference is None:
                    continue
                labels = {"model": model, "version": version}
                columns = columns_of(batch)
                rows = len(next(iter(columns.values()))) if columns else 0
                yield Series("records", labels, (float(end),), (float(batch.count),))
                if rows >= FEWEST_ROWS:
                    yield from points(report(reference, columns), end, labels)
                if rows and self._window == HOUR:
                    yield from self._evidence(reference, columns, end, labels, sums)

    def _versions(self, model: str, wanted: Scan) -> Iterator[tuple[str, Batch]]:
        """A window's rows by version, at most so many of each."""
        found: dict[str, list[Batch]] = {}
        scan = Scan(wanted.tenant, model, "", wanted.since_ns, wanted.until_ns)
        for batch in self._store().scan(scan):
            for version in sorted(set(batch.columns["version"].tolist())):
                mine = batch.columns["version"] == version
                kept = found.setdefault(version, [])
                if sum(one.count for one in kept) < MOST_ROWS:
                    kept.append(taken(batch, mine, int(mine.sum())))
        for version, batches in sorted(found.items()):
            yield version, joined(batches)

    def _evidence(
        self,
        reference: Reference,
        columns: Mapping[str, Any],
        end: int,
        labels: Mapping[str, str],
        sums: dict[str, Any],
    ) -> Iterator[Series]:
        """Evidence over hours, days, weeks and months; its sums go into the state."""
        window = windows.sketch(reference, columns)
        data = window.to_bytes()
        keyed: dict[Key, bytes] = {
            ("sketch", (("feature", name), ("version", labels["version"]))): body
            for name, body in data.items()
        }
        self._sketches.put(labels["model"], end, keyed)
        name = f"{labels['model']}:{labels['version']}"
        added = _sums(reference, sums.get(name, {})).add(end, window)
        sums[name] = _told(added)
        yield from evidence_points(Watch(reference).evidence(added), end, labels)


def _sums(reference: Reference, told: Mapping[str, Any]) -> Sums:
    """What was added up; nothing where it was counted against another reference."""
    try:
        return Sums(
            {span: int(one["since"]) for span, one in told.items()},
            {
                span: windows.from_bytes(
                    reference,
                    {name: base64.b64decode(body) for name, body in one["sketches"].items()},
                    int(one["rows"]),
                )
                for span, one in told.items()
            },
        )
    except CorruptError:
        return Sums()


def _told(sums: Sums) -> dict[str, Any]:
    return {
        span: {
            "since": sums.since[span],
            "rows": window.rows,
            "sketches": {
                name: base64.b64encode(body).decode() for name, body in window.to_bytes().items()
            },
        }
        for span, window in sums.windows.items()
    }
