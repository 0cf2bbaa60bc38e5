"""All SQL of duties. Functions work inside the caller's transaction and never commit."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from modelworks.control.watching.duty import DutyState
from modelworks.core.errors import CorruptError
from modelworks.db.session import TenantSession
from modelworks.db.tables import DutyRow


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
