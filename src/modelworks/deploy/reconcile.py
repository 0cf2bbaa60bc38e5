"""Drives one deployment on its target until it is as it was asked for, or cannot be.

Everything is read anew at every step, so that whoever is killed in the middle is followed by
another one who goes on from what there is.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from modelworks.core.deployment import Observed, Revision, Share, Wanted
from modelworks.core.desired import Desired, State, replicas_of
from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.seams import OpenTarget
from modelworks.deploy.rolling import Step, failure, next_step

_log = logging.getLogger(__name__)
_FIRST_S: Final = 0.1
_LONGEST_S: Final = 1.0
_ENDING_S: Final = 60.0  # beyond its drain, for what is to end


class Clock(Protocol):
    """Time that tests can bend."""

    def now(self) -> float:
        """Seconds that only grow."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class RealClock:
    """Of this machine."""

    def now(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended.

    Attributes:
        reason: why it is not as it was asked for; "" = it is.
        superseded: something else is asked for by now.
    """

    reason: str = ""
    superseded: bool = False


def goal_of(desired: Desired, known: Mapping[int, Revision]) -> Wanted:
    """What a target is to run in the end; of a roll-out that failed what served before it.

    Raises:
        InvalidError: the revision is not kept any more.
    """
    failed = desired.state is State.FAILED and desired.serving
    number = desired.serving if failed else desired.wanted
    if number not in known:
        raise InvalidError(f"deployment '{desired.name}': revision {number} is not kept any more")
    return wanted(desired.document, known[number])


def wanted(document: Mapping[str, Any], revision: Revision) -> Wanted:
    """What a target is to run in the end for a document, in this revision."""
    metadata, spec = document["metadata"], document["spec"]
    return Wanted(
        metadata["name"],
        (Share(revision, replicas_of(spec)),),
        metadata["labels"],
        metadata["description"],
        spec["autoscaling"],
        spec["strategy"],
    )


class Roll:
    """One attempt.

    Args:
        target: open.
        rolls: it replaces revisions by itself.
        goal: one share.
        known: revisions by number.
        going: called at every step; False = something else is asked for by now. Keeps the lock.
        say: gets what is waited for.
        clock: time.
    """

    def __init__(
        self,
        target: OpenTarget,
        goal: Wanted,
        known: Mapping[int, Revision],
        *,
        rolls: bool,
        going: Callable[[], bool] = lambda: True,
        say: Callable[[str], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        self._target = target
        self._goal = goal
        self._known = known
        self._rolls = rolls
        self._going = going
        self._say = say
        self._clock = clock or RealClock()

    def run(self) -> Outcome:
        """Until it is so, fails, or is asked otherwise; bounded by the strategy's deadlines."""
        began = self._clock.now()
        applied: Wanted | None = None
        wait = _FIRST_S
        while True:
            if not self._going():
                return Outcome(superseded=True)
            try:
                observed = self._target.observe(self._goal.name)
                step = self._next(observed)
                # Once is always applied: what is as it should be is not touched.
                if step.done and applied is not None:
                    return Outcome()
                seconds = self._clock.now() - began
                if why := failure(self._goal, observed, seconds) or self._late(seconds):
                    return Outcome(why)
                if step.wanted != applied or (observed and observed.changed):
                    self._target.apply(step.wanted)
                    applied, wait = step.wanted, _FIRST_S
                self._say(step.waiting)
            except UnavailableError as error:
                if why := self._late(self._clock.now() - began):
                    return Outcome(f"{why}: {error.message}")
                self._say(error.message)
            except ModelworksError as error:
                return Outcome(error.message)
            self._clock.sleep(wait)
            wait = min(_LONGEST_S, wait * 1.5)

    def back_to(self, revision: Revision) -> Outcome:
        """Let an earlier revision have all of it again."""
        [share] = self._goal.shares
        goal = replace(self._goal, shares=(Share(revision, share.replicas),))
        return Roll(
            self._target,
            goal,
            self._known,
            rolls=self._rolls,
            going=self._going,
            say=self._say,
            clock=self._clock,
        ).run()

    def _next(self, observed: Observed | None) -> Step:
        return next_step(self._goal, observed, self._known, rolls=self._rolls)

    def _late(self, seconds: float) -> str:
        strategy = self._goal.strategy
        limit = float(strategy.get("ready_timeout_s", 300)) + float(strategy.get("drain_s", 30))
        if seconds <= limit + _ENDING_S:
            return ""
        return f"it was not as asked for after {seconds:.0f} s"


def look(target: OpenTarget, goal: Wanted, known: Mapping[int, Revision], *, rolls: bool) -> str:
    """What is not as it was asked for, and put it right in one step; "" = all is well.

    Raises:
        ModelworksError: the target does not answer, or does not take it.
    """
    observed = target.observe(goal.name)
    step = next_step(goal, observed, known, rolls=rolls)
    if step.done:
        return ""
    target.apply(step.wanted)
    changed = "; ".join(observed.changed) if observed else ""
    if changed:
        return f"changed from outside, put right: {changed}"
    return step.waiting
