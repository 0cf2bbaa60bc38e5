"""The snapshot of routes that the model server of `up` goes by: one route a roll-out."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from modelworks.control.rollouts.kept import Kept, copied
from modelworks.core import codec
from modelworks.core.errors import CorruptError, ModelworksError
from modelworks.core.files import replace_text
from modelworks.core.routes import Arm, Route, Shadow, Snapshot, Sticky
from modelworks.protocol.routes import spans

FILE: Final = "routes.json"
"""Beside the list of what is served."""


def route_of(kept: Kept, before: Route | None) -> Route:
    """The route of a roll-out, moving as few callers as can be.

    Args:
        kept: the roll-out.
        before: as it was; None = it is new.
    """
    plan, asked = kept.rollout.plan, kept.asked
    arms = tuple(Arm(name, plan.route, name) for name in (plan.stable, *plan.candidates))
    shares = {arm.name: kept.shares.get(arm.name, 0.0) for arm in arms}
    held = before.spans if before is not None and before.arms == arms else ()
    return Route(
        plan.route,
        arms,
        spans(held, shares),
        model=plan.route,
        salt=plan.name,
        sticky=Sticky(asked.source, asked.key) if asked.source else None,
        override=asked.override,
        shadows=tuple(Shadow(name, compare=False) for name in copied(kept)),
        fallback=plan.stable,
    )


def read(path: Path) -> Snapshot:
    """What the server goes by now.

    Raises:
        CorruptError: the file is damaged.
    """
    try:
        return codec.decode(Snapshot, json.loads(path.read_text()))
    except FileNotFoundError:
        return Snapshot(0)
    except (ValueError, ModelworksError) as error:
        raise CorruptError(f"{path} is no snapshot of routes: {error}") from error


def write(path: Path, rollouts: Iterable[Kept]) -> Snapshot:
    """Put the routes of roll-outs in force by one rename; what is there already stays untouched."""
    before = read(path)
    held = {route.name: route for route in before.routes}
    found = [route_of(one, held.get(one.rollout.plan.route)) for one in rollouts]
    routes = tuple(sorted(found, key=lambda route: route.name))
    if routes == before.routes and path.exists():
        return before
    snapshot = replace(before, generation=before.generation + 1, routes=routes)
    replace_text(path, json.dumps(codec.encode(snapshot)))
    return snapshot
