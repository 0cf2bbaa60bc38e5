"""The kind `Rollout`: how traffic moves to another version, and on what evidence."""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from modelworks.core.rollouts import Direction, OnInconclusive, Strategy
from modelworks.core.rollouts import Kind as MetricKind
from modelworks.protocol.manifest.alerts.fields import Duration, Window
from modelworks.protocol.manifest.fields import WORD, Kind, Metadata, Name, Part

_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)%")
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)(pp|%)?")
_ALL: Final = 100.0


def _share(value: Any) -> Any:
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(found[1]) > _ALL:
        raise ValueError("a share is a percentage from 0% to 100%: 5%")
    return float(found[1]) / _ALL


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    text = f"{value:.12f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    if _AMOUNT.fullmatch(text) is None:
        raise ValueError(
            "how much is points of a rate (0.5pp), a share of the stable arm's figure (20%), or a "
            "number in the metric's own unit"
        )
    return text


def _arm(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError(f"'{text}' is no name of an arm")
    return text


Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=str)]
"""0 to 1; written `5%`."""
Amount = Annotated[str, BeforeValidator(_amount, json_schema_input_type=str | float)]
"""Written `0.5pp`, `20%` or `12`."""
Arm = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_arm)]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Slice = Annotated[str, Field(pattern=r"^[^=\s]+=.+$", max_length=256)]
Chance = Annotated[float, Field(gt=0, le=0.5)]


class RolloutStep(Part):
    """A share, and how long it stands at the least."""

    share: Share
    """Of the traffic that the candidate gets; `0%` = copies only."""
    bake: Duration = 0
    """The step lasts so long at the least: `10m`."""
    sample: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Requests of the candidate in this step at the least."""


class RolloutMetric(Part):
    """What is looked at, and how much worse is no harm."""

    metric: MetricName
    """Its name. What is known by name needs no kind and direction: `error_rate`, `timeout_rate`,
    `accuracy`, `wrong_rate`, `mae`, `mse`, `quality`, `disagreement`, `latency_p99_ms` (any
    percent), `revenue`, `drift`, `cost`; which of them are measured is checked too."""
    kind: Annotated[MetricKind, WORD] | None = None
    """What it is made of."""
    direction: Annotated[Direction, WORD] | None = None
    """Which way it is better."""
    margin: Amount | None = None
    """How much worse is no harm: `0.5pp`, `20%`, `12`; unset, of a rate: `risk.harm`."""
    bounds: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """Of a mean: smallest and largest value there can be; unset = not known, and the test waits for
    more requests."""
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of a quantile: 0.99; unset = by the name."""
    absolute: bool | None = None
    """The candidate's own figure is held against the margin: it is a difference already."""
    labelled: bool | None = None
    """It needs the truth, which comes late; goes with `labels`."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.bounds is not None and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"bounds: {self.bounds[0]:g} is not below {self.bounds[1]:g}")
        return self


class Risk(Part):
    """How often the roll-out may err."""

    false_rollback: Chance = 0.01
    """Chance of rolling back what is no worse than the margins, however often it is looked at."""
    false_promotion: Chance = 0.05
    """Chance of promoting what is worse than a margin."""
    harm: Amount = "0.5pp"
    """Margin of the rates that have none of their own."""


class RolloutSpec(Part):
    """What is wanted."""

    route: Name
    """Whose traffic moves."""
    stable: Arm
    """Arm that answers now."""
    candidate: Arm | None = None
    """Arm that is tried."""
    candidates: Annotated[list[Arm], Field(min_length=1, max_length=16)] | None = None
    """Several, for an experiment or a bandit."""
    strategy: Annotated[Strategy, WORD] = Strategy.CANARY
    """How traffic moves."""
    steps: Annotated[list[RolloutStep], Field(min_length=1, max_length=50)]
    """In order; the last of a canary is 100%."""
    primary: RolloutMetric
    """What has to be no worse (canary) or better (experiment)."""
    superiority: bool = False
    """The primary has to be better, not just no worse."""
    guardrails: Annotated[list[RolloutMetric], Field(max_length=20)] = Field(default_factory=list)
    """None of them may be harmed."""
    slices: Annotated[list[Slice], Field(max_length=50)] = Field(default_factory=list)
    """Every one must be no worse in the primary: `country=de`."""
    risk: Risk = Field(default_factory=Risk)
    """How often the roll-out may err."""
    minimum_sample: Annotated[int, Field(ge=1, le=1_000_000_000)] = 100
    """Requests of the candidate in the step that ends in promotion."""
    on_inconclusive: Annotated[OnInconclusive, WORD] = OnInconclusive.HOLD
    """What happens when `max_duration` is over and nothing is proved."""
    max_duration: Window = 86_400
    """Of the whole roll-out."""
    replay: Duration = 0
    """So much recorded traffic is played to the candidate first."""
    labels: Share = 0.0
    """Share of the traffic whose truth will come."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.candidate is None) == (self.candidates is None):
            raise ValueError("one of candidate and candidates is wanted")
        return self


class Rollout(Kind):
    """How traffic moves to another version, and on what evidence."""

    kind: Literal["Rollout"] = "Rollout"
    """Of the document."""
    metadata: Metadata
    """Whose it is."""
    spec: RolloutSpec
    """What is wanted."""
