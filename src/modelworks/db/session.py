"""Sessions that see one tenant. The scope is not an argument that a query could forget.

A statement that is not an ORM statement on tenant rows is refused; every other one is filtered
by the session's tenant, and rows are stamped with it when they are added.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, with_loader_criteria

from modelworks.core.errors import CrashedError
from modelworks.db.tables import TenantRow


class TenantSession(Session):
    """A session whose every statement is about one tenant.

    Args:
        bind: engine or connection.
        tenant: whose rows; never empty.
    """

    def __init__(self, bind: Engine | Connection, tenant: str) -> None:
        super().__init__(bind, expire_on_commit=False)
        if not tenant:
            raise CrashedError("a session without a tenant was asked for")
        self.tenant = tenant


class EveryTenantSession(Session):
    """The one way across tenants: garbage collection of bytes that tenants share."""


@event.listens_for(TenantSession, "do_orm_execute")
def _scope(state: ORMExecuteState) -> None:
    session = state.session
    if not isinstance(session, TenantSession) or not state.is_orm_statement:
        raise CrashedError("only ORM statements on tenant rows go through a tenant's session")
    if not (state.is_select or state.is_update or state.is_delete):
        raise CrashedError("rows are added to a tenant's session with add(), which stamps them")
    tenant = session.tenant
    state.statement = state.statement.options(
        with_loader_criteria(TenantRow, lambda row: row.tenant == tenant, include_aliases=True)
    )


@event.listens_for(TenantSession, "before_flush")
def _stamp(session: Session, _context: UOWTransaction, _instances: Any) -> None:
    if not isinstance(session, TenantSession):
        raise CrashedError("rows are stamped in a tenant's session only")
    for row in session.new:
        if not isinstance(row, TenantRow):
            raise CrashedError(f"{type(row).__name__} carries no tenant")
        if row.tenant not in {None, session.tenant}:
            raise CrashedError(f"a row of tenant '{row.tenant}' in another tenant's session")
        row.tenant = session.tenant
