"""The kind `AlertTests`: what rules say of written or recorded numbers, as promtool's tests do."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelworks.core.alerts import AlertState, Severity
from modelworks.protocol.manifest.alerts.fields import (
    Duration,
    Labels,
    Matchers,
    RuleName,
    SeriesName,
    Window,
)
from modelworks.protocol.manifest.fields import WORD, Kind, Metadata, Name, Part


class InputSeries(Part):
    """One series, in promtool's notation: `0+1x10 _ stale`."""

    name: SeriesName
    """Of the series."""
    labels: Labels = Field(default_factory=dict)
    """Of the series."""
    values: Annotated[str, Field(max_length=100_000)]
    """From the start, one an interval: `5x3` is 5 5 5 5, `0+2x3` is 0 2 4 6, `_` is no sample."""


class ExpectedAlert(Part):
    """An alert that is there."""

    rule: RuleName
    """Whose."""
    labels: Labels = Field(default_factory=dict)
    """All of them, those that the rule adds too."""
    state: Annotated[AlertState, WORD] = AlertState.FIRING
    """`pending`, `firing` or `resolved`."""
    severity: Annotated[Severity, WORD] | None = None
    """Unset = any."""
    summary: str | None = None
    """Unset = any."""


class ExpectedMessage(Part):
    """A message that was sent, at any tick since the expectation before."""

    receiver: Name
    """To whom."""
    firing: list[RuleName] = Field(default_factory=list)
    """Rules of its firing alerts, each alert once, in any order."""
    resolved: list[RuleName] = Field(default_factory=list)
    """Rules of those that ended."""


class Expectation(Part):
    """What is so at one time."""

    at: Duration
    """Since the start."""
    rules: list[RuleName] = Field(default_factory=list)
    """Only alerts of these are looked at; empty = of all."""
    alerts: Annotated[list[ExpectedAlert], Field(max_length=1000)] | None = None
    """Exactly these are pending or fire (and those that ended, where they are named)."""
    messages: Annotated[list[ExpectedMessage], Field(max_length=1000)] | None = None
    """Exactly these were sent since the expectation before, in this order."""
    actions: list[Name] | None = None
    """Exactly these were called since the expectation before, in this order."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.alerts is None and self.messages is None and self.actions is None:
            raise ValueError("alerts, messages or actions are wanted; [] = there are none")
        return self


class WrittenSilence(Part):
    """A silence of a test."""

    match: Matchers
    """Labels, and `rule` and `severity`."""
    since: Duration = 0
    """Since the start."""
    until: Duration
    """Since the start."""


class Acknowledged(Part):
    """Somebody looks, of a test."""

    at: Duration
    """Since the start."""
    match: Matchers
    """Labels, and `rule` and `severity`."""


class AlertTest(Part):
    """One test."""

    name: Annotated[str, Field(max_length=200)]
    """One sentence."""
    interval: Window = 60
    """Between samples of `series`."""
    every: Window = 60
    """Between evaluations."""
    start: Annotated[int, Field(ge=604_800, le=4_000_000_000)] = 1_693_440_000
    """Seconds since 1970, UTC: hours of the week begin somewhere (unset: a Thursday's midnight)."""
    series: Annotated[list[InputSeries], Field(max_length=1000)] = Field(default_factory=list)
    """Written ones."""
    recorded: Annotated[str, Field(max_length=1000)] = ""
    """A file beside this one: a JSON line a series, {name, labels, times, values}."""
    silences: Annotated[list[WrittenSilence], Field(max_length=100)] = Field(default_factory=list)
    """Meanwhile."""
    acknowledge: Annotated[list[Acknowledged], Field(max_length=100)] = Field(default_factory=list)
    """Meanwhile."""
    expect: Annotated[list[Expectation], Field(min_length=1, max_length=1000)]
    """In the order of time."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        times = [one.at for one in self.expect]
        if times != sorted(times):
            raise ValueError("expectations are in the order of time")
        if not self.series and not self.recorded:
            raise ValueError("series are wanted, or recorded")
        return self


class AlertTestsSpec(Part):
    """The tests."""

    rules: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    """Files beside this one that are read too; empty = what was given with it."""
    tests: Annotated[list[AlertTest], Field(min_length=1, max_length=1000)]
    """Each begins with nothing."""


class AlertTests(Kind):
    """What rules say of written or recorded numbers."""

    kind: Literal["AlertTests"] = "AlertTests"
    """Of the document."""
    metadata: Metadata
    """Whose it is."""
    spec: AlertTestsSpec
    """The tests."""
