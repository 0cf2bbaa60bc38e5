"""All SQL of roll-outs, in the caller's transaction; none commits."""

from sqlalchemy import func, or_, select

from modelworks.control.rollouts.kept import HOLDING, Event, Kept
from modelworks.core import codec
from modelworks.db.session import TenantSession
from modelworks.db.tables import RolloutEventRow, RolloutRow

EVENTS = 1000
"""Of one roll-out that are kept."""


def every(session: TenantSession, phases: frozenset[str] = frozenset()) -> list[Kept]:
    """Roll-outs, the newest first; of some phases only."""
    wanted = select(RolloutRow).order_by(RolloutRow.updated_ns.desc(), RolloutRow.name)
    if phases:
        wanted = wanted.where(RolloutRow.phase.in_(sorted(phases)))
    return [_kept(row) for row in session.scalars(wanted)]


def unsettled(session: TenantSession) -> list[Kept]:
    """Roll-outs that something is still to be done for, the newest first.

    They are asked for every second: what is over is not read.
    """
    over = RolloutRow.document["settled"].as_boolean()
    wanted = (
        select(RolloutRow)
        .where(or_(RolloutRow.phase.in_(sorted(HOLDING)), over.is_(False)))
        .order_by(RolloutRow.updated_ns.desc(), RolloutRow.name)
    )
    return [one for one in map(_kept, session.scalars(wanted)) if not one.settled]


def page(
    session: TenantSession, after: str, limit: int, route: str = "", phase: str = ""
) -> list[Kept]:
    """Some, by name.

    Args:
        session: of a tenant.
        after: names that come after it; empty = from the first.
        limit: at most so many.
        route: of this one only; empty = of all.
        phase: in this one only; empty = in all.
    """
    wanted = select(RolloutRow).where(RolloutRow.name > after).order_by(RolloutRow.name)
    if route:
        wanted = wanted.where(RolloutRow.route == route)
    if phase:
        wanted = wanted.where(RolloutRow.phase == phase)
    return [_kept(row) for row in session.scalars(wanted.limit(limit))]


def get(session: TenantSession, name: str) -> Kept | None:
    """One."""
    row = session.get(RolloutRow, (session.tenant, name))
    return None if row is None else _kept(row)


def put(session: TenantSession, kept: Kept, now_ns: int) -> None:
    """Keep one in place of what was there."""
    plan = kept.rollout.plan
    row = session.get(RolloutRow, (session.tenant, plan.name))
    if row is None:
        row = RolloutRow(name=plan.name)
        session.add(row)
    row.route = plan.route
    row.phase = str(kept.rollout.phase)
    row.document = codec.encode(kept)
    row.updated_ns = now_ns
    session.flush()


def note(session: TenantSession, event: Event) -> None:
    """Keep an event under the next number; the oldest ones go."""
    last = session.scalar(
        select(func.max(RolloutEventRow.number)).where(RolloutEventRow.rollout == event.rollout)
    )
    number = (last or 0) + 1
    document = codec.encode(event)
    for name in ("rollout", "number", "at_ns", "phase", "actor"):
        del document[name]
    session.add(
        RolloutEventRow(
            rollout=event.rollout,
            number=number,
            at_ns=event.at_ns,
            phase=str(event.phase),
            actor=event.actor,
            document=document,
        )
    )
    old = session.get(RolloutEventRow, (session.tenant, event.rollout, number - EVENTS))
    if old is not None:
        session.delete(old)


def events(session: TenantSession, name: str) -> list[Event]:
    """What happened, oldest first."""
    wanted = (
        select(RolloutEventRow)
        .where(RolloutEventRow.rollout == name)
        .order_by(RolloutEventRow.number)
    )
    return [_event(row) for row in session.scalars(wanted)]


def _kept(row: RolloutRow) -> Kept:
    return codec.decode(Kept, row.document, f"rollout '{row.name}'")


def _event(row: RolloutEventRow) -> Event:
    told = {
        "rollout": row.rollout,
        "number": row.number,
        "at_ns": row.at_ns,
        "phase": row.phase,
        "actor": row.actor,
    }
    return codec.decode(Event, {**row.document, **told}, f"rollout '{row.rollout}'")
