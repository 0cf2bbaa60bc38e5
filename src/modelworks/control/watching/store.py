"""All SQL of duties, references and plans of quality, in the caller's transaction; none commits."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from modelworks.control.watching.duty import DutyState
from modelworks.core.errors import CorruptError
from modelworks.core.semver import Semver
from modelworks.db.session import TenantSession
from modelworks.db.tables import DutyRow, QualityPlanRow, ReferenceRow


@dataclass(frozen=True, slots=True)
class KeptReference:
    """Which reference a version has.

    Attributes:
        model: name.
        version: of it.
        digest: of the file.
        size: bytes.
        created_ns: when it was set, UTC.
        actor: by whom.
    """

    model: str
    version: str
    digest: str
    size: int
    created_ns: int
    actor: str


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """What is asked of a model's quality.

    Attributes:
        model: name.
        document: `monitor.quality.asked.Asked` as JSON.
        updated_ns: when it was set, UTC.
        actor: by whom.
    """

    model: str
    document: Mapping[str, Any]
    updated_ns: int
    actor: str


# -- duties ------------------------------------------------------------------------------------


def get(session: TenantSession, name: str) -> tuple[DutyState, dict[str, Any]]:
    """How a duty does, and what its last good run left.

    Raises:
        CorruptError: that cannot be read.
    """
    row = session.get(DutyRow, (session.tenant, name))
    if row is None:
        return DutyState(name), {}
    try:
        found = json.loads(zlib.decompress(row.state)) if row.state else {}
    except (zlib.error, ValueError) as error:
        raise CorruptError(f"the state of duty '{name}' cannot be read: {error}") from error
    return _state(row), found


def every(session: TenantSession) -> list[DutyState]:
    """All duties, by name."""
    return [_state(row) for row in session.scalars(select(DutyRow).order_by(DutyRow.name))]


def put(session: TenantSession, state: DutyState, left: Mapping[str, Any] | None) -> None:
    """Add or replace a duty's row.

    Args:
        session: of the tenant.
        state: of the duty.
        left: for the next run; None = what there is stays.
    """
    row = session.get(DutyRow, (session.tenant, state.name))
    if row is None:
        row = DutyRow(name=state.name, state=b"")
        session.add(row)
    row.ran_ns, row.took_ns = state.ran_ns, state.took_ns
    row.failures, row.error = state.failures, state.error[:2000]
    if left is not None:
        text = json.dumps(left, ensure_ascii=False, separators=(",", ":"))
        row.state = zlib.compress(text.encode()) if left else b""
    session.flush()


def _state(row: DutyRow) -> DutyState:
    return DutyState(row.name, row.ran_ns, row.took_ns, row.failures, row.error)


# -- references --------------------------------------------------------------------------------


def reference(session: TenantSession, model: str, version: Semver) -> bytes | None:
    """The file of a version; None = it has none."""
    row = session.get(ReferenceRow, _key(session, model, version))
    return None if row is None else row.body


def references(session: TenantSession) -> list[KeptReference]:
    """Those of all versions, without their content."""
    row = ReferenceRow
    columns = (row.model, row.major, row.minor, row.patch, row.digest, row.created_ns, row.actor)
    statement = select(*columns, func.length(row.body)).order_by(*columns[:4])
    return [
        KeptReference(model, f"{major}.{minor}.{patch}", digest, size, created, actor)
        for model, major, minor, patch, digest, created, actor, size in session.execute(statement)
    ]


def put_reference(session: TenantSession, kept: KeptReference, body: bytes) -> None:
    """Give a version a reference, in place of another."""
    number = Semver.parse(kept.version)
    row = session.get(ReferenceRow, _key(session, kept.model, number))
    if row is None:
        row = ReferenceRow(
            model=kept.model, major=number.major, minor=number.minor, patch=number.patch
        )
        session.add(row)
    row.digest, row.body = kept.digest, body
    row.created_ns, row.actor = kept.created_ns, kept.actor
    session.flush()


def remove_reference(session: TenantSession, model: str, version: Semver) -> bool:
    """Take it away; whether there was one."""
    row = session.get(ReferenceRow, _key(session, model, version))
    if row is not None:
        session.delete(row)
        session.flush()
    return row is not None


# -- plans of quality --------------------------------------------------------------------------


def plan(session: TenantSession, model: str) -> KeptPlan | None:
    """That of one model; None = nothing is asked of it."""
    row = session.get(QualityPlanRow, (session.tenant, model))
    return None if row is None else _plan(row)


def plans(session: TenantSession) -> list[KeptPlan]:
    """All, by model."""
    return [_plan(row) for row in session.scalars(select(QualityPlanRow).order_by("model"))]


def put_plan(session: TenantSession, kept: KeptPlan) -> None:
    """Give a model a plan, in place of another."""
    row = session.get(QualityPlanRow, (session.tenant, kept.model))
    if row is None:
        row = QualityPlanRow(model=kept.model)
        session.add(row)
    row.document = dict(kept.document)
    row.updated_ns, row.actor = kept.updated_ns, kept.actor
    session.flush()


def remove_plan(session: TenantSession, model: str) -> bool:
    """Take it away; whether there was one."""
    row = session.get(QualityPlanRow, (session.tenant, model))
    if row is not None:
        session.delete(row)
        session.flush()
    return row is not None


def _plan(row: QualityPlanRow) -> KeptPlan:
    return KeptPlan(row.model, row.document, row.updated_ns, row.actor)


def _key(session: TenantSession, model: str, version: Semver) -> dict[str, Any]:
    return {
        "tenant": session.tenant,
        "model": model,
        "major": version.major,
        "minor": version.minor,
        "patch": version.patch,
    }
