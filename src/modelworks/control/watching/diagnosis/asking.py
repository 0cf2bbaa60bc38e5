"""Gathers a case of this installation: series, events, revisions, moves of aliases, alerts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from modelworks.control.watching.diagnosis.case import Act, Case, gather
from modelworks.control.watching.diagnosis.hypotheses import Finding, diagnose
from modelworks.core.alerts import Alert, AlertState
from modelworks.core.desired import Event, Kept
from modelworks.core.errors import NotFoundError
from modelworks.core.model import AliasChange, ModelVersion
from modelworks.core.series import SeriesSource


class History(Protocol):
    """Who knows what was done."""

    def find(self, name: str) -> object | None:
        """A deployment; None = there is none."""
        ...

    def revisions(self, name: str) -> list[Kept]:
        """Of a deployment, newest first."""
        ...

    def events(self, name: str) -> list[Event]:
        """Of a deployment, newest first."""
        ...


class Registry(Protocol):
    """Who knows the versions."""

    def versions(self, name: str) -> list[ModelVersion]:
        """Of a model, newest first."""
        ...

    def history(self, name: str, alias: str | None = None) -> list[AliasChange]:
        """Moves of its aliases, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What may have changed.

    Attributes:
        subject: that was asked for.
        since: of the span in question, seconds since 1970.
        until: its end.
        findings: the likeliest first; none = nothing stands out.
        looked_at: so many series.
        alerts: that fire about it.
        acts: what was done in the span and shortly before, newest first.
    """

    subject: str
    since: float
    until: float
    findings: tuple[Finding, ...]
    looked_at: int
    alerts: tuple[str, ...]
    acts: tuple[Act, ...]


def ask(
    subject: str,
    source: SeriesSource,
    deployments: History,
    registry: Registry,
    alerts: Sequence[Alert],
    since: float,
    until: float,
) -> Diagnosis:
    """Diagnose a deployment or a model.

    Raises:
        NotFoundError: there is neither of that name.
    """
    labels, acts = _acts(subject, deployments, registry)
    start = since - (until - since)
    shown = sorted((one for one in acts if start <= one.at <= until), key=lambda one: -one.at)
    moved = gather(source, labels, since, until)
    firing = [
        one.summary
        for one in alerts
        if one.state is AlertState.FIRING
        and all(one.labels.get(key, value) == value for key, value in labels.items())
    ]
    case = Case(subject, since, until, moved, shown, firing)
    count = sum(map(len, moved.values()))
    found = tuple(diagnose(case))
    return Diagnosis(subject, since, until, found, count, tuple(firing), tuple(shown))


def _acts(
    subject: str, deployments: History, registry: Registry
) -> tuple[dict[str, str], list[Act]]:
    """The labels of its series, and what was done."""
    if deployments.find(subject) is not None:
        revisions = deployments.revisions(subject)
        acts = [
            Act(
                kept.created_ns / 1e9,
                f"revision {kept.revision.number} by {kept.actor or 'somebody'}: "
                f"{kept.revision.model.name}:{kept.revision.model.version}",
                kept.revision.model.version,
            )
            for kept in revisions
        ]
        acts += [Act(one.at_ns / 1e9, one.message) for one in deployments.events(subject)]
        return {"deployment": subject}, acts
    try:
        versions = registry.versions(subject)
    except NotFoundError as error:
        raise NotFoundError(
            f"there is neither a deployment nor a model '{subject}'", field="name"
        ) from error
    acts = [
        Act(
            change.at_ns / 1e9, f"alias {change.alias} moved by {change.actor}", str(change.version)
        )
        for change in registry.history(subject)
        if change.version is not None
    ]
    acts += [Act(one.created_ns / 1e9, f"{one.ref} was registered") for one in versions]
    return {"model": subject}, acts
