"""New records of a roll-out's model, read once a look and within bounds; late ones too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from modelworks.core.records import Scan
from modelworks.core.seams import RecordStore

ROWS: Final = 200_000
"""Rows of one look at the most: what is left over is read at the next one."""
LATE_NS: Final = 120 * 10**9
"""A record may reach the store so long after its request: a segment of 10 s, moved every 30 s.
Where half as many come in that time as a look may read, late ones are not waited for."""
BEHIND_NS: Final = 600 * 10**9
"""Who is farther behind than this leaves out what lies between."""
_APART_NS: Final = 5 * 10**9
"""A copy comes so long after its request at the most: it waits a second, then it is dropped."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Requests, one row each: of a request of several rows the first, as its rows are alike.

    Attributes:
        columns: by name, [n]; `id`, `version` and what was asked for.
        fresh: which were not given before, [n]; the others are those that a late partner may need.
    """

    columns: Mapping[str, Any]
    fresh: Any

    def __len__(self) -> int:
        """How many."""
        return len(self.fresh)


@dataclass(slots=True)
class Reading:
    """Where one roll-out's reading stands.

    Attributes:
        since_ns: UTC; nothing before is read.
        upto_ns: UTC, of the latest record that was read.
        left_out_ns: time whose records were left out, as more came than could be read.
    """

    since_ns: int
    upto_ns: int = 0
    left_out_ns: int = 0
    _behind: bool = False
    _given: Any = field(default_factory=lambda: np.zeros((2, 0), np.int64))

    def read(
        self,
        store: RecordStore,
        wanted: Scan,
        columns: Sequence[str],
        use: Callable[[Rows], None],
        most: int = ROWS,
    ) -> None:
        """Give what is new.

        Args:
            store: of records.
            wanted: whose; its times are set here, but for the end.
            columns: that are needed.
            use: called with each portion, in the order of time; once with all where it is not much.
            most: rows.
        """
        first = self._first(wanted.until_ns, most)
        scan = Scan(wanted.tenant, wanted.model, "", first, wanted.until_ns)
        parts: list[Mapping[str, Any]] = []
        rows, self._behind = 0, False
        for batch in store.scan(scan, columns):
            if not batch.count:
                continue
            rows += batch.count
            at = batch.columns["at_ns"]
            self.upto_ns = max(self.upto_ns, int(at[-1]))
            begins = np.asarray(batch.columns["item"]) == 0
            parts.append({name: of[begins] for name, of in batch.columns.items()})
            if rows >= most:
                self._behind = True
                break
        if parts:
            whole = _together(parts)
            use(Rows(whole, self._new(whole)))

    def _first(self, until_ns: int, most: int) -> int:
        if not self.upto_ns:
            return self.since_ns
        much = 2 * self._given.shape[1] > most  # what may come late would leave no room for news
        first = self.upto_ns - (_APART_NS if self._behind or much else LATE_NS)
        if self._behind and until_ns - self.upto_ns > BEHIND_NS:
            self.left_out_ns += until_ns - LATE_NS - self.upto_ns
            first = until_ns - LATE_NS
        return max(self.since_ns, first)

    def _new(self, columns: Mapping[str, Any]) -> Any:
        """Which requests were not given before; they are remembered as long as they may return."""
        at = np.asarray(columns["at_ns"], np.int64)
        keys = np.fromiter((hash(one) for one in columns["id"]), np.int64, len(at)) ^ at
        fresh = ~np.isin(keys, self._given[0])
        kept = np.concatenate([self._given, np.stack([keys[fresh], at[fresh]])], axis=1)
        self._given = kept[:, kept[1] >= self.upto_ns - LATE_NS]
        return fresh


def _together(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part)
    made = {}
    for name in names:
        columns = [
            part[name] if name in part else np.full(len(part["at_ns"]), None, object)
            for part in parts
        ]
        plain = len({column.dtype.kind for column in columns}) == 1
        made[name] = np.concatenate(columns if plain else [c.astype(object) for c in columns])
    return made
