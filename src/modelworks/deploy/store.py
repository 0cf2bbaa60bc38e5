"""All SQL of deployments. Functions work inside the caller's transaction and never commit."""

from sqlalchemy import delete, func, select

from modelworks.core import codec
from modelworks.core.deployment import Revision
from modelworks.core.desired import Audited, Desired, DesiredRoute, Event, Kept, State
from modelworks.core.ids import uuid7
from modelworks.core.served import ServedModel
from modelworks.db.session import TenantSession
from modelworks.db.tables import (
    AuditRow,
    DeploymentRow,
    EventRow,
    LockRow,
    RevisionRow,
    RouteRow,
)

EVENTS_KEPT = 200
"""Of one deployment; older ones are forgotten."""


# -- deployments -------------------------------------------------------------------------------


def get(session: TenantSession, name: str) -> Desired | None:
    """One deployment."""
    row = session.get(DeploymentRow, (session.tenant, name))
    return None if row is None else _desired(row)


def every(session: TenantSession) -> list[Desired]:
    """All deployments, by name."""
    rows = session.scalars(select(DeploymentRow).order_by(DeploymentRow.name))
    return [_desired(row) for row in rows]


def put(session: TenantSession, desired: Desired) -> None:
    """Add or replace a deployment's row."""
    row = session.get(DeploymentRow, (session.tenant, desired.name))
    if row is None:
        row = DeploymentRow(name=desired.name, created_ns=desired.created_ns)
        session.add(row)
    row.target, row.settings = desired.target, dict(desired.settings)
    row.document, row.state = dict(desired.document), desired.state.value
    row.message, row.generation = desired.message, desired.generation
    row.wanted, row.serving = desired.wanted, desired.serving
    row.since_ns, row.updated_ns = desired.since_ns, desired.updated_ns
    row.machine = desired.machine
    session.flush()


def remove(session: TenantSession, name: str) -> None:
    """Forget a deployment, its revisions and events; the audit log keeps what was done."""
    session.execute(delete(RevisionRow).where(RevisionRow.deployment == name))
    session.execute(delete(EventRow).where(EventRow.deployment == name))
    session.execute(delete(DeploymentRow).where(DeploymentRow.name == name))


def _desired(row: DeploymentRow) -> Desired:
    return Desired(
        name=row.name,
        target=row.target,
        settings=row.settings,
        document=row.document,
        state=State(row.state),
        message=row.message,
        generation=row.generation,
        wanted=row.wanted,
        serving=row.serving,
        since_ns=row.since_ns,
        machine=row.machine,
        created_ns=row.created_ns,
        updated_ns=row.updated_ns,
    )


# -- routes ------------------------------------------------------------------------------------


def get_route(session: TenantSession, name: str) -> DesiredRoute | None:
    """One route."""
    row = session.get(RouteRow, (session.tenant, name))
    return None if row is None else _route(row)


def every_route(session: TenantSession) -> list[DesiredRoute]:
    """All routes, by name."""
    return [_route(row) for row in session.scalars(select(RouteRow).order_by(RouteRow.name))]


def put_route(session: TenantSession, desired: DesiredRoute) -> None:
    """Add or replace a route's row."""
    row = session.get(RouteRow, (session.tenant, desired.name))
    if row is None:
        row = RouteRow(name=desired.name, created_ns=desired.created_ns)
        session.add(row)
    row.target, row.settings = desired.target, dict(desired.settings)
    row.document, row.state = dict(desired.document), desired.state.value
    row.message, row.generation = desired.message, desired.generation
    row.updated_ns = desired.updated_ns
    session.flush()


def remove_route(session: TenantSession, name: str) -> None:
    """Forget a route."""
    session.execute(delete(RouteRow).where(RouteRow.name == name))


def _route(row: RouteRow) -> DesiredRoute:
    return DesiredRoute(
        name=row.name,
        target=row.target,
        settings=row.settings,
        document=row.document,
        state=State(row.state),
        message=row.message,
        generation=row.generation,
        created_ns=row.created_ns,
        updated_ns=row.updated_ns,
    )


# -- revisions ---------------------------------------------------------------------------------


def revisions(session: TenantSession, deployment: str) -> list[Kept]:
    """Those that are kept, newest first."""
    statement = (
        select(RevisionRow)
        .where(RevisionRow.deployment == deployment)
        .order_by(RevisionRow.number.desc())
    )
    return [_kept(row) for row in session.scalars(statement)]


def revision(session: TenantSession, deployment: str, number: int) -> Kept | None:
    """One revision."""
    row = session.get(RevisionRow, (session.tenant, deployment, number))
    return None if row is None else _kept(row)


def same(session: TenantSession, deployment: str, digest: str) -> Kept | None:
    """The newest revision that runs the same."""
    statement = (
        select(RevisionRow)
        .where(RevisionRow.deployment == deployment, RevisionRow.digest == digest)
        .order_by(RevisionRow.number.desc())
        .limit(1)
    )
    row = session.scalars(statement).first()
    return None if row is None else _kept(row)


def highest(session: TenantSession, deployment: str) -> int:
    """The last number that was given; 0 = none was."""
    statement = select(func.max(RevisionRow.number)).where(RevisionRow.deployment == deployment)
    return session.scalar(statement) or 0


def add_revision(session: TenantSession, kept: Kept) -> None:
    """Keep a revision."""
    revision = kept.revision
    session.add(
        RevisionRow(
            deployment=revision.deployment,
            number=revision.number,
            digest=revision.digest,
            spec=dict(revision.spec),
            model=codec.encode(revision.model),
            image=revision.image,
            created_ns=kept.created_ns,
            actor=kept.actor,
        )
    )
    session.flush()


def forget(session: TenantSession, deployment: str, numbers: list[int]) -> None:
    """Let go of revisions."""
    session.execute(
        delete(RevisionRow).where(
            RevisionRow.deployment == deployment, RevisionRow.number.in_(numbers)
        )
    )


def using(session: TenantSession, model: str) -> list[tuple[str, str, str]]:
    """Deployment, version and variant ("" = none) of every revision of a model that is kept."""
    statement = select(RevisionRow.deployment, RevisionRow.model)
    found = {
        (deployment, str(line["version"]), str(line.get("variant", "")))
        for deployment, line in session.execute(statement)
        if line["name"] == model
    }
    return sorted(found)


def _kept(row: RevisionRow) -> Kept:
    model = codec.decode(ServedModel, row.model)
    revision = Revision(row.deployment, row.number, row.spec, model, row.image)
    return Kept(revision, row.created_ns, row.actor)


# -- events, audit, locks ----------------------------------------------------------------------


def add_event(session: TenantSession, event: Event) -> None:
    """Note what happened; the oldest beyond `EVENTS_KEPT` are forgotten."""
    session.add(
        EventRow(deployment=event.deployment, id=uuid7(), at_ns=event.at_ns, message=event.message)
    )
    session.flush()
    mine = EventRow.deployment == event.deployment
    newest = select(EventRow.id).where(mine).order_by(EventRow.at_ns.desc(), EventRow.id.desc())
    oldest = session.scalars(newest.offset(EVENTS_KEPT)).all()
    if oldest:
        session.execute(delete(EventRow).where(mine, EventRow.id.in_(oldest)))


def events(session: TenantSession, deployment: str, limit: int = EVENTS_KEPT) -> list[Event]:
    """What happened, newest first."""
    statement = (
        select(EventRow)
        .where(EventRow.deployment == deployment)
        .order_by(EventRow.at_ns.desc(), EventRow.id.desc())
        .limit(limit)
    )
    return [Event(row.deployment, row.at_ns, row.message) for row in session.scalars(statement)]


def audit(session: TenantSession, entry: Audited) -> None:
    """Note who did what."""
    session.add(
        AuditRow(
            id=uuid7(),
            at_ns=entry.at_ns,
            actor=entry.actor,
            act=entry.act,
            subject=entry.subject,
            detail=dict(entry.detail),
        )
    )
    session.flush()


def audited(session: TenantSession, subject: str = "", limit: int = 1000) -> list[Audited]:
    """Who did what, newest first; of one subject or of all."""
    statement = select(AuditRow).order_by(AuditRow.at_ns.desc(), AuditRow.id.desc()).limit(limit)
    if subject:
        statement = statement.where(AuditRow.subject == subject)
    return [
        Audited(row.at_ns, row.actor, row.act, row.subject, row.detail)
        for row in session.scalars(statement)
    ]


def lock(session: TenantSession, deployment: str, holder: str, now: int, until: int) -> str:
    """Take a deployment's lock, or keep it longer; whoever else has it, or ""."""
    row = session.get(LockRow, (session.tenant, deployment))
    if row is None:
        session.add(LockRow(deployment=deployment, holder=holder, until_ns=until))
    elif row.holder != holder and row.until_ns > now:
        return row.holder
    else:
        row.holder, row.until_ns = holder, until
    session.flush()
    return ""


def unlock(session: TenantSession, deployment: str, holder: str) -> None:
    """Give it back; quiet for a lock that another has by now."""
    session.execute(
        delete(LockRow).where(LockRow.deployment == deployment, LockRow.holder == holder)
    )
