"""The shares of a roll-out as a route carries them. Pure; whoever writes routes calls it."""

from collections.abc import Sequence
from dataclasses import replace

from modelworks.control.rollouts.kept import Kept
from modelworks.core.rollouts import Phase
from modelworks.core.routes import Route, Shadow, Span
from modelworks.protocol.routes import spans


def shadows(kept: Kept, *, compare: bool) -> tuple[Shadow, ...]:
    """Copies for the candidates, in a step that gives them no traffic of their own.

    Args:
        kept: the roll-out.
        compare: whether answers are kept side by side by whoever carries the route.
    """
    rollout = kept.rollout
    copied = rollout.phase is Phase.RUNNING and not rollout.plan.steps[rollout.step].share
    return tuple(Shadow(name, compare=compare) for name in rollout.plan.candidates if copied)


def carried(route: Route, kept: Kept, before: Sequence[Span] = ()) -> Route:
    """A route with the shares of the roll-out that has it to itself.

    Callers fall anew by the roll-out's own salt: nobody is moved by that, for it begins and ends
    with all of the traffic at one arm.

    Args:
        route: as its manifest wants it; the roll-out's arms are among its arms.
        kept: the roll-out.
        before: the route's spans as they stood, from which as few callers as can be are moved.
    """
    plan, asked = kept.rollout.plan, kept.asked
    shares = {arm.name: kept.shares.get(arm.name, 0.0) for arm in route.arms}
    known = {arm.name for arm in route.arms}
    held = before if all(span.arm in known for span in before) else ()
    copied = shadows(kept, compare=True)
    own = tuple(one for one in route.shadows if one.arm not in {two.arm for two in copied})
    return replace(
        route,
        spans=spans(held, shares),
        salt=plan.name,
        override=route.override or asked.override,
        shadows=(*own, *copied),
        fallback=plan.stable,
    )
