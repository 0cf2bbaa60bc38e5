"""Deployments and routes as they were asked for, and who did what."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from modelworks.db.tables.base import Base, TenantRow


class DesiredRow:
    """What a manifest asked for last, and what became of it."""

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    target: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]]
    document: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    generation: Mapped[int] = mapped_column(BigInteger)
    created_ns: Mapped[int] = mapped_column(BigInteger)
    updated_ns: Mapped[int] = mapped_column(BigInteger)


class DeploymentRow(TenantRow, DesiredRow, Base):
    """One deployment; `wanted` and `serving` are numbers of its revisions, 0 = none."""

    __tablename__ = "deployments"

    wanted: Mapped[int]
    serving: Mapped[int]
    since_ns: Mapped[int] = mapped_column(BigInteger)  # when `wanted` was asked for
    machine: Mapped[str]  # from where


class RouteRow(TenantRow, DesiredRow, Base):
    """One route."""

    __tablename__ = "routes"


class RevisionRow(TenantRow, Base):
    """One revision; never changed."""

    __tablename__ = "revisions"

    deployment: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(16))
    spec: Mapped[dict[str, Any]]
    model: Mapped[dict[str, Any]]
    image: Mapped[str] = mapped_column(String(512))
    created_ns: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]

    __table_args__ = (
        ForeignKeyConstraint(["tenant", "deployment"], ["deployments.tenant", "deployments.name"]),
    )


class EventRow(TenantRow, Base):
    """Something that happened to a deployment; the id sorts by time."""

    __tablename__ = "deployment_events"

    deployment: Mapped[str] = mapped_column(String(40), primary_key=True)
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    at_ns: Mapped[int] = mapped_column(BigInteger)
    message: Mapped[str] = mapped_column(Text)


class LockRow(TenantRow, Base):
    """Who changes a deployment (or `route/NAME`) just now; nobody after `until_ns`."""

    __tablename__ = "deployment_locks"

    deployment: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str]
    until_ns: Mapped[int] = mapped_column(BigInteger)


class AuditRow(TenantRow, Base):
    """Who did what. Rows are added and never changed; no key into tables whose rows may go."""

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    at_ns: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]
    act: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]]

    __table_args__ = (Index(None, "tenant", "subject"),)
