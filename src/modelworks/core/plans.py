"""What would be done with a manifest, and what was: as commands show it and the API says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from modelworks.core.deployment import Rendered, Replica, Support
from modelworks.core.desired import Event, State


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of one field.

    Attributes:
        path: of the document: `spec.secrets[0].name`.
        value: JSON.
        support: what is done with it.
        how: how, or why not.
        plain: it says what goes without saying.
        place: file, line and column, where somebody wrote it.
    """

    path: str
    value: Any
    support: Support
    how: str
    plain: bool
    place: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One field that would be another one; None = it was, or will be, nothing."""

    path: str
    before: Any
    after: Any


class Act(StrEnum):
    """What `apply` would do with a document."""

    CREATE = "create"
    UPDATE = "update"  # another revision takes over
    SCALE = "scale"  # the same revision, in other numbers or with other labels
    RETRY = "retry"  # as before; it had failed, or is not as it was asked for
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Planned:
    """One document.

    Attributes:
        kind: `Deployment` or `Route`.
        name: of it.
        target: where it runs.
        act: what would be done.
        model: the version that would run: `fraud:1.4.0`.
        revision: its number; 0 = a new one.
        serving: the revision that answers now; 0 = none.
        answers: every field.
        changes: against what was asked for last.
        outside: what somebody else changed on the target.
        notes: what else is to be known before it is applied.
        native: the target's own objects as they would be, against those that are, as a diff.
    """

    kind: str
    name: str
    target: str
    act: Act
    model: str = ""
    revision: int = 0
    serving: int = 0
    answers: tuple[Answer, ...] = ()
    changes: tuple[Change, ...] = ()
    outside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    native: str = ""

    @property
    def refused(self) -> tuple[Answer, ...]:
        """The fields that stand in the way."""
        return tuple(one for one in self.answers if one.support is Support.REFUSED)


@dataclass(frozen=True, slots=True)
class Plan:
    """All documents of a manifest."""

    documents: tuple[Planned, ...]
    environment: str = ""

    @property
    def ok(self) -> bool:
        """Whether it can be applied."""
        return not any(one.act is Act.REFUSED for one in self.documents)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one document.

    Attributes:
        kind: `Deployment` or `Route`.
        name: of it.
        state: at the end.
        revision: that was asked for.
        serving: that answers.
        url: where.
        message: why it failed.
    """

    kind: str
    name: str
    state: State
    revision: int = 0
    serving: int = 0
    url: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A deployment, as it was asked for and as it is.

    Attributes:
        name: of it.
        description: of the manifest.
        target: where it runs.
        state: what became of what was asked for.
        message: for people.
        model: the version that is asked for.
        moved: what the manifest's reference means by now, where that is another version.
        wanted: the revision that is asked for.
        serving: the one that was ready last.
        replicas: asked for.
        seen: those that there are.
        url: where it answers.
        changed: what somebody else changed.
        slo: what was promised.
        unseen: why the target could not be asked; "" = it was.
        events: the latest, newest first.
    """

    name: str
    description: str
    target: str
    state: State
    message: str
    model: str
    moved: str
    wanted: int
    serving: int
    replicas: int
    seen: tuple[Replica, ...] = ()
    url: str = ""
    changed: tuple[str, ...] = ()
    slo: Mapping[str, Any] = field(default_factory=dict)
    unseen: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """The native objects of one document."""

    kind: str
    name: str
    target: str
    files: tuple[Rendered, ...]
