"""What runs somewhere: revisions, what is wanted of a target, what was seen there."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.served import ServedModel

SCALING = ("replicas", "autoscaling", "strategy")
"""Fields of a spec that say how many run and how they change, not what: no part of a revision."""

HOUSE = (
    "model",
    "variant",
    "target.type",
    "target.settings",
    "image.base",
    "slo.latency_p99_ms",
    "slo.availability",
    "strategy.ready_timeout_s",
    "strategy.keep_revisions",
)
"""Leaves of a spec that are the same on every target: no capability table has them."""

_NEWER: Final = ("engine_options", "cache", "sequences", "instances")
"""Fields that an earlier build did not have: no part of a digest where they say nothing."""


class Support(StrEnum):
    """What a target does with a field of a manifest."""

    HONOURED = "honoured"  # by what the target has for it
    EMULATED = "emulated"  # by what we do in its place
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Capability:
    """What a target does with one field.

    Attributes:
        support: of any value; with REFUSED only the default is taken.
        how: what it becomes there, what is done in its place, or why it is refused.
        refuses: why this value is refused although others are not; "" = it is not. Gets the value
            and the whole spec, both JSON.
    """

    support: Support
    how: str
    refuses: Callable[[Any, Mapping[str, Any]], str] | None = None


def honoured(
    how: str, refuses: Callable[[Any, Mapping[str, Any]], str] | None = None
) -> Capability:
    """The target has it."""
    return Capability(Support.HONOURED, how, refuses)


def emulated(
    how: str, refuses: Callable[[Any, Mapping[str, Any]], str] | None = None
) -> Capability:
    """The target has it not, and we do it."""
    return Capability(Support.EMULATED, how, refuses)


def refused(why: str) -> Capability:
    """It cannot be had there: only the default is taken."""
    return Capability(Support.REFUSED, why)


@dataclass(frozen=True, slots=True)
class Revision:
    """What runs, fixed for ever: a version of a model, and all that the manifest says of it.

    Attributes:
        deployment: its name.
        number: counts from 1 within the deployment; what people say.
        spec: of the manifest, every default written out, JSON values; what `SCALING` names is in
            it as it was when the revision was made, and `Wanted` says what holds now.
        model: the version, laid out on the machine that reconciles.
        image: by digest, `registry.example.com/fraud@sha256:...`; "" where none is needed.
    """

    deployment: str
    number: int
    spec: Mapping[str, Any]
    model: ServedModel
    image: str = ""

    @property
    def name(self) -> str:
        """`fraud-3`; unique on a target."""
        return f"{self.deployment}-{self.number}"

    @property
    def ref(self) -> str:
        """`fraud/3`; what records say."""
        return f"{self.deployment}/{self.number}"

    @property
    def digest(self) -> str:
        """Of all that makes it what it is: equal digests run the same.

        16 hex digits of a SHA-256 over canonical JSON. Paths of this machine are no part of it, nor
        is what the version was called: `fraud@champion` and `fraud:1.4.0` may be the same.
        """
        skipped = {*SCALING, "model"}
        said = {
            key: _said(value)
            for key, value in self.spec.items()
            if key not in skipped and (value or key not in _NEWER)
        }
        model = codec.encode(self.model)
        for key in ("path", "interpreter"):
            del model[key]
        for key in _NEWER:
            if not model.get(key):
                model.pop(key, None)  # what an earlier build kept has none: it runs as before
        whole = {"spec": said, "model": model, "image": self.image}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _said(value: Any) -> Any:
    """Without what newer forms of the manifest added, where it says nothing: it runs as before."""
    if isinstance(value, Mapping):
        return {k: v for k, v in value.items() if v or k not in {"records", "instances"}}
    return value


@dataclass(frozen=True, slots=True)
class Share:
    """So many replicas of a revision."""

    revision: Revision
    replicas: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a target is to run under one name.

    Attributes:
        name: of the deployment.
        shares: one revision, or two while one takes the other's place, the new one first. All of
            them answer at the same address.
        labels: of the manifest; put on every object.
        description: of the manifest.
        autoscaling: of the manifest, JSON; None = `shares` says how many.
        strategy: of the manifest, JSON.
    """

    name: str
    shares: tuple[Share, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    autoscaling: Mapping[str, Any] | None = None
    strategy: Mapping[str, Any] = field(default_factory=dict)


class Phase(StrEnum):
    """Of a replica."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"  # it ended, cannot start, or does not answer; it may be tried again
    STOPPING = "stopping"  # answers what it has


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy, as it was seen.

    Attributes:
        name: of the process, container, task or pod.
        revision: number; 0 = nobody knows.
        phase: of it.
        reason: why it is not ready, with the last words of its log where it ended.
        restarts: how often it was started anew.
    """

    name: str
    revision: int
    phase: Phase
    reason: str = ""
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """What a target runs under one name.

    Attributes:
        url: where it answers; "" = nowhere that is known.
        replicas: all of them, those that end included.
        changed: what somebody else changed since it was applied, one line each.
        reason: why nothing can start at all (quota, an image that is not there).
        settled: it is what was last applied; a target that rolls by itself has done so.
    """

    url: str
    replicas: tuple[Replica, ...] = ()
    changed: tuple[str, ...] = ()
    reason: str = ""
    settled: bool = True

    def ready(self, revision: int) -> int:
        """Replicas of a revision that answer."""
        return sum(r.revision == revision and r.phase is Phase.READY for r in self.replicas)


@dataclass(frozen=True, slots=True)
class Rendered:
    """One native object, as a file that can be kept in git.

    Attributes:
        path: relative; `deployment.yaml`.
        text: of the file.
    """

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class WantedRoute:
    """Which deployments of one target answer a host and path.

    Attributes:
        name: of the route.
        spec: of the manifest, every default written out, JSON values.
        ports: deployment -> port, for every one that the spec names.
        labels: of the manifest.
        description: of the manifest.
    """

    name: str
    spec: Mapping[str, Any]
    ports: Mapping[str, int]
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class ObservedRoute:
    """A route as a target has it.

    Attributes:
        accepted: traffic goes by it.
        reason: why it does not.
        changed: what somebody else changed since it was applied, one line each.
    """

    accepted: bool
    reason: str = ""
    changed: tuple[str, ...] = ()
