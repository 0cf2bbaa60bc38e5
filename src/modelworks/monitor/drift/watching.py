"""Drift that is looked at every hour, for years, within a chance of a false alarm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from modelworks.monitor.drift.reference import Feature, Reference
from modelworks.monitor.drift.window import Window
from modelworks.stats import distances, sequential
from modelworks.stats.sequential import SPANS, Span, Spending

HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Evidence:
    """That one feature left its reference.

    Attributes:
        feature: its name.
        span: in which the evidence is strongest: `hour`, `day`, `week` or `month`.
        score: powers of ten above what an alarm takes; 0 and more = alarm.
    """

    feature: str
    span: str
    score: float

    @property
    def alarm(self) -> bool:
        """Whether it is one."""
        return self.score >= 0


@dataclass(frozen=True, slots=True)
class Sums:
    """Windows added up since the beginning of the hour, day, week and month they lie in.

    Attributes:
        since: beginning of each span that is under way, seconds since 1970, by its name.
        windows: what was added up, by span.
    """

    since: Mapping[str, int] = field(default_factory=dict)
    windows: Mapping[str, Window] = field(default_factory=dict)

    def add(self, end: float, window: Window, spans: tuple[Span, ...] = SPANS) -> "Sums":
        """With one window more.

        Args:
            end: of the window, seconds since 1970; windows come in the order of time, each once.
            window: no longer than the shortest span.
            spans: that are watched.
        """
        since, windows = {}, {}
        for span in spans:
            start = begun(end, span)
            kept = self.windows.get(span.name) if self.since.get(span.name) == start else None
            since[span.name] = start
            windows[span.name] = kept.merged(window) if kept else window
        return Sums(since, windows)


@dataclass(frozen=True, slots=True)
class Watch:
    """How a reference is watched.

    Attributes:
        reference: of the model's version.
        per_week: chance of any false alarm in a week.
        tolerance: nats within which nothing counts as a change; never less than what the
            reference's own size leaves open.
        spans: that are looked at.
    """

    reference: Reference
    per_week: float = 0.05
    tolerance: float = sequential.TOLERANCE
    spans: tuple[Span, ...] = SPANS

    def evidence(self, sums: Sums) -> list[Evidence]:
        """Of each feature, the strongest first."""
        spending = Spending(len(self.reference.features), self.per_week, self.spans)
        found: dict[str, Evidence] = {}
        for features in _alike(self.reference.features):  # as many cells: one calculation
            shares = distances.shares([feature.counts for feature in features])
            radius = np.array([self._radius(feature) for feature in features])
            for span in self.spans:
                window = sums.windows.get(span.name)
                if window is None:
                    continue
                there = [n for n, one in enumerate(features) if one.name in window.sketches]
                if not there:
                    continue
                counts = [window.sketches[features[n].name].counts for n in there]
                values = sequential.log_evidence(counts, shares[there], radius[there])
                scores = (values - spending.log_threshold(span)) / np.log(10)
                for place, score in zip(there, scores.tolist(), strict=True):
                    name = features[place].name
                    if name not in found or score > found[name].score:
                        found[name] = Evidence(name, span.name, score)
        return sorted(found.values(), key=lambda one: -one.score)

    def _radius(self, feature: Feature) -> float:
        """The tolerance, or what the reference's size leaves open but for one in a thousand."""
        size, cells = sum(feature.counts), len(feature.counts)
        chance = 1e-3 / len(self.reference.features)
        return max(self.tolerance, sequential.reference_radius(size, cells, chance))


def _alike(features: Sequence[Feature]) -> list[list[Feature]]:
    found: dict[int, list[Feature]] = {}
    for feature in features:
        found.setdefault(len(feature.counts), []).append(feature)
    return list(found.values())


def begun(end: float, span: Span) -> int:
    """Beginning of the span in which a window that ends at `end` lies; weeks begin on Mondays."""
    length = span.hours * HOUR
    offset = 4 * 24 * HOUR if span.hours % 168 == 0 else 0  # 1970 began on a Thursday
    return (int(np.ceil(end)) - 1 - offset) // length * length + offset
