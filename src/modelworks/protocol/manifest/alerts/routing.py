"""The kind `AlertRouting`: who is told of what, how often, and what is done by itself."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelworks.core.alerts import Severity
from modelworks.protocol.manifest.alerts.fields import Duration, LabelName, Matchers, Window
from modelworks.protocol.manifest.fields import WORD, Kind, Metadata, Name, Part

NotifierName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
Setting = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Settings = Annotated[
    dict[Setting, Annotated[str, Field(max_length=4096)]], Field(default_factory=dict)
]


class Told(Part):
    """One way to tell a receiver."""

    type: NotifierName
    """`webhook`, `email`, `slack`...: see `docs/alerts.md`."""
    settings: Settings
    """Its own. A secret is never written here: `NAME_file` or `NAME_variable` says where it is."""


class Receiver(Part):
    """Who is told."""

    name: Name
    """Of a person, a team, a channel."""
    notifiers: Annotated[list[Told], Field(max_length=10)] = Field(default_factory=list)
    """Every one is used; none = nobody is told."""


class Escalation(Part):
    """Somebody else, where nobody acknowledged."""

    after: Window
    """Since it fired."""
    receiver: Name
    """Who is told besides."""
    severity: Annotated[Severity, WORD] | None = None
    """Raised to this in what they are told."""


class RouteOfAlerts(Part):
    """Alerts go down to the first route that matches, and no further than they match."""

    receiver: Name | Literal[""] = ""
    """Who is told; empty = whoever the route above tells."""
    match: Matchers = Field(default_factory=dict)
    """Labels, and `rule` and `severity`."""
    group_by: Annotated[list[LabelName], Field(max_length=10)] | None = None
    """Alerts with these in common are one message; unset = as above; [] = all are one."""
    group_wait: Duration | None = None
    """For others of the group, before the first message (30s)."""
    group_interval: Window | None = None
    """Between messages of something new in a group (5m)."""
    repeat_interval: Window | None = None
    """Between messages of nothing new (4h)."""
    escalate: Annotated[list[Escalation], Field(max_length=5)] = Field(default_factory=list)
    """One after the other, where nobody acknowledges."""
    go_on: bool = False
    """Whether routes after this one are tried too."""
    routes: Annotated[list["RouteOfAlerts"], Field(max_length=100)] = Field(default_factory=list)
    """Below this one."""


class Inhibition(Part):
    """While one alert fires, others are not told."""

    source: Matchers
    """Of the one; `rule` and `severity` too."""
    target: Matchers
    """Of the others."""
    equal: Annotated[list[LabelName], Field(max_length=10)] = Field(default_factory=list)
    """Labels that both have the same."""


class Action(Part):
    """What is done, once for each time that an alert fires."""

    name: Name
    """By which rules call it."""
    webhook: Annotated[dict[Setting, str], Field(max_length=20)] | None = None
    """Settings of the notifier `webhook`: it is told of the one alert."""
    use_case: Name | None = None
    """Of Modelworks' own, by name."""
    arguments: Annotated[dict[str, str], Field(max_length=20)] = Field(default_factory=dict)
    """Of the use case."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """At most, while nobody answers."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.webhook is None) == (self.use_case is None):
            raise ValueError("one of webhook and use_case is wanted")
        return self


class AlertRoutingSpec(Part):
    """Who is told of what."""

    receivers: Annotated[list[Receiver], Field(min_length=1, max_length=200)]
    """Who there is."""
    route: RouteOfAlerts
    """Where every alert begins."""
    inhibit: Annotated[list[Inhibition], Field(max_length=100)] = Field(default_factory=list)
    """What says nothing new while something else fires."""
    actions: Annotated[list[Action], Field(max_length=100)] = Field(default_factory=list)
    """What rules may call."""
    url: Annotated[str, Field(pattern=r"^(https?://\S+)?$", max_length=1000)] = ""
    """Where more can be seen: a link in messages."""

    @model_validator(mode="after")
    def _begins(self) -> Self:
        if not self.route.receiver or self.route.match:
            raise ValueError("the first route takes every alert: a receiver, and no match")
        return self


class AlertRouting(Kind):
    """Who is told of what, how often, and what is done by itself."""

    kind: Literal["AlertRouting"] = "AlertRouting"
    """Of the document."""
    metadata: Metadata
    """Whose it is."""
    spec: AlertRoutingSpec
    """Who is told of what."""
