"""The SQL of artifacts, which versions and variants refer to; it never commits."""

from collections.abc import Iterable

from sqlalchemy import delete, select

from modelworks.core.model import Artifact
from modelworks.db.session import TenantSession
from modelworks.db.tables import ArtifactFileRow, ArtifactRow, VariantRow, VersionRow


def keep(session: TenantSession, artifact: Artifact) -> None:
    """Add an artifact where it is new."""
    if session.get(ArtifactRow, (session.tenant, artifact.digest)) is None:
        session.add(ArtifactRow(digest=artifact.digest, size=artifact.size))
        session.flush()
        for path, file_digest in artifact.files:
            session.add(ArtifactFileRow(digest=artifact.digest, path=path, file_digest=file_digest))
    session.flush()


def drop_unused(session: TenantSession, digests: Iterable[str]) -> None:
    """Forget those of these artifacts that no version and no variant refers to."""
    for digest in set(digests):
        users = (
            select(VersionRow.artifact).where(VersionRow.artifact == digest),
            select(VariantRow.artifact).where(VariantRow.artifact == digest),
        )
        if all(session.scalars(used.limit(1)).first() is None for used in users):
            session.execute(delete(ArtifactFileRow).where(ArtifactFileRow.digest == digest))
            session.execute(delete(ArtifactRow).where(ArtifactRow.digest == digest))
