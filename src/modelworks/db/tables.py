"""The tables. Every row carries its tenant; a row's identity begins with it."""

from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DIGEST = String(71)
"""`sha256:` and 64 hex digits."""


class Base(DeclarativeBase):
    """Root of the mapped rows. Constraints have names, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: String(255),
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class TenantRow:
    """What every row has: the tenant it belongs to. `TenantSession` fills and filters it."""

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True, sort_order=-100)


class ModelRow(TenantRow, Base):
    """A named line of versions."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    created_ns: Mapped[int] = mapped_column(BigInteger)


class ArtifactRow(TenantRow, Base):
    """Immutable bytes that at least one version, or variant of one, refers to."""

    __tablename__ = "artifacts"

    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)


class ArtifactFileRow(TenantRow, Base):
    """One file of an artifact; its blob is kept while the row exists."""

    __tablename__ = "artifact_files"

    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    path: Mapped[str] = mapped_column(String(1024), primary_key=True)
    file_digest: Mapped[str] = mapped_column(DIGEST)

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "digest"], ["artifacts.tenant", "artifacts.digest"], ondelete="CASCADE"
        ),
        Index(None, "file_digest"),
    )


_NUMBER = ("tenant", "model", "major", "minor", "patch")


def _of_version(ondelete: str | None = None) -> ForeignKeyConstraint:
    """A row that belongs to a version."""
    return ForeignKeyConstraint(
        _NUMBER, [f"versions.{name}" for name in _NUMBER], ondelete=ondelete
    )


class VersionNumber:
    """The three numbers of a version, as columns that sort."""

    major: Mapped[int] = mapped_column(Integer, primary_key=True)
    minor: Mapped[int] = mapped_column(Integer, primary_key=True)
    patch: Mapped[int] = mapped_column(Integer, primary_key=True)


class VersionRow(TenantRow, VersionNumber, Base):
    """One immutable version; only `tags` and `labels` are ever updated."""

    __tablename__ = "versions"

    model: Mapped[str] = mapped_column(String(128), primary_key=True, sort_order=-50)
    artifact: Mapped[str] = mapped_column(DIGEST)
    format: Mapped[str] = mapped_column(String(64))
    signature: Mapped[dict[str, Any]]
    lineage: Mapped[dict[str, Any]]
    evidence: Mapped[list[Any]]
    parent: Mapped[str]  # of the lineage, again as a column: deletion asks for it
    created_ns: Mapped[int] = mapped_column(BigInteger)
    tags: Mapped[list[Any]]
    labels: Mapped[dict[str, Any]]

    __table_args__ = (
        ForeignKeyConstraint(["tenant", "model"], ["models.tenant", "models.name"]),
        ForeignKeyConstraint(["tenant", "artifact"], ["artifacts.tenant", "artifacts.digest"]),
        Index(None, "tenant", "parent"),
        Index(None, "tenant", "artifact"),
    )


class VariantRow(TenantRow, VersionNumber, Base):
    """One optimized form of a version; never changed. What is searched is a column."""

    __tablename__ = "variants"

    model: Mapped[str] = mapped_column(String(128), primary_key=True, sort_order=-50)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    artifact: Mapped[str] = mapped_column(DIGEST)
    engine: Mapped[str] = mapped_column(String(64))
    hardware: Mapped[str]  # kind of the machine that it was measured on
    front: Mapped[bool]
    document: Mapped[dict[str, Any]]
    created_ns: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]

    __table_args__ = (
        _of_version(),
        ForeignKeyConstraint(["tenant", "artifact"], ["artifacts.tenant", "artifacts.digest"]),
        Index(None, "tenant", "artifact"),
    )


class RetiredRow(TenantRow, VersionNumber, Base):
    """The number of a deleted version: it is never given to other bytes."""

    __tablename__ = "retired_versions"

    model: Mapped[str] = mapped_column(String(128), primary_key=True, sort_order=-50)
    artifact: Mapped[str] = mapped_column(DIGEST)
    signature: Mapped[dict[str, Any]]
    deleted_ns: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]


class AliasRow(TenantRow, Base):
    """Where an alias points now."""

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(String(128), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    major: Mapped[int]
    minor: Mapped[int]
    patch: Mapped[int]
    since_ns: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (_of_version(),)


class AliasChangeRow(TenantRow, Base):
    """One move of an alias. Kept for ever: it has no key into tables whose rows may go."""

    __tablename__ = "alias_changes"

    model: Mapped[str] = mapped_column(String(128), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    at_ns: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    version: Mapped[str | None] = mapped_column(String(32))
    previous: Mapped[str | None] = mapped_column(String(32))
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(String(1024))


class LeaseRow(TenantRow, Base):
    """A publisher will soon refer to this blob: garbage collection leaves it alone."""

    __tablename__ = "leases"

    file_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    holder: Mapped[str] = mapped_column(String(36), primary_key=True)
    until_ns: Mapped[int] = mapped_column(BigInteger)


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


class SeriesChunkRow(TenantRow, Base):
    """Windows of some series that are written together; `monitor.series.chunk` knows `body`."""

    __tablename__ = "series_chunks"

    part: Mapped[str] = mapped_column(String(32), primary_key=True)
    resolution: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # seconds
    model: Mapped[str] = mapped_column(String(128), primary_key=True)  # "" = of none
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class DutyRow(TenantRow, Base):
    """How far a duty of the watch has come; written with what it found, or not at all."""

    __tablename__ = "watch_duties"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    ran_ns: Mapped[int] = mapped_column(BigInteger)
    took_ns: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int]  # in a row
    error: Mapped[str] = mapped_column(Text)
    state: Mapped[bytes] = mapped_column(LargeBinary)


class ReferenceRow(TenantRow, VersionNumber, Base):
    """What a version's inputs and outputs looked like in training."""

    __tablename__ = "model_references"

    model: Mapped[str] = mapped_column(String(128), primary_key=True, sort_order=-50)
    digest: Mapped[str] = mapped_column(DIGEST)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_ns: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]

    __table_args__ = (_of_version(ondelete="CASCADE"),)


class QualityPlanRow(TenantRow, Base):
    """How the quality of a model is watched, where its signature does not say so."""

    __tablename__ = "quality_plans"

    model: Mapped[str] = mapped_column(String(128), primary_key=True)
    document: Mapped[dict[str, Any]]
    updated_ns: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "model"], ["models.tenant", "models.name"], ondelete="CASCADE"
        ),
    )


class RolloutRow(TenantRow, Base):
    """A roll-out as it stands."""

    __tablename__ = "rollouts"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    route: Mapped[str] = mapped_column(String(128))
    phase: Mapped[str] = mapped_column(String(16))
    document: Mapped[dict[str, Any]]
    updated_ns: Mapped[int] = mapped_column(BigInteger)


class RolloutEventRow(TenantRow, Base):
    """What happened to a roll-out."""

    __tablename__ = "rollout_events"

    rollout: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ns: Mapped[int] = mapped_column(BigInteger)
    phase: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str]
    document: Mapped[dict[str, Any]]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "rollout"], ["rollouts.tenant", "rollouts.name"], ondelete="CASCADE"
        ),
    )


class RolloutLookRow(TenantRow, Base):
    """A look at a roll-out, for its report."""

    __tablename__ = "rollout_looks"

    rollout: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ns: Mapped[int] = mapped_column(BigInteger)
    document: Mapped[dict[str, Any]]

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "rollout"], ["rollouts.tenant", "rollouts.name"], ondelete="CASCADE"
        ),
    )


class AlertDocumentRow(TenantRow, Base):
    """Rules, or who is told, as they were applied last."""

    __tablename__ = "alert_documents"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    document: Mapped[dict[str, Any]]
    updated_ns: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]


class AlertRow(TenantRow, Base):
    """An alert that is pending, fires, or ended lately; `id` is of its rule and labels."""

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    rule: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(16))
    document: Mapped[dict[str, Any]]


class AlertGroupRow(TenantRow, Base):
    """What a notifier was told of alerts that belong together."""

    __tablename__ = "alert_groups"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    document: Mapped[dict[str, Any]]


class AlertSilenceRow(TenantRow, Base):
    """For a time, nobody is told of some alerts."""

    __tablename__ = "alert_silences"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    match: Mapped[dict[str, Any]]
    since_ns: Mapped[int] = mapped_column(BigInteger)
    until_ns: Mapped[int] = mapped_column(BigInteger)
    author: Mapped[str]
    comment: Mapped[str] = mapped_column(Text)


class AlertCallRow(TenantRow, Base):
    """An action that an alert called; `id` is of the alert, when it fired, and the action."""

    __tablename__ = "alert_calls"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    action: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    next_ns: Mapped[int] = mapped_column(BigInteger)
    message: Mapped[str] = mapped_column(Text)
    alert: Mapped[dict[str, Any]]
