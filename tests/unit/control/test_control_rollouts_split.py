"""The shares of a roll-out on the routes of servers and of gateways."""

from dataclasses import replace

import pytest

from modelworks.control.rollouts.grounds.ground import Among, among
from modelworks.control.rollouts.grounds.split import carried
from modelworks.control.rollouts.kept import Kept
from modelworks.control.rollouts.routes import route_of
from modelworks.core.rollouts import (
    Direction,
    Kind,
    Metric,
    Phase,
    Plan,
    Rollout,
    Step,
    Strategy,
)
from modelworks.core.routes import BUCKETS, Arm, Endpoint, Route, Shadow, Snapshot, Span
from modelworks.protocol.routes import check

pytestmark = pytest.mark.unit
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)


def kept(*shares: float, strategy=Strategy.CANARY, phase=Phase.RUNNING, step=0, **arms) -> Kept:
    named = {"stable": "old", "candidates": ("new",)} | arms
    steps = tuple(Step(share) for share in shares)
    plan = Plan("new-1", "shop", strategy=strategy, steps=steps, primary=ERRORS, **named)
    share = steps[step].share
    given = {plan.stable: 1 - share, plan.candidates[0]: share}
    return Kept(Rollout(plan, phase, step), shares=given)


def route(**more) -> Route:
    arms = tuple(Arm(name, endpoints=(Endpoint(f"http://{name}:1"),)) for name in ("old", "new"))
    return Route("shop", arms, (Span(0, BUCKETS, "old"),), path="/shop", **more)


@pytest.mark.parametrize(
    ("stable", "found"),
    [
        ("1.0.0", Among.VERSIONS),
        ("1.4", Among.VERSIONS),
        ("fraud-3", Among.DEPLOYMENTS),
        ("champion", Among.DEPLOYMENTS),
        ("v1", Among.DEPLOYMENTS),
    ],
)
def test_the_stable_arm_says_what_arms_are(stable, found):
    assert among(kept(0.1, 1.0, stable=stable).rollout.plan) is found


@pytest.mark.parametrize(
    ("of", "copied"),
    [
        (kept(0.0, 1.0), True),
        (kept(0.0, 1.0, strategy=Strategy.BLUE_GREEN), True),
        (kept(0.0, strategy=Strategy.SHADOW), True),
        (kept(0.0, 1.0, step=1), False),
        (kept(0.1, 1.0), False),
        (kept(0.0, 1.0, phase=Phase.WAITING), False),
        (kept(0.0, 1.0, phase=Phase.PAUSED), False),
        (kept(0.0, 1.0, phase=Phase.ROLLED_BACK), False),
    ],
)
def test_copies_are_for_steps_without_traffic(of, copied):
    assert route_of(of, None).shadows == ((Shadow("new", compare=False),) if copied else ())
    made = carried(route(), of)
    assert made.shadows == ((Shadow("new"),) if copied else ())
    check(Snapshot(1, (made,)))


def test_a_route_of_gateways_keeps_what_its_manifest_says():
    own = route(timeout_s=3.0, salt="own", override="x-mine")
    made = carried(own, kept(0.2, 1.0))
    assert (made.path, made.timeout_s, made.override) == ("/shop", 3.0, "x-mine")
    assert made.salt == "new-1"
    assert made.fallback == "old"
    assert [(span.end - span.first, span.arm) for span in made.spans] == [
        (8000, "old"),
        (2000, "new"),
    ]
    check(Snapshot(1, (made,)))


def test_few_callers_are_moved_and_foreign_spans_are_not_gone_by():
    first = carried(route(), kept(0.2, 1.0))
    second = carried(route(), kept(0.3, 1.0), first.spans)
    new = {span.arm: span for span in second.spans}["new"]
    assert (new.first, new.end) == (7000, BUCKETS)
    strange = (Span(0, BUCKETS, "somebody"),)
    assert carried(route(), kept(0.2, 1.0), strange).spans == first.spans


def test_copies_by_the_manifest_stay_but_not_twice():
    arms = (*route().arms, Arm("third"))
    mirrored = replace(route(), arms=arms, shadows=(Shadow("third", 0.5), Shadow("new", 0.1)))
    made = carried(mirrored, kept(0.0, 1.0))
    assert made.shadows == (Shadow("third", 0.5), Shadow("new"))
