"""Latency histograms and counts out of a Prometheus exposition, and what they say. Pure."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\{(?P<labels>[^\n]*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

REQUESTS = "modelworks_requests_total"
BUCKETS = "modelworks_request_duration_seconds_bucket"

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

    def quantile(self, share: float) -> float | None:
        """Seconds under which that share of requests were answered; None without any.

        Linear within a bucket, as Prometheus's `histogram_quantile` does it.
        """
        bounds = sorted(self.buckets)
        total = self.buckets[bounds[-1]] if bounds else 0.0
        if total <= 0:
            return None
        rank, low, below = share * total, 0.0, 0.0
        for bound in bounds:
            count = self.buckets[bound]
            if count >= rank and count > below:
                if math.isinf(bound):
                    return low
                return low + (bound - low) * (rank - below) / (count - below)
            low, below = bound, count
        return low


def read(text: str) -> dict[Key, Counts]:
    """Counts a model version; lines of other metrics are passed over."""
    found: dict[Key, Counts] = {}
    for name, labels, value in _lines(text):
        if name not in {REQUESTS, BUCKETS} or not labels.get("model"):
            continue  # no model: the request named none that exists
        if labels.get("stage", "total") != "total":
            continue
        counts = found.setdefault((labels["model"], labels.get("version", "")), Counts())
        if name == BUCKETS:
            bound = float(labels["le"])
            counts.buckets[bound] = counts.buckets.get(bound, 0.0) + value
        else:
            counts.requests += value
            counts.failures += 0.0 if labels.get("outcome") in {"success", "cancelled"} else value
    return found


def _lines(text: str) -> Iterable[tuple[str, Mapping[str, str], float]]:
    for line in text.splitlines():
        match = None if line.startswith("#") else _LINE.match(line)
        if match is not None:
            yield match["name"], dict(_LABEL.findall(match["labels"])), float(match["value"])
