"""What is seen of models that run: series, references, roll-outs, alerts."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from modelworks.db.tables.base import DIGEST, Base, TenantRow, VersionNumber, of_version


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

    __table_args__ = (of_version(ondelete="CASCADE"),)


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
