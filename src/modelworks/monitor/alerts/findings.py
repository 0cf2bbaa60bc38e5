"""What a rule finds: for every set of labels a number, and whether the rule is true of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from modelworks.monitor.alerts.samples import Row, Samples, Want
from modelworks.protocol.manifest.alerts.fields import pattern


@dataclass(frozen=True, slots=True)
class Finding:
    """One set of labels.

    Attributes:
        labels: of the series, or those that the rule says.
        value: that was looked at.
        active: whether the rule is true.
        holds: whether it stays true, where it fires already: the other side of a hysteresis.
        words: for the summary, beside the labels and `value`.
    """

    labels: Mapping[str, str]
    value: float
    active: bool
    holds: bool = False
    words: Mapping[str, str | float] = field(default_factory=dict)


class Judge(Protocol):
    """One rule's condition. Of a set of labels that is not among its findings nothing is known."""

    said: str
    """What its alerts say where the rule has no summary."""

    def wants(self) -> list[Want]:
        """What it will read."""
        ...

    def findings(self, samples: Samples) -> list[Finding]:
        """What it finds now."""
        ...

    def lost(self, samples: Samples) -> list[Mapping[str, str]]:
        """Labels of series that were there within a day and of which nothing is known now."""
        ...


DAY = 86_400


class OfSeries:
    """What judges have in common that look at each series for itself.

    Args:
        name: of the series.
        where: labels.
        over: seconds back.
        lasting: whether `lost` will be asked.
    """

    said = "{value:.4g}"

    def __init__(self, name: str, where: Mapping[str, str], over: int, *, lasting: bool) -> None:
        self.want = Want(name, where, over)
        self.day = Want(name, where, max(over, DAY)) if lasting else None

    def wants(self) -> list[Want]:
        """The series, and those of a day."""
        return [self.want] if self.day is None else [self.want, self.day]

    def lost(self, samples: Samples) -> list[Mapping[str, str]]:
        """By what there was within a day; where nothing ever was, by the exact labels."""
        if self.day is None:
            return []
        known = {tuple(sorted(one.labels.items())) for one in self.findings(samples)}
        rows = [row for row in samples.rows(self.day) if row.times]
        if not rows and not known:
            return [exact(self.want.where)]
        return [row.labels for row in rows if row.key not in known]

    def findings(self, samples: Samples) -> list[Finding]:
        """One a series that has samples."""
        found = []
        for row in samples.rows(self.want):
            one = self.judge(row, samples)
            if one is not None:
                found.append(one)
        return found

    def judge(self, row: Row, samples: Samples) -> Finding | None:
        """Of one series; None = nothing is known."""
        raise NotImplementedError


def exact(where: Mapping[str, str]) -> dict[str, str]:
    """The labels that are no patterns."""
    return {name: value for name, value in where.items() if not pattern(value)}
