"""The shares of a roll-out as a route carries them. Pure; whoever writes routes calls it."""

from collections.abc import Sequence
from dataclasses import replace

from modelworks.control.rollouts.kept import Kept, copied
from modelworks.core.routes import Route, Shadow, Span
from modelworks.protocol.routes import spans


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
    copies = copied(kept)
    own = tuple(one for one in route.shadows if one.arm not in copies)
    return replace(
        route,
        spans=spans(held, shares),
        salt=plan.name,
        override=route.override or asked.override,
        shadows=(*own, *(Shadow(name) for name in copies)),
        fallback=plan.stable,
    )
