"""All SQL of kept looks, in the caller's transaction; none commits."""

from sqlalchemy import delete, select

from modelworks.control.rollouts.report.looks import Look, due, seen, too_many
from modelworks.core import codec
from modelworks.core.rollouts import Evidence, Outcome, Rollout, Verdict
from modelworks.db.session import TenantSession
from modelworks.db.tables import RolloutLookRow


def keep(
    session: TenantSession, rollout: Rollout, verdict: Verdict, evidence: Evidence, now_ns: int
) -> None:
    """Keep a look, where it is time for one or where something comes of it.

    Args:
        session: in a transaction.
        rollout: as it stood before the look.
        verdict: of it.
        evidence: that it judged.
        now_ns: UTC.
    """
    name = rollout.plan.name
    wanted = select(RolloutLookRow.number, RolloutLookRow.at_ns)
    mine = RolloutLookRow.rollout == name
    newest = wanted.where(mine).order_by(RolloutLookRow.number.desc()).limit(1)
    last = session.execute(newest).first()
    number, at_ns = (0, 0) if last is None else (last[0], last[1])
    if verdict.outcome is Outcome.HOLD and not due(rollout.step_ns, at_ns, now_ns):
        return
    document = codec.encode(seen(rollout, verdict, evidence, now_ns))
    at = document.pop("at_ns")
    row = RolloutLookRow(rollout=name, number=number + 1, at_ns=at, document=document)
    session.add(row)
    session.flush()
    known = select(RolloutLookRow.number).where(mine).order_by(RolloutLookRow.number)
    gone = too_many(list(session.scalars(known)))
    if gone:
        session.execute(delete(RolloutLookRow).where(mine, RolloutLookRow.number.in_(gone)))


def looks(session: TenantSession, name: str) -> list[Look]:
    """Those of one roll-out, oldest first."""
    wanted = select(RolloutLookRow).where(RolloutLookRow.rollout == name)
    return [
        codec.decode(Look, {**row.document, "at_ns": row.at_ns}, f"rollout '{name}'")
        for row in session.scalars(wanted.order_by(RolloutLookRow.number))
    ]
