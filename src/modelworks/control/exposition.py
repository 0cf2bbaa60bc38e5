"""Counts and latency histograms out of a server's Prometheus exposition. Pure."""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\{(?P<labels>[^\n]*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

REQUESTS = "modelworks_requests_total"
BUCKETS = "modelworks_request_duration_seconds_bucket"
_MOST = 2.0**63

Key = tuple[str, str]
"""(model, version)."""


@dataclass(slots=True)
class Counts:
    """What a server has counted for one model version since it began.

    Attributes:
        requests: answered, with whatever outcome.
        failures: of them, those that did not succeed.
        buckets: upper bound in seconds -> requests at or under it (cumulative).
    """

    requests: float = 0.0
    failures: float = 0.0
    buckets: dict[float, float] = field(default_factory=dict)

    def since(self, older: "Counts") -> "Counts":
        """What came after `older`; a server that restarted counts from zero."""
        if self.requests < older.requests:
            return self
        return Counts(
            self.requests - older.requests,
            self.failures - older.failures,
            {b: n - older.buckets.get(b, 0.0) for b, n in self.buckets.items()},
        )

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        bounds = sorted(self.buckets.keys() | other.buckets.keys())
        return Counts(
            self.requests + other.requests,
            self.failures + other.failures,
            {b: self.buckets.get(b, 0.0) + other.buckets.get(b, 0.0) for b in bounds},
        )


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """The value under which that share of a histogram's observations lie; None without any.

    Linear within a bucket, as Prometheus's `histogram_quantile` does it; beyond the last finite
    bound nothing is known, so that bound is the answer there.

    Args:
        buckets: upper bound -> observations at or under it (cumulative).
        share: 0.99 for the 99th percentile.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank and count > below:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


def read(text: str) -> dict[Key, Counts]:
    """Counts a model version; lines of other metrics are passed over.

    Raises:
        ValueError: a value or a bound that no count can have.
    """
    found: dict[Key, Counts] = {}
    for name, labels, value in values(text, {REQUESTS, BUCKETS}):
        if not labels.get("model"):
            continue  # the request named none that exists
        if labels.get("stage", "total") != "total":
            continue
        counts = found.setdefault((labels["model"], labels.get("version", "")), Counts())
        if name == BUCKETS:
            bound = float(labels.get("le", ""))
            if not bound >= 0:
                raise ValueError(f"a bucket up to {bound}")
            counts.buckets[bound] = counts.buckets.get(bound, 0.0) + value
        else:
            counts.requests += value
            counts.failures += 0.0 if labels.get("outcome") in {"success", "cancelled"} else value
    return found


def values(text: str, names: Collection[str]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """(name, labels, value) of each line of these metrics; all of them are counts, or sums.

    Raises:
        ValueError: a value that no count can have.
    """
    heads = tuple(names)
    for line in text.splitlines():
        match = _LINE.match(line) if line.startswith(heads) else None
        if match is None or match["name"] not in names:
            continue
        value = float(match["value"])
        if not 0 <= value < _MOST:  # NaN is neither
            raise ValueError(f"a count of {value}")
        yield match["name"], dict(_LABEL.findall(match["labels"])), value
