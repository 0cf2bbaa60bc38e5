"""What a rule looks at: a bound, a trend, an anomaly, a change, absence, a promise, other rules."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from modelworks.core.series import hourly
from modelworks.protocol.manifest.alerts.fields import (
    Duration,
    LabelName,
    Matchers,
    RuleName,
    SeriesName,
    Window,
)
from modelworks.protocol.manifest.fields import WORD, Part

HOUR, DAY = 3600, 86_400
_HOURS: Final = "2h"


class Aggregate(StrEnum):
    """How the samples of a window become one number."""

    LAST = "last"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"


class Side(StrEnum):
    """Which way counts."""

    BOTH = "both"
    UP = "up"
    DOWN = "down"


class Selection(Part):
    """Which series."""

    _minutes: ClassVar[bool] = False
    """Whether `over` is some minutes where it is left out."""

    series: SeriesName
    """By name; `modelworks watch series` lists them."""
    where: Matchers = Field(default_factory=dict)
    """Labels that they have: `model: fraud*`."""

    @model_validator(mode="before")
    @classmethod
    def _as_often_as_it_comes(cls, data: Any) -> Any:
        """Two hours of what has a value an hour: of the usual minutes there would be none."""
        if not isinstance(data, dict) or "over" in data or not cls._minutes:
            return data
        return {**data, "over": _HOURS} if hourly(str(data.get("series"))) else data


def _one_bound(above: float | None, below: float | None) -> None:
    if (above is None) == (below is None):
        raise ValueError("one of above and below is wanted")


class Threshold(Selection):
    """A number passes a bound."""

    _minutes: ClassVar[bool] = True

    by: Annotated[Aggregate, WORD] = Aggregate.LAST
    """How the samples become one number."""
    over: Window = 300
    """Samples not older than this; left out, 2h of series that have a value an hour."""
    per: SeriesName | Literal[""] = ""
    """Divided by this series of the same labels, aggregated the same way."""
    above: FiniteFloat | None = None
    """True where it is more."""
    below: FiniteFloat | None = None
    """True where it is less."""
    clear: FiniteFloat | None = None
    """What fires ends only on the other side of this."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _one_bound(self.above, self.below)
        if self.clear is not None:
            if self.above is not None and self.clear > self.above:
                raise ValueError(f"clear is {self.clear:g}, over above: {self.above:g}")
            if self.below is not None and self.clear < self.below:
                raise ValueError(f"clear is {self.clear:g}, under below: {self.below:g}")
        return self

    @property
    def bound(self) -> float:
        """Whichever was said."""
        return self.above if self.above is not None else float(self.below or 0.0)


class Trend(Selection):
    """A number will pass a bound soon, if it goes on like this.

    A straight line by Theil and Sen: up to 29 % of the samples may be anything.
    """

    over: Window = DAY
    """Samples that the line goes through."""
    within: Window
    """True where it is there sooner."""
    above: FiniteFloat | None = None
    """The bound, from below."""
    below: FiniteFloat | None = None
    """The bound, from above."""
    certain: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """How certain it has to be that the number moves towards the bound at all."""
    samples: Annotated[int, Field(ge=5, le=10_000)] = 12
    """Fewer, and nothing is said."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _one_bound(self.above, self.below)
        return self


class Anomaly(Selection):
    """A number is not what it is at this hour: a robust z-score against the same hours before."""

    _minutes: ClassVar[bool] = True

    over: Window = 600
    """The median of these samples is looked at; left out, 2h of series with a value an hour."""
    season: Literal["hour-of-week", "hour-of-day", "none"] = "hour-of-week"
    """Which samples of the past are the same hours."""
    history: Window = 28 * DAY
    """How far back."""
    z: Annotated[float, Field(gt=0, le=100)] = 5.0
    """True where it is further off, in robust standard deviations."""
    side: Annotated[Side, WORD] = Side.BOTH
    """Which way counts."""
    least: Annotated[float, Field(ge=0)] = 0.0
    """Nearer to the median than this is never an anomaly, in the unit of the series."""
    samples: Annotated[int, Field(ge=3, le=100_000)] = 12
    """Of the same hours; fewer, and nothing is said."""


class Change(Selection):
    """A number has another level than before: a CUSUM of standardized samples."""

    over: Window = DAY
    """Samples that are looked at, one by one."""
    history: Window = 14 * DAY
    """Before these: what level and scatter were."""
    shift: Annotated[float, Field(gt=0, le=20)] = 1.0
    """What is to be found, in standard deviations."""
    false_alarm_every: Annotated[int, Field(ge=10, le=10_000_000)] = 10_000
    """Samples without a change, on average, between two false alarms."""
    side: Annotated[Side, WORD] = Side.BOTH
    """Which way counts."""
    samples: Annotated[int, Field(ge=20, le=1_000_000)] = 100
    """Of the history; fewer, and nothing is said."""


class Absent(Selection):
    """Nothing is measured."""

    _minutes: ClassVar[bool] = True

    over: Window = 600
    """For this long; left out, 2h of series that have a value an hour."""
    seen: Duration = 0
    """Of each series that was there within this; 0 = true where not one of them is there."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.seen and self.seen <= self.over:
            raise ValueError("seen is not longer than over: nothing could be missed")
        return self


class BurnWindow(Part):
    """The budget burns too fast over both of two windows."""

    long: Window
    """Says that it matters."""
    short: Window
    """Says that it still goes on."""
    burn: Annotated[float, Field(gt=0, le=10_000)]
    """Times as fast as would use the budget up in its period."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.short >= self.long:
            raise ValueError("short is not shorter than long")
        return self


class BurnRate(Part):
    """A promise is being broken, too fast.

    Multi-window, multi-burn-rate (Site Reliability Workbook, chapter 5): availability by `bad` of
    `total`; latency by the share of samples of `series` that are over `above`.
    """

    objective: Annotated[float, Field(gt=0, lt=1)]
    """Share that is good: 0.999."""
    bad: SeriesName | Literal[""] = ""
    """Counts of what failed: `errors`."""
    total: SeriesName | Literal[""] = ""
    """Counts of everything: `requests`."""
    series: SeriesName | Literal[""] = ""
    """Samples, each of them good or bad: `latency_p99_ms`."""
    above: FiniteFloat | None = None
    """Bad where it is more."""
    every: Duration = 0
    """How far apart the samples of `series` are: only an export asks for it."""
    where: Matchers = Field(default_factory=dict)
    """Labels that they have."""
    period: Window = 30 * DAY
    """That the budget is for."""
    windows: (
        Literal["page", "ticket"] | Annotated[list[BurnWindow], Field(min_length=1, max_length=6)]
    ) = "page"
    """`page`: 2 % of the budget in an hour, 5 % in six; `ticket`: 10 % in a day, or three days."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        by_counts = bool(self.bad) and bool(self.total)
        by_samples = bool(self.series) and self.above is not None
        some = bool(self.bad) + bool(self.total) + bool(self.series) + (self.above is not None)
        if by_counts == by_samples or some != 2:
            raise ValueError("bad and total are wanted, or series and above")
        return self

    def pairs(self) -> list[BurnWindow]:
        """The windows, whichever way they were said."""
        if not isinstance(self.windows, str):
            return list(self.windows)
        shares = _PAGE if self.windows == "page" else _TICKET
        return [
            BurnWindow(long=_said(long), short=_said(short), burn=share * self.period / long)
            for share, long, short in shares
        ]


def _said(seconds: int) -> int:
    return f"{seconds}s"  # type: ignore[return-value]  # as a person would write it


_PAGE = ((0.02, HOUR, 300), (0.05, 6 * HOUR, 1800))
_TICKET = ((0.10, DAY, 2 * HOUR), (0.10, 3 * DAY, 6 * HOUR))


class Term(Part):
    """A part of a composite."""

    rule: RuleName | Literal[""] = ""
    """True where this rule fires."""
    where: Matchers = Field(default_factory=dict)
    """Only alerts of the rule that have these labels."""
    at_least: Annotated[int, Field(ge=1, le=1000)] = 1
    """So many alerts of `rule`, or so many terms of `of`."""
    of: Annotated[list["Term"], Field(max_length=50)] = Field(default_factory=list)
    """True where `at_least` of these are."""
    all: Annotated[list["Term"], Field(max_length=50)] = Field(default_factory=list)
    """True where every one is."""
    any: Annotated[list["Term"], Field(max_length=50)] = Field(default_factory=list)
    """True where one is."""
    not_: Annotated["Term | None", Field(alias="not")] = None
    """True where it is not."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        said = [bool(self.rule), bool(self.of), bool(self.all), bool(self.any)]
        if sum(said) + (self.not_ is not None) != 1:
            raise ValueError("one of rule, all, any, not and of is wanted")
        if self.where and not self.rule:
            raise ValueError("where goes with rule")
        if self.of and self.at_least > len(self.of):
            raise ValueError(f"at_least {self.at_least} of {len(self.of)} is never true")
        return self


class Composite(Term):
    """Other rules, put together, for each value of some labels."""

    on: Annotated[list[LabelName], Field(max_length=10)] = Field(default_factory=lambda: ["model"])
    """Labels that the alerts have in common, and this one has; others of theirs do not count."""

    @model_validator(mode="after")
    def _begins(self) -> Self:
        if not _positive(self):
            raise ValueError("only not: a rule that has to fire is wanted, with its labels")
        return self


def _positive(term: Term) -> bool:
    inner = [*term.all, *term.any, *term.of]
    return bool(term.rule) or any(map(_positive, inner))
