"""One deployment on a target under test, driven as the reconciler does it. See `targets`."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from modelworks.core.deployment import Observed, Revision, Share, Wanted
from modelworks.core.seams import OpenTarget, Target
from modelworks.core.served import ServedModel
from modelworks.deploy.rolling import failure, next_step
from modelworks.testing.target_fields import spec_of
from modelworks.testing.target_traffic import Traffic, call

LOOK_S: Final = 0.1
"""Between two looks at what runs."""
_SETTLED_S: Final = 120.0


def _nowhere() -> None:
    """Stay in the network that the test is in."""


@dataclass(frozen=True)
class TargetCase:
    """What a target's test provides. Names that its tests give begin with `mw-`.

    Attributes:
        kind: under test.
        settings: of it.
        folder: for what it keeps; each `TargetCase` has its own.
        port: that nobody listens on, and where replicas may.
        second_port: another one.
        revise: makes a revision of a deployment's name, a number, a model and a spec: builds an
            image where one is needed.
        leftovers: what is still there of a deployment, for people; empty = nothing.
        disturb: changes what runs under a name behind our back, so that it is not as applied.
        enter: called first in every thread that connects, to join the network of the place.
        common: what every manifest has to say there.
        certificate: a chain and its key, as PEM files, for TLS; None = it takes no secrets of
            files.
    """

    kind: type[Target]
    settings: Mapping[str, str]
    folder: Path
    port: int
    second_port: int
    revise: Callable[[str, int, ServedModel, Mapping[str, Any]], Revision]
    leftovers: Callable[[str], Sequence[str]]
    disturb: Callable[[str], None]
    enter: Callable[[], None] = _nowhere
    common: Mapping[str, Any] = field(default_factory=dict)
    certificate: tuple[Path, Path] | None = None

    def spec(self, said: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A spec that starts quickly and takes little."""
        quick = {
            "access": {"port": self.port},
            "resources": {"cpu": 0.25, "memory": "512Mi"},
            "probes": {"period_s": 1, "startup_timeout_s": 60},
            "strategy": {"drain_s": 10, "ready_timeout_s": 90},
        }
        return spec_of(self.kind.name, {**quick, **self.common, **(said or {})})


class Life:
    """A deployment that is driven as the reconciler does it.

    Args:
        case: where.
        name: of the deployment.
        models: by version.
    """

    def __init__(self, case: TargetCase, name: str, models: Mapping[int, ServedModel]) -> None:
        self.case = case
        self.name = name
        self.models = models
        self.known: dict[int, Revision] = {}
        self.fewest = 0

    @cached_property
    def opened(self) -> OpenTarget:
        """The place."""
        return self.case.kind().open(self.case.settings, self.case.folder)

    def goal(
        self, number: int, version: int, replicas: int = 1, said: Mapping[str, Any] | None = None
    ) -> Wanted:
        """So many replicas of a revision, which is made if it is new."""
        if number not in self.known:
            model, spec = self.models[version], self.case.spec(said)
            self.known[number] = self.case.revise(self.name, number, model, spec)
        revision = self.known[number]
        return Wanted(
            self.name,
            (Share(revision, replicas),),
            labels={"example.com/suite": "targets"},
            strategy=revision.spec["strategy"],
        )

    def observe(self) -> Observed:
        """What runs now."""
        seen = self.opened.observe(self.name)
        assert seen is not None
        return seen

    def settle(self, goal: Wanted) -> Observed:
        """Step by step until it is as wanted; `fewest` = replicas that answered at any time."""
        told = self._drive(goal)
        assert told == "", told
        return self.observe()

    def fail(self, goal: Wanted) -> str:
        """The same with what cannot become ready; why not."""
        told = self._drive(goal)
        assert told, "it became ready"
        return told

    def call(self) -> float:
        """Factor of the model that answers."""
        return call(self.observe().url, self.models[1].name, self.case.enter)

    def traffic(self) -> Traffic:
        """Clients of it."""
        return Traffic(self.observe().url, self.models[1].name, self.case.enter)

    def _drive(self, goal: Wanted) -> str:
        rolls = self.case.kind.rolls
        began = time.monotonic()
        asked: Wanted | None = None
        self.fewest = sys.maxsize
        while True:
            seen = self.opened.observe(self.name)
            step = next_step(goal, seen, self.known, rolls=rolls)
            answering = sum(seen.ready(number) for number in self.known) if seen else 0
            self.fewest = min(self.fewest, answering)
            # A target that rolls by itself is as before until it was asked.
            if step.done and (asked is not None or not rolls):
                return ""
            seconds = time.monotonic() - began
            if why := failure(goal, seen, seconds):
                return why
            assert seconds < _SETTLED_S, (step.waiting, seen)
            if asked != step.wanted or (seen is not None and seen.changed):
                asked = step.wanted
                self.opened.apply(asked)
            time.sleep(LOOK_S)
