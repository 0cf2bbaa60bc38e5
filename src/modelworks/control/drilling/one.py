"""One fault: the roll-out is started, callers ask, and the rollback is waited for."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import urllib3

from modelworks.control.drilling.place import Place
from modelworks.control.drilling.pool import Row
from modelworks.control.drilling.traffic import Callers, Load, Seen, calling
from modelworks.control.exposition import values
from modelworks.control.records.intake import MOST, Told
from modelworks.control.rollouts.kept import DONE, Kept
from modelworks.core.errors import ConflictError, CrashedError
from modelworks.core.rollouts import Phase, Plan, Rollout
from modelworks.rollout.drill import Drill, judged
from modelworks.rollout.drilled import Result

Say = Callable[[str], None]
LOOK_S: Final = 3.0
"""Until a look and a change of the routes have come: counters are read every second, servers look
for new routes four times a second, and one look may come while the machine is busy."""
TRUTH_S: Final = 60.0
"""Until truth is looked at: what is recorded is written out for ten seconds and moved every thirty,
and joined every fifteen."""
_COPIES: Final = "modelworks_route_copies_total"
_POLL_S: Final = 0.2
_TELL_S: Final = 5.0
_PATIENCE: Final = 2.0
"""So many times the requests that are allowed are waited for, so that a drill can say how late."""
_BEGIN_S: Final = 120.0
_SETTLE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is put in.

    Attributes:
        drill: that it makes.
        version: of the broken candidate.
        spoilt: digests of the rows that are broken.
        share: of the requests (in the slice) that they are.
        inside: which rows lie in the slice.
        late: its metric is known from records: the truth has to come, or copies to be compared.
    """

    drill: Drill
    version: str
    spoilt: frozenset[str]
    share: float
    inside: Sequence[bool]
    late: bool


@dataclass(frozen=True, slots=True)
class Asking:
    """What is the same for all faults of a drill.

    Attributes:
        model: name.
        rows: that callers send.
        truths: what is right of each; None = it cannot be told.
        rate: requests a second.
        most_s: the longest that one fault may take.
    """

    model: str
    rows: Sequence[Row]
    truths: Sequence[Any]
    rate: float
    most_s: float


def allowed(plan: Plan, fault: Fault, rate: float) -> int:
    """Requests of the candidate that are allowed: the rules' own, and those on the way."""
    share = plan.steps[0].share / len(plan.candidates) or 1.0  # copies: of all
    part = sum(fault.inside) / max(1, len(fault.inside))
    late = LOOK_S + (TRUTH_S if fault.late else 0.0)
    return fault.drill.within + math.ceil(rate * share * part * late)


def put_in(place: Place, plan: Plan, fault: Fault, asking: Asking, say: Say) -> Result:
    """Carry out one drill.

    Args:
        place: where.
        plan: with the broken version as its candidate.
        fault: what is broken.
        asking: how it is asked.
        say: told how it goes.

    Raises:
        CrashedError: the drill's own installation ended, or the candidate was never loaded.
    """
    verbs = place.verbs.rollouts
    most = allowed(plan, fault, asking.rate)
    load = Load(
        f"{place.server}/v2/models/{asking.model}/infer",
        asking.rows,
        fault.inside,
        fault.spoilt if fault.drill.fault == "failing" else frozenset(),
        asking.rate,
        fault.version,
    )
    verbs.start(plan)
    _until(place, "the candidate was not loaded", _BEGIN_S, lambda: _begun(verbs.get(plan.name)))
    with calling(load) as callers:
        kept, seconds, seen = _watch(place, plan, fault, asking, callers, most, say)
    if not kept.ended_ns:
        try:
            kept = verbs.abort(plan.name, "the drill is over")
        except ConflictError:
            kept = verbs.get(plan.name)
    _until(place, "the roll-out was not settled", _SETTLE_S, lambda: verbs.get(plan.name).settled)
    return result(kept, fault, seen, most, seconds)


def _watch(
    place: Place,
    plan: Plan,
    fault: Fault,
    asking: Asking,
    callers: Callers,
    most: int,
    say: Say,
) -> tuple[Kept, float, Seen]:
    """Until it is rolled back, nothing can come of it any more, or time is over."""
    end = time.monotonic() + asking.most_s
    tell_at = say_at = began = 0.0
    total = Seen()
    while True:
        kept = place.verbs.rollouts.get(plan.name)
        seen = callers.seen()
        total = replace(seen, told=[*total.told, *seen.told])
        if not plan.steps[0].share:  # what reached it were copies, which no caller sees
            came = copies(place, fault.version)
            part = sum(fault.inside) / max(1, len(fault.inside))
            total = replace(total, candidate=total.candidate + came)
            total = replace(total, inside=total.inside + round(part * came))
        reached = total.inside
        now = time.monotonic()
        began = began or total.began or (now if total.candidate else 0.0)
        if now >= say_at:
            say(f"{fault.drill.fault}: {reached} requests of the candidate, {most} allowed")
            say_at = now + _TELL_S
        late = reached > _PATIENCE * most or now > end
        if kept.rollout.phase in {*DONE, Phase.INCONCLUSIVE} or late:
            return kept, now - (began or now), total
        if fault.late and now >= tell_at:
            tell(place, asking, total.told)
            total.told.clear()
            tell_at = now + _TELL_S
        if not place.alive():
            raise CrashedError("the drill's own installation ended in the middle of it")
        time.sleep(_POLL_S)


def tell(place: Place, asking: Asking, answered: Sequence[tuple[str, int]]) -> None:
    """Bring the truth of what was answered: what the stable version says is right."""
    lines = [
        Told(asking.model, prediction=ident, truth=asking.truths[row])
        for ident, row in answered
        if asking.truths[row] is not None
    ]
    for start in range(0, len(lines), MOST):
        place.verbs.records.intake.lines(lines[start : start + MOST])
    place.verbs.records.compact()


def copies(place: Place, version: str) -> int:
    """Copies of requests that a version answered or failed, as the server counts them."""
    with urllib3.PoolManager(retries=False) as pool:
        text = pool.request("GET", f"{place.server}/metrics", timeout=10).data.decode()
    found = values(text, {_COPIES})
    return round(
        sum(
            count
            for _, labels, count in found
            if labels.get("arm") == version and labels.get("outcome") != "dropped"
        )
    )


def result(kept: Kept, fault: Fault, seen: Seen, most: int, seconds: float) -> Result:
    """What came of a fault.

    Args:
        kept: the roll-out, over.
        fault: that was put in.
        seen: what callers saw.
        most: requests of the candidate that were allowed.
        seconds: from its first one on.
    """
    drill, rollout = fault.drill, kept.rollout
    found = judged(replace(drill, within=most), rollout.verdict, seen.inside)
    passed, words = found.passed, found.sentence
    if rollout.phase is not Phase.ROLLED_BACK:
        passed = False
        words = f"{found.sentence} in {seconds:.0f} s; {_stood(rollout)}"
    if seen.lost:
        passed = False
        words = f"{words}; {seen.lost} requests were lost that nothing failed ({seen.said})"
    return Result(
        drill.fault.value,
        drill.metric,
        drill.slice,
        fault.share,
        drill.delay_ms,
        drill.expected,
        drill.within,
        most,
        seen.inside,
        seconds,
        seen.asked,
        seen.failed,
        seen.lost,
        passed,
        words,
        rollout.verdict.findings if rollout.verdict else (),
    )


def _stood(rollout: Rollout) -> str:
    """Where it stood when the drill gave up, or how it ended otherwise."""
    if rollout.phase is Phase.ABORTED:
        step = f"step {rollout.step + 1} of {len(rollout.plan.steps)}"
        return f"in {step} it said: {rollout.verdict.sentence if rollout.verdict else 'nothing'}"
    return f"it is {rollout.phase}: {rollout.reason}"


def _begun(kept: Kept) -> bool:
    if kept.ended_ns:
        raise CrashedError(f"the broken candidate got no request: {kept.rollout.reason}")
    return kept.rollout.phase is Phase.RUNNING


def _until(place: Place, what: str, seconds: float, true: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise CrashedError(f"{what} in {seconds:g} s")
        if not place.alive():
            raise CrashedError("the drill's own installation ended in the middle of it")
        time.sleep(_POLL_S)
