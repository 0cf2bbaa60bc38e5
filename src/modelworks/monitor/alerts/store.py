"""All SQL of alerts. Functions work inside the caller's transaction and never commit."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select

from modelworks.core.ids import uuid7
from modelworks.db.session import TenantSession
from modelworks.db.tables import (
    AlertCallRow,
    AlertDocumentRow,
    AlertGroupRow,
    AlertRow,
    AlertSilenceRow,
    AuditRow,
    LockRow,
)
from modelworks.monitor.alerts.kept import (
    Call,
    CallState,
    alert_from_json,
    alert_to_json,
    group_from_json,
    group_to_json,
    held_from_json,
    held_to_json,
)
from modelworks.monitor.alerts.match import Silence, fingerprint
from modelworks.monitor.alerts.step import Held
from modelworks.monitor.alerts.told import Group

LOCK = "alerts/tick"
"""No deployment has such a name, and no duty of the watch."""

# -- documents ---------------------------------------------------------------------------------


def marks(session: TenantSession) -> dict[tuple[str, str], int]:
    """Kind and name of every document, and when it was applied."""
    found = session.execute(
        select(AlertDocumentRow.kind, AlertDocumentRow.name, AlertDocumentRow.updated_ns)
    )
    return {(kind, name): at for kind, name, at in found}


def documents(session: TenantSession) -> list[dict[str, Any]]:
    """Every document, by kind and name."""
    statement = select(AlertDocumentRow).order_by(AlertDocumentRow.kind, AlertDocumentRow.name)
    return [row.document for row in session.scalars(statement)]


def put_document(session: TenantSession, document: Mapping[str, Any], now: int, actor: str) -> bool:
    """Add or replace one; whether it is another than before."""
    kind, name = str(document["kind"]), str(document["metadata"]["name"])
    row = session.get(AlertDocumentRow, (session.tenant, kind, name))
    if row is not None and row.document == document:
        return False
    if row is None:
        row = AlertDocumentRow(kind=kind, name=name)
        session.add(row)
    row.document, row.updated_ns, row.actor = dict(document), now, actor
    session.flush()
    return True


def remove_document(session: TenantSession, kind: str, name: str) -> bool:
    """Forget one; whether it was there."""
    row = session.get(AlertDocumentRow, (session.tenant, kind, name))
    if row is not None:
        session.delete(row)
        session.flush()
    return row is not None


# -- alerts ------------------------------------------------------------------------------------


def held(session: TenantSession) -> list[Held]:
    """Every alert that is known."""
    return [held_from_json(row.document) for row in session.scalars(select(AlertRow))]


def put_held(session: TenantSession, one: Held) -> None:
    """Add or replace an alert; somebody may have acknowledged it meanwhile."""
    name = fingerprint(one.alert)
    document = held_to_json(one)
    row = session.get(AlertRow, (session.tenant, name))
    if row is None:
        row = AlertRow(id=name, rule=one.alert.rule)
        session.add(row)
    elif row.document["alert"]["since_ns"] == one.alert.since_ns and not one.acknowledged_by:
        kept = ("acknowledged_by", "acknowledged_ns", "comment")
        document |= {key: row.document[key] for key in kept}
    row.state, row.document = one.alert.state.value, document
    session.flush()


def acknowledge(session: TenantSession, one: Held) -> None:
    """Replace an alert by itself, acknowledged."""
    row = session.get(AlertRow, (session.tenant, fingerprint(one.alert)))
    if row is not None:
        row.document = held_to_json(one)
        session.flush()


def forget(session: TenantSession, ids: Iterable[str]) -> None:
    """Let go of alerts."""
    for name in ids:
        session.execute(delete(AlertRow).where(AlertRow.id == name))


# -- who was told ------------------------------------------------------------------------------


def groups(session: TenantSession) -> dict[str, Group]:
    """Every group, by id."""
    found = session.scalars(select(AlertGroupRow))
    return {row.id: group_from_json(row.document) for row in found}


def put_group(session: TenantSession, group: Group) -> None:
    """Add or replace one."""
    row = session.get(AlertGroupRow, (session.tenant, group.id))
    if row is None:
        row = AlertGroupRow(id=group.id)
        session.add(row)
    row.document = group_to_json(group)
    session.flush()


def forget_groups(session: TenantSession, ids: Iterable[str]) -> None:
    """Let go of groups."""
    for name in ids:
        session.execute(delete(AlertGroupRow).where(AlertGroupRow.id == name))


# -- silences ----------------------------------------------------------------------------------


def silences(session: TenantSession) -> list[Silence]:
    """All, the one that ends last first."""
    rows = session.scalars(select(AlertSilenceRow).order_by(AlertSilenceRow.until_ns.desc()))
    return [
        Silence(row.id, row.match, row.since_ns, row.until_ns, row.author, row.comment)
        for row in rows
    ]


def put_silence(session: TenantSession, silence: Silence) -> None:
    """Add or replace one."""
    row = session.get(AlertSilenceRow, (session.tenant, silence.id))
    if row is None:
        row = AlertSilenceRow(id=silence.id)
        session.add(row)
    row.match, row.since_ns, row.until_ns = (
        dict(silence.match),
        silence.since_ns,
        silence.until_ns,
    )
    row.author, row.comment = silence.author, silence.comment
    session.flush()


def forget_silences(session: TenantSession, before: int) -> None:
    """Let go of those that ended earlier."""
    session.execute(delete(AlertSilenceRow).where(AlertSilenceRow.until_ns < before))


# -- actions -----------------------------------------------------------------------------------


def add_call(session: TenantSession, call: Call) -> None:
    """Note a call; one that is there already stays as it is."""
    if session.get(AlertCallRow, (session.tenant, call.id)) is None:
        session.add(AlertCallRow(id=call.id, action=call.action, **_call(call)))
        session.flush()


def put_call(session: TenantSession, call: Call) -> None:
    """Replace one."""
    row = session.get(AlertCallRow, (session.tenant, call.id))
    if row is not None:
        for name, value in _call(call).items():
            setattr(row, name, value)
        session.flush()


def calls(session: TenantSession, *, due: int | None = None) -> list[Call]:
    """The newest thousand, or those that are due at a time."""
    statement = select(AlertCallRow).order_by(AlertCallRow.next_ns.desc()).limit(1000)
    if due is not None:
        statement = statement.where(
            AlertCallRow.state == CallState.DUE.value, AlertCallRow.next_ns <= due
        )
    return [
        Call(
            row.id,
            row.action,
            CallState(row.state),
            row.attempts,
            row.next_ns,
            row.message,
            alert_from_json(row.alert),
        )
        for row in session.scalars(statement)
    ]


def forget_calls(session: TenantSession, before: int) -> None:
    """Let go of those that are over, and older."""
    session.execute(
        delete(AlertCallRow).where(
            AlertCallRow.state != CallState.DUE.value, AlertCallRow.next_ns < before
        )
    )


def _call(call: Call) -> dict[str, Any]:
    return {
        "state": call.state.value,
        "attempts": call.attempts,
        "next_ns": call.next_ns,
        "message": call.message,
        "alert": alert_to_json(call.alert),
    }


# -- audit, lock -------------------------------------------------------------------------------


def audit(
    session: TenantSession, now: int, actor: str, act: str, subject: str, detail: Mapping[str, Any]
) -> None:
    """Note who did what."""
    session.add(
        AuditRow(
            id=uuid7(), at_ns=now, actor=actor, act=act, subject=subject[:255], detail=dict(detail)
        )
    )
    session.flush()


def lock(session: TenantSession, holder: str, now: int, until: int) -> bool:
    """Be the only one who evaluates; whether nobody else is."""
    row = session.get(LockRow, (session.tenant, LOCK))
    if row is None:
        session.add(LockRow(deployment=LOCK, holder=holder, until_ns=until))
    elif row.holder != holder and row.until_ns > now:
        return False
    else:
        row.holder, row.until_ns = holder, until
    session.flush()
    return True


def unlock(session: TenantSession, holder: str) -> None:
    """Give it back; quiet for a lock that another has by now."""
    session.execute(delete(LockRow).where(LockRow.deployment == LOCK, LockRow.holder == holder))
