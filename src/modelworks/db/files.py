"""Which stored files the rows of all tenants refer to, and leases on all of them at once."""

from collections.abc import Iterator

from sqlalchemy import delete, insert, literal, select, update

from modelworks.db.session import EveryTenantSession
from modelworks.db.tables import ArtifactFileRow, ArtifactRow, LeaseRow, VariantRow, VersionRow


def hold(session: EveryTenantSession, holder: str, until_ns: int) -> None:
    """Keep every file that a row refers to from collection, until a time."""
    chosen = select(
        ArtifactFileRow.tenant,
        ArtifactFileRow.file_digest,
        literal(holder),
        literal(until_ns, LeaseRow.until_ns.type),
    ).distinct()
    columns = ["tenant", "file_digest", "holder", "until_ns"]
    session.execute(insert(LeaseRow).from_select(columns, chosen))


def renew(session: EveryTenantSession, holder: str, until_ns: int) -> None:
    """Hold them longer."""
    session.execute(update(LeaseRow).where(LeaseRow.holder == holder).values(until_ns=until_ns))


def release(session: EveryTenantSession, holder: str) -> None:
    """Give them back."""
    session.execute(delete(LeaseRow).where(LeaseRow.holder == holder))


def referred(session: EveryTenantSession) -> set[str]:
    """The digests of all files that a row refers to."""
    return set(session.scalars(select(ArtifactFileRow.file_digest).distinct()))


def artifacts(session: EveryTenantSession) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(digest, its files as (path, digest)) of every artifact."""
    statement = (
        select(ArtifactRow.tenant, ArtifactRow.digest, ArtifactFileRow)
        .join(
            ArtifactFileRow,
            (ArtifactFileRow.tenant == ArtifactRow.tenant)
            & (ArtifactFileRow.digest == ArtifactRow.digest),
            isouter=True,
        )
        .order_by(ArtifactRow.tenant, ArtifactRow.digest)
        .execution_options(yield_per=1000)
    )
    key: tuple[str, str] | None = None
    files: list[tuple[str, str]] = []
    for tenant, digest, file in session.execute(statement):
        if key is not None and key != (tenant, digest):
            yield key[1], files
            files = []
        key = (tenant, digest)
        files += [] if file is None else [(file.path, file.file_digest)]
    if key is not None:
        yield key[1], files


def owners(session: EveryTenantSession, file_digest: str) -> list[str]:
    """`model:version path` of what holds a file, variants too; a few of them."""
    found = []
    for kind in (VersionRow, VariantRow):
        name = VariantRow.name if kind is VariantRow else literal("")
        statement = (
            select(kind.model, kind.major, kind.minor, kind.patch, name, ArtifactFileRow.path)
            .join(
                ArtifactFileRow,
                (ArtifactFileRow.tenant == kind.tenant) & (ArtifactFileRow.digest == kind.artifact),
            )
            .where(ArtifactFileRow.file_digest == file_digest)
            .limit(5)
        )
        for model, major, minor, patch, variant, path in session.execute(statement):
            form = f"#{variant}" if variant else ""
            found.append(f"{model}:{major}.{minor}.{patch}{form} {path}")
    return found[:5]
