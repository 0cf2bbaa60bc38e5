"""The SQL of variants. Functions work inside the caller's transaction and never commit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select

from modelworks.core import codec
from modelworks.core.ids import uuid7
from modelworks.core.optimizing.variants import Variant
from modelworks.core.semver import Semver
from modelworks.db.session import TenantSession
from modelworks.db.tables import ArtifactFileRow, AuditRow, VariantRow
from modelworks.registry.pick import run_of
from modelworks.registry.store import artifacts


@dataclass(frozen=True, slots=True)
class VariantOutline:
    """The little of a variant that says whether anything changed."""

    model: str
    version: Semver
    name: str
    artifact: str


def _of(name: str, version: Semver) -> tuple[ColumnElement[bool], ...]:
    return (
        VariantRow.model == name,
        VariantRow.major == version.major,
        VariantRow.minor == version.minor,
        VariantRow.patch == version.patch,
    )


def every(session: TenantSession, name: str, version: Semver) -> list[Variant]:
    """A version's variants, by name."""
    statement = select(VariantRow).where(*_of(name, version)).order_by(VariantRow.name)
    return [codec.decode(Variant, row.document) for row in session.scalars(statement)]


def get(session: TenantSession, name: str, version: Semver, variant: str) -> Variant | None:
    """One variant."""
    where = (*_of(name, version), VariantRow.name == variant)
    row = session.scalars(select(VariantRow).where(*where)).first()
    return None if row is None else codec.decode(Variant, row.document)


def count(session: TenantSession, name: str, version: Semver) -> int:
    """How many a version has."""
    return session.scalar(select(func.count(VariantRow.name)).where(*_of(name, version))) or 0


def outline(session: TenantSession) -> list[VariantOutline]:
    """Every variant of every version, without what is long."""
    statement = select(
        VariantRow.model,
        VariantRow.major,
        VariantRow.minor,
        VariantRow.patch,
        VariantRow.name,
        VariantRow.artifact,
    ).order_by(VariantRow.name)
    return [
        VariantOutline(model, Semver(major, minor, patch), name, artifact)
        for model, major, minor, patch, name, artifact in session.execute(statement)
    ]


def files(session: TenantSession, name: str, version: Semver) -> list[tuple[str, str, str]]:
    """(variant, path, file digest) of every file of a version's variants."""
    statement = (
        select(VariantRow.name, ArtifactFileRow.path, ArtifactFileRow.file_digest)
        .join(
            ArtifactFileRow,
            (ArtifactFileRow.tenant == VariantRow.tenant)
            & (ArtifactFileRow.digest == VariantRow.artifact),
        )
        .where(*_of(name, version))
        .order_by(VariantRow.name, ArtifactFileRow.path)
    )
    return [(variant, path, digest) for variant, path, digest in session.execute(statement)]


def insert(session: TenantSession, variant: Variant) -> None:
    """Add a variant, with its artifact where that is new."""
    artifacts.keep(session, variant.artifact)
    version = Semver.parse(variant.version)
    session.add(
        VariantRow(
            model=variant.model,
            major=version.major,
            minor=version.minor,
            patch=version.patch,
            name=variant.name,
            artifact=variant.artifact.digest,
            engine=run_of(variant).engine,
            hardware=variant.measurement.hardware.kind,
            front=variant.front,
            document=codec.encode(variant),
            created_ns=variant.created_ns,
            actor=variant.actor,
        )
    )
    session.flush()


def remove(session: TenantSession, name: str, version: Semver, variant: str = "") -> None:
    """Forget one variant of a version, or all of them, and the artifacts that nothing else uses."""
    where = _of(name, version)
    if variant:
        where += (VariantRow.name == variant,)
    digests = session.scalars(select(VariantRow.artifact).where(*where)).all()
    session.execute(delete(VariantRow).where(*where))
    artifacts.drop_unused(session, digests)


def audit(
    session: TenantSession,
    at_ns: int,
    actor: str,
    act: str,
    subject: str,
    detail: Mapping[str, Any],
) -> None:
    """Note who did what, in the transaction in which it is done."""
    row = AuditRow(
        id=uuid7(), at_ns=at_ns, actor=actor, act=act, subject=subject, detail=dict(detail)
    )
    session.add(row)
    session.flush()
