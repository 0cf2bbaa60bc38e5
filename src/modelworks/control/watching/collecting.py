"""Records as columns to compare: those of a window, and a sample of a time that was good."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from modelworks.core.errors import NotFoundError
from modelworks.core.records import Batch, Scan
from modelworks.core.seams import RecordStore
from modelworks.monitor.drift.records import columns_of

MOST_ROWS: Final = 100_000
"""Of one window of one version, and of a sample: more of them change no verdict."""


def collected(
    store: RecordStore, wanted: Scan, most: int = MOST_ROWS, seed: int = 0
) -> Mapping[str, Any]:
    """What one version was asked and answered, as a reference is made of it.

    Args:
        store: of records.
        wanted: a model, its version, and a time; from its requests lines are drawn evenly.
        most: lines.
        seed: of what is drawn.

    Returns:
        Inputs under their own names, outputs as `out.NAME`; without columns that were not kept.

    Raises:
        NotFoundError: no request that was answered is in the store.
    """
    count = sum(part.count for part in store.parts(wanted))
    share = min(1.0, 1.2 * most / max(count, 1))
    rng = np.random.default_rng(seed)
    batches = []
    for batch in store.scan(wanted):
        mine = batch.columns["version"] == wanted.version
        if share < 1:
            mine &= rng.random(batch.count) < share
        batches.append(taken(batch, mine, int(mine.sum())))
    drawn = sum(one.count for one in batches)
    columns: Mapping[str, Any] = {}
    if drawn:
        whole = joined(batches, drawn)
        chosen = np.sort(rng.permutation(drawn)[:most])
        columns = columns_of(taken(whole, chosen, len(chosen)))
    found = {name: values for name, values in columns.items() if _holds(values)}
    if not found:
        raise NotFoundError(
            f"no request of {wanted.model}:{wanted.version} lies in the store with its inputs or "
            "outputs: serve it with --record, and bring in what was recorded with: modelworks "
            "records compact",
            field="ref",
        )
    return found


def joined(batches: Sequence[Batch], most: int = MOST_ROWS) -> Batch:
    """Batches one behind the other, with the columns that all have, cut to so many lines."""
    names = set.intersection(*(set(one.columns) for one in batches))
    columns = {
        name: np.concatenate([one.columns[name] for one in batches])[:most]
        for name in sorted(names)
    }
    return Batch(columns, min(most, sum(one.count for one in batches)))


def taken(batch: Batch, which: Any, count: int) -> Batch:
    """Some lines of a batch, by their places or a truth value each; so many."""
    return Batch({name: values[which] for name, values in batch.columns.items()}, count)


def _holds(values: Any) -> bool:
    """Whether a column has any value at all."""
    if values.dtype.kind == "f":
        return bool((~np.isnan(values)).any())
    return values.dtype.kind != "O" or any(value is not None for value in values)
