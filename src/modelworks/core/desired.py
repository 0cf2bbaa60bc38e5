"""What was asked for and what became of it: the rows behind `plan`, `apply` and `status`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelworks.core.deployment import Revision


class State(StrEnum):
    """Of a deployment or a route."""

    PENDING = "pending"  # asked for; nobody has begun
    ROLLING = "rolling"  # under way
    READY = "ready"
    FAILED = "failed"  # the reason is in the message; what answered before still does
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Desired:
    """One deployment as it was asked for last.

    Attributes:
        name: of it.
        target: `docker`.
        settings: of the target.
        document: `metadata` and `spec` of the manifest, defaults written out, JSON.
        state: what became of it.
        message: for people: why, or what is waited for.
        generation: counts every change of what is asked for.
        wanted: number of the revision that is asked for; 0 = none yet.
        serving: number of the revision that was ready last; 0 = none was.
        since_ns: when `wanted` was asked for.
        created_ns: when it was first asked for.
        updated_ns: when anything of this changed.
        machine: from where it was asked for: a target that is a machine's own is there.
    """

    name: str
    target: str
    settings: Mapping[str, str]
    document: Mapping[str, Any]
    state: State = State.PENDING
    message: str = ""
    generation: int = 1
    wanted: int = 0
    serving: int = 0
    since_ns: int = 0
    created_ns: int = 0
    updated_ns: int = 0
    machine: str = ""

    @property
    def spec(self) -> Mapping[str, Any]:
        """Of the document."""
        found: Mapping[str, Any] = self.document["spec"]
        return found

    @property
    def replicas(self) -> int:
        """How many are asked for; with autoscaling the fewest."""
        return replicas_of(self.spec)


def replicas_of(spec: Mapping[str, Any]) -> int:
    """How many a deployment's spec asks for; with autoscaling the fewest."""
    scaling = spec.get("autoscaling")
    return int(scaling["min"] if scaling else spec["replicas"])


@dataclass(frozen=True, slots=True)
class DesiredRoute:
    """One route as it was asked for last; the fields are those of `Desired`."""

    name: str
    target: str
    settings: Mapping[str, str]
    document: Mapping[str, Any]
    state: State = State.PENDING
    message: str = ""
    generation: int = 1
    created_ns: int = 0
    updated_ns: int = 0

    @property
    def deployments(self) -> tuple[str, ...]:
        """Those that it names."""
        return deployments_of(self.document["spec"])


def deployments_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The deployments that a route's spec names, the one that gets copies last."""
    mirror = spec.get("mirror")
    answering = [str(one["deployment"]) for one in spec["backends"]]
    return (*answering, *([str(mirror["deployment"])] if mirror else []))


@dataclass(frozen=True, slots=True)
class Kept:
    """A revision as it is kept.

    Attributes:
        revision: of it.
        created_ns: when it was made.
        actor: by whom.
    """

    revision: Revision
    created_ns: int
    actor: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a deployment."""

    deployment: str
    at_ns: int
    message: str


@dataclass(frozen=True, slots=True)
class Audited:
    """Who did what.

    Attributes:
        at_ns: when.
        actor: who.
        act: `apply`, `roll-back`, `delete`, ...
        subject: `deployment/fraud`.
        detail: JSON.
    """

    at_ns: int
    actor: str
    act: str
    subject: str
    detail: Mapping[str, Any]
