"""What to ask of a target next, so that a new revision takes over without a gap. Pure.

The old revision is never scaled down first: as many replicas answer at every moment as are wanted,
or as there were. A target that rolls by itself (`rolls`) is asked once, and is then looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from modelworks.core.deployment import Observed, Phase, Replica, Revision, Share, Wanted

CRASHES: Final = 3
"""So often may a replica be started anew before its revision has failed."""
_GONE: Final = Phase.STOPPING


@dataclass(frozen=True, slots=True)
class Step:
    """What a target is to run now.

    Attributes:
        wanted: of it.
        done: what was seen is the goal; nothing has to change any more.
        waiting: for what, for people; "" when done.
    """

    wanted: Wanted
    done: bool
    waiting: str = ""


def next_step(
    goal: Wanted, observed: Observed | None, known: Mapping[int, Revision], *, rolls: bool
) -> Step:
    """Decide.

    Args:
        goal: one share: the revision and how many replicas of it there are to be in the end.
        observed: what was seen; None = nothing runs.
        known: revisions by number, the goal's among them: what else may go on for a while.
        rolls: the target replaces revisions by itself.
    """
    [share] = goal.shares
    number, replicas = share.revision.number, least(goal)
    seen = observed or Observed("")
    ready = seen.ready(number)
    others = [one for one in seen.replicas if one.revision != number and one.phase is not _GONE]
    leaving = [one for one in seen.replicas if one.phase is _GONE]
    complete = ready >= replicas and not others and not leaving and seen.settled
    own = [one for one in seen.replicas if one.revision == number and one.phase is not _GONE]
    exact = goal.autoscaling is not None or len(own) == replicas
    if complete and exact and not seen.changed:
        return Step(goal, done=True)
    if rolls or replicas == 0:
        return Step(goal, done=False, waiting=_waiting(ready, replicas, others, leaving))
    answering = [one for one in others if one.phase is not Phase.FAILED and one.revision in known]
    kept = _kept(answering, len(answering) if ready == 0 else max(0, replicas - ready))
    surge = int(goal.strategy.get("max_surge", 1))
    # A replica that does not answer for a moment is no reason to end another one.
    count = min(replicas, max(len(own), ready + surge)) if answering else replicas
    shares = (
        Share(share.revision, count),
        *(Share(known[one], many) for one, many in kept.items()),
    )
    return Step(
        replace(goal, shares=shares),
        done=False,
        waiting=_waiting(ready, replicas, others, leaving),
    )


def least(goal: Wanted) -> int:
    """Replicas that must answer before the goal is reached."""
    if goal.autoscaling is not None:
        return int(goal.autoscaling["min"])
    return goal.shares[0].replicas


def failure(goal: Wanted, observed: Observed | None, seconds: float) -> str:
    """Why a revision will not become ready; "" = it still may.

    Args:
        goal: as of `next_step`.
        observed: what was seen.
        seconds: since it was first asked for.
    """
    number = goal.shares[0].revision.number
    own = [one for one in (observed.replicas if observed else ()) if one.revision == number]
    crashed = [one for one in own if one.phase is Phase.FAILED and one.restarts >= CRASHES]
    if crashed:
        worst = crashed[0]
        return f"{worst.name} was started {worst.restarts + 1} times and ended: {worst.reason}"
    limit = float(goal.strategy.get("ready_timeout_s", 300))
    if seconds <= limit:
        return ""
    reasons = [observed.reason] if observed and observed.reason else []
    reasons += [f"{one.name} is {one.phase}: {one.reason}" for one in own if one.reason]
    why = "; ".join(dict.fromkeys(reasons)) or "its replicas do not say why"
    return f"it was not ready after {limit:g} s: {why}"


def _kept(others: list[Replica], count: int) -> dict[int, int]:
    """Revision -> replicas of it that go on; those that answer, and of them the newest, first."""
    order = sorted(others, key=lambda one: (one.phase is not Phase.READY, -one.revision))
    kept: dict[int, int] = {}
    for one in order[:count]:
        kept[one.revision] = kept.get(one.revision, 0) + 1
    return kept


def _waiting(ready: int, replicas: int, others: list[Replica], leaving: list[Replica]) -> str:
    if ready < replicas:
        return f"{ready} of {replicas} ready"
    if others or leaving:
        count = len(others) + len(leaving)
        return f"{count} of earlier revisions or too many are to end"
    return "what was changed from outside is put right"
