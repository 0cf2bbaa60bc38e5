"""The kind `AlertRules`: when somebody is to look, and why."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelworks.core.alerts import Severity
from modelworks.protocol.manifest.alerts.conditions import (
    Absent,
    Anomaly,
    BurnRate,
    Change,
    Composite,
    Threshold,
    Trend,
)
from modelworks.protocol.manifest.alerts.fields import (
    Duration,
    LabelName,
    Labels,
    LabelText,
    RuleName,
    Template,
)
from modelworks.protocol.manifest.fields import WORD, Kind, Metadata, Name, Part

CONDITIONS = ("threshold", "trend", "anomaly", "change", "absent", "burn_rate", "composite")


class Rule(Part):
    """One rule; it is true of any number of label sets, each an alert of its own."""

    name: RuleName
    """Unique among all rules."""
    threshold: Threshold | None = None
    """A number passes a bound."""
    trend: Trend | None = None
    """A number will pass a bound soon."""
    anomaly: Anomaly | None = None
    """A number is not what it is at this hour."""
    change: Change | None = None
    """A number has another level than before."""
    absent: Absent | None = None
    """Nothing is measured."""
    burn_rate: BurnRate | None = None
    """A promise is being broken, too fast."""
    composite: Composite | None = None
    """Other rules, put together."""
    for_: Annotated[Duration, Field(alias="for")] = 0
    """How long it has to be true before it fires."""
    keep_firing_for: Duration = 0
    """How long it fires on after it was true last."""
    missing: Literal["resolve", "keep", "fire"] = "resolve"
    """What follows where nothing is measured any more: it ends, stays as it is, or is true."""
    severity: Annotated[Severity, WORD] = Severity.WARNING
    """How soon somebody should look."""
    labels: Labels = Field(default_factory=dict)
    """More labels of its alerts: a team."""
    summary: Template = ""
    """One sentence; empty = what the rule says of itself."""
    annotations: Annotated[dict[LabelName, Template], Field(max_length=20)] = Field(
        default_factory=dict
    )
    """On-call notes and whatever else is of use."""
    runbook: Annotated[str, Field(pattern=r"^(https?://\S+)?$", max_length=1000)] = ""
    """Where it says what to do."""
    actions: Annotated[list[Name], Field(max_length=10)] = Field(default_factory=list)
    """Called once each time it fires; of an `AlertRouting`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        said = [name for name in CONDITIONS if getattr(self, name) is not None]
        if len(said) != 1:
            words = " and ".join(said) or "none"
            raise ValueError(f"one of {', '.join(CONDITIONS)} is wanted: here is {words}")
        if self.missing != "resolve" and said[0] in {"absent", "composite"}:
            raise ValueError(f"missing: {self.missing} says nothing of a rule with '{said[0]}'")
        return self

    @property
    def kind(self) -> str:
        """Which of the conditions it has."""
        return next(name for name in CONDITIONS if getattr(self, name) is not None)


class AlertRulesSpec(Part):
    """The rules."""

    labels: dict[LabelName, LabelText] = Field(default_factory=dict)
    """Of the alerts of all of them; a rule's own win."""
    rules: Annotated[list[Rule], Field(min_length=1, max_length=10_000)]
    """Of any order."""


class AlertRules(Kind):
    """When somebody is to look, and why."""

    kind: Literal["AlertRules"] = "AlertRules"
    """Of the document."""
    metadata: Metadata
    """Whose it is."""
    spec: AlertRulesSpec
    """The rules."""
