"""Models, versions and their forms, aliases, and the files that they need."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from modelworks.db.tables.base import DIGEST, Base, TenantRow, VersionNumber, of_version


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
        of_version(),
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

    __table_args__ = (of_version(),)


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
