"""Numbers over time, as rules, reports and pictures read them.

Names are words with underscores, a unit last (`latency_p99_ms`). Every series has the labels
`model` and, where it is of one, `version` and `deployment`; further ones by name:

| name | further labels | is |
|---|---|---|
| `requests`, `errors`, `rejected`, `invalid` | | count in the window; `errors` are our faults |
| `latency_p50_ms`, `latency_p99_ms`, `latency_mean_ms`, `queue_p99_ms`, `compute_p99_ms` | | |
| `drift` | `feature`, `method` | distance from the reference; feature `*` = of all together |
| `drift_loss` | `feature` | estimated loss of quality that the drift costs |
| `missing`, `out_of_range`, `new_category`, `wrong_type` | `feature` | share of values |
| `quality` | `metric`, `slice`, `kind` | `measured`, `estimated` or `inferred`; slice `*` = all |
| `business` | `metric` | outcome by feedback: `revenue_mean` |
| `quality_low`, `quality_high`, `business_low`, `business_high` | the same | the interval |
| `quality_rows`, `business_rows` | the same | rows that the figure is of |
| `host_*`, `process_*`, `model_*` | `process` | of the machine, a process, a model |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

HOURLY: Final = frozenset(
    {"drift", "quality", "business", "missing", "out_of_range", "new_category", "wrong_type"}
)
"""First words, or names, of series that have a value an hour, some minutes after its end."""


def hourly(name: str) -> bool:
    """Whether a series has a value an hour; others have one a minute."""
    return name in HOURLY or name.partition("_")[0] in HOURLY


@dataclass(frozen=True, slots=True)
class Series:
    """One series of samples.

    Attributes:
        name: what is measured.
        labels: of what.
        times: seconds since 1970, UTC, rising: ends of the windows.
        values: one a time; NaN = nothing was there to measure.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    times: Sequence[float] = ()
    values: Sequence[float] = ()


class SeriesSource(Protocol):
    """Where series are read from."""

    def select(
        self, name: str, labels: Mapping[str, str], since: float, until: float
    ) -> Iterable[Series]:
        """Every series of that name that has those labels (others besides), in a stable order.

        Args:
            name: of the series.
            labels: that are wanted; a value may be a pattern of `fnmatch`.
            since: seconds since 1970, exclusive.
            until: seconds since 1970, inclusive.
        """
        ...
