"""The SQL of versions, models, aliases and leases; beside it that of artifacts and variants.

Functions work inside the caller's transaction and never commit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, delete, func, select

from modelworks.core import codec
from modelworks.core.model import (
    Alias,
    AliasChange,
    Artifact,
    Evidence,
    Lineage,
    ModelSummary,
    ModelVersion,
)
from modelworks.core.semver import Semver
from modelworks.core.tensor import Signature
from modelworks.db.session import EveryTenantSession, TenantSession
from modelworks.db.tables import (
    AliasChangeRow,
    AliasRow,
    ArtifactFileRow,
    ArtifactRow,
    LeaseRow,
    ModelRow,
    RetiredRow,
    VersionNumber,
    VersionRow,
)
from modelworks.registry.store import artifacts, variants

_CHUNK = 500
"""Values in one IN list: far below every database's limit on parameters."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The little of a version that says whether anything changed."""

    name: str
    version: Semver
    artifact: str


def _number(row: VersionNumber | AliasRow) -> Semver:
    return Semver(row.major, row.minor, row.patch)


def _newest_first(statement: Select[Any], row: type[VersionNumber]) -> Select[Any]:
    return statement.order_by(row.major.desc(), row.minor.desc(), row.patch.desc())


# -- versions ----------------------------------------------------------------------------------


def has_model(session: TenantSession, name: str) -> bool:
    """Whether the model has any version."""
    return session.get(ModelRow, (session.tenant, name)) is not None


def get_version(session: TenantSession, name: str, version: Semver) -> ModelVersion | None:
    """One version."""
    row = session.get(
        VersionRow, (session.tenant, name, version.major, version.minor, version.patch)
    )
    return None if row is None else _versions(session, [row])[0]


def versions(session: TenantSession, name: str) -> list[ModelVersion]:
    """A model's versions, newest first."""
    statement = _newest_first(select(VersionRow).where(VersionRow.model == name), VersionRow)
    return _versions(session, session.scalars(statement).all())


def latest(session: TenantSession, name: str) -> Semver | None:
    """The highest version there is."""
    statement = _newest_first(select(VersionRow).where(VersionRow.model == name), VersionRow)
    row = session.scalars(statement.limit(1)).first()
    return None if row is None else _number(row)


def highest_ever(session: TenantSession, name: str) -> tuple[Semver, Signature] | None:
    """The highest number ever given, deleted ones included, with its signature."""
    found: list[tuple[Semver, Signature]] = []
    for kind in (VersionRow, RetiredRow):
        statement = _newest_first(select(kind).where(kind.model == name), kind)
        row = session.scalars(statement.limit(1)).first()
        if row is not None:
            found.append((_number(row), codec.decode(Signature, row.signature)))
    return max(found, key=lambda item: item[0], default=None)


def retired_at(session: TenantSession, name: str, version: Semver) -> int | None:
    """When a version of that number was deleted; None = never."""
    row = session.get(
        RetiredRow, (session.tenant, name, version.major, version.minor, version.patch)
    )
    return None if row is None else row.deleted_ns


def outline(session: TenantSession) -> list[Outline]:
    """Every version of every model, without what is long."""
    statement = select(
        VersionRow.model, VersionRow.major, VersionRow.minor, VersionRow.patch, VersionRow.artifact
    )
    return [
        Outline(name, Semver(major, minor, patch), digest)
        for name, major, minor, patch, digest in session.execute(statement)
    ]


def insert_version(session: TenantSession, version: ModelVersion) -> None:
    """Add a version, with its model and its artifact where they are new."""
    if not has_model(session, version.name):
        session.add(ModelRow(name=version.name, created_ns=version.created_ns))
    artifact = version.artifact
    artifacts.keep(session, artifact)
    session.add(
        VersionRow(
            model=version.name,
            major=version.version.major,
            minor=version.version.minor,
            patch=version.version.patch,
            artifact=artifact.digest,
            format=artifact.format,
            signature=codec.encode(version.signature),
            lineage=codec.encode(version.lineage),
            evidence=codec.encode(version.evidence),
            parent=version.lineage.parent,
            created_ns=version.created_ns,
            tags=list(version.tags),
            labels=dict(version.labels),
        )
    )
    session.flush()


def annotate(
    session: TenantSession,
    name: str,
    version: Semver,
    tags: Sequence[str],
    labels: dict[str, str],
) -> None:
    """Replace the tags and labels of a version that exists."""
    row = session.get_one(
        VersionRow, (session.tenant, name, version.major, version.minor, version.patch)
    )
    row.tags, row.labels = list(tags), dict(labels)
    session.flush()


def put_evidence(
    session: TenantSession, name: str, version: Semver, evidence: Sequence[Evidence]
) -> None:
    """Replace the evidence of a version that exists."""
    row = session.get_one(
        VersionRow, (session.tenant, name, version.major, version.minor, version.patch)
    )
    row.evidence = codec.encode(evidence)
    session.flush()


def children(session: TenantSession, parents: Iterable[str]) -> dict[str, str]:
    """`name:version` of every version whose parent is one of these -> that parent."""
    found = {}
    for chunk in _chunks(parents):
        for row in session.scalars(select(VersionRow).where(VersionRow.parent.in_(chunk))):
            found[f"{row.model}:{_number(row)}"] = row.parent
    return found


def delete_versions(
    session: TenantSession, name: str, doomed: Sequence[ModelVersion], at_ns: int, actor: str
) -> None:
    """Delete versions, variants, artifacts that nothing else uses, the model after its last."""
    for version in doomed:
        number = version.version
        key = (session.tenant, name, number.major, number.minor, number.patch)
        variants.remove(session, name, number)
        session.delete(session.get_one(VersionRow, key))
        session.add(
            RetiredRow(
                model=name,
                major=number.major,
                minor=number.minor,
                patch=number.patch,
                artifact=version.artifact.digest,
                signature=codec.encode(version.signature),
                deleted_ns=at_ns,
                actor=actor,
            )
        )
    session.flush()
    artifacts.drop_unused(session, (version.artifact.digest for version in doomed))
    if latest(session, name) is None:
        session.execute(delete(ModelRow).where(ModelRow.name == name))


def _versions(session: TenantSession, rows: Sequence[VersionRow]) -> list[ModelVersion]:
    """Rows as values; the artifacts of all of them in two queries a chunk."""
    digests = {row.artifact for row in rows}
    sizes: dict[str, int] = {}
    files: dict[str, list[tuple[str, str]]] = {digest: [] for digest in digests}
    for chunk in _chunks(digests):
        for artifact in session.scalars(select(ArtifactRow).where(ArtifactRow.digest.in_(chunk))):
            sizes[artifact.digest] = artifact.size
        chosen = select(ArtifactFileRow).where(ArtifactFileRow.digest.in_(chunk))
        for file in session.scalars(chosen):
            files[file.digest].append((file.path, file.file_digest))
    return [
        ModelVersion(
            tenant=row.tenant,
            name=row.model,
            version=_number(row),
            artifact=Artifact(
                row.artifact, row.format, sizes[row.artifact], tuple(sorted(files[row.artifact]))
            ),
            signature=codec.decode(Signature, row.signature),
            lineage=codec.decode(Lineage, row.lineage),
            evidence=codec.decode(tuple[Evidence, ...], row.evidence),
            created_ns=row.created_ns,
            tags=tuple(row.tags),
            labels=dict(row.labels),
        )
        for row in rows
    ]


# -- models and aliases ------------------------------------------------------------------------


def summaries(session: TenantSession) -> list[ModelSummary]:
    """Every model, by name."""
    counts: dict[str, list[Semver]] = {}
    updated: dict[str, int] = {}
    statement = select(
        VersionRow.model,
        VersionRow.major,
        VersionRow.minor,
        VersionRow.patch,
        VersionRow.created_ns,
    )
    for name, major, minor, patch, created in session.execute(statement):
        counts.setdefault(name, []).append(Semver(major, minor, patch))
        updated[name] = max(updated.get(name, 0), created)
    pointing = aliases(session)
    moved = session.execute(
        select(AliasChangeRow.model, func.max(AliasChangeRow.at_ns)).group_by(AliasChangeRow.model)
    )
    for name, at_ns in moved:
        if name in updated:
            updated[name] = max(updated[name], at_ns)
    return [
        ModelSummary(name, len(found), max(found), tuple(pointing.get(name, ())), updated[name])
        for name, found in sorted(counts.items())
    ]


def aliases(session: TenantSession, name: str | None = None) -> dict[str, list[Alias]]:
    """Model -> its aliases, by name; of one model or of all."""
    statement = select(AliasRow).order_by(AliasRow.model, AliasRow.alias)
    if name is not None:
        statement = statement.where(AliasRow.model == name)
    found: dict[str, list[Alias]] = {}
    for row in session.scalars(statement):
        found.setdefault(row.model, []).append(Alias(row.alias, _number(row), row.since_ns))
    return found


def get_alias(session: TenantSession, name: str, alias: str) -> Alias | None:
    """Where an alias points now."""
    row = session.get(AliasRow, (session.tenant, name, alias))
    return None if row is None else Alias(row.alias, _number(row), row.since_ns)


def move_alias(session: TenantSession, change: AliasChange) -> AliasChange:
    """Point the alias where the change says (None: remove it) and keep the change.

    Returns:
        The change as kept: its time is after that of the alias's last change, even where the
        clock went back.
    """
    last = session.scalar(
        select(func.max(AliasChangeRow.at_ns)).where(
            AliasChangeRow.model == change.model, AliasChangeRow.alias == change.alias
        )
    )
    at_ns = change.at_ns if last is None else max(change.at_ns, last + 1)
    row = session.get(AliasRow, (session.tenant, change.model, change.alias))
    if change.version is None:
        session.delete(row)
    else:
        if row is None:
            row = AliasRow(model=change.model, alias=change.alias)
            session.add(row)
        number = change.version
        row.major, row.minor, row.patch = number.major, number.minor, number.patch
        row.since_ns = at_ns
    session.add(
        AliasChangeRow(
            model=change.model,
            alias=change.alias,
            at_ns=at_ns,
            version=_text(change.version),
            previous=_text(change.previous),
            actor=change.actor,
            reason=change.reason,
        )
    )
    session.flush()
    return replace(change, at_ns=at_ns)


def history(session: TenantSession, name: str, alias: str | None) -> list[AliasChange]:
    """Alias moves, oldest first."""
    statement = select(AliasChangeRow).where(AliasChangeRow.model == name)
    if alias is not None:
        statement = statement.where(AliasChangeRow.alias == alias)
    statement = statement.order_by(AliasChangeRow.at_ns, AliasChangeRow.alias)
    return [_change(row) for row in session.scalars(statement)]


def change_at(session: TenantSession, name: str, alias: str, at_ns: int) -> AliasChange | None:
    """The last move of an alias at or before a time."""
    statement = (
        select(AliasChangeRow)
        .where(
            AliasChangeRow.model == name,
            AliasChangeRow.alias == alias,
            AliasChangeRow.at_ns <= at_ns,
        )
        .order_by(AliasChangeRow.at_ns.desc())
        .limit(1)
    )
    row = session.scalars(statement).first()
    return None if row is None else _change(row)


def _change(row: AliasChangeRow) -> AliasChange:
    return AliasChange(
        row.model,
        row.alias,
        None if row.version is None else Semver.parse(row.version),
        None if row.previous is None else Semver.parse(row.previous),
        row.at_ns,
        row.actor,
        row.reason,
    )


def _text(version: Semver | None) -> str | None:
    return None if version is None else str(version)


# -- leases and collection ---------------------------------------------------------------------


def take_leases(session: TenantSession, holder: str, digests: Iterable[str], until_ns: int) -> None:
    """Keep these blobs from collection until a time."""
    for digest in sorted(set(digests)):
        session.add(LeaseRow(file_digest=digest, holder=holder, until_ns=until_ns))
    session.flush()


def held_leases(session: TenantSession, holder: str) -> int:
    """How many leases the holder still has."""
    statement = select(func.count(LeaseRow.file_digest)).where(LeaseRow.holder == holder)
    return session.scalar(statement) or 0


def drop_leases(session: TenantSession, holder: str) -> None:
    """Give the holder's leases back."""
    session.execute(delete(LeaseRow).where(LeaseRow.holder == holder))


def drop_expired_leases(session: EveryTenantSession, now_ns: int) -> None:
    """Forget the leases of publishers that never came back."""
    session.execute(delete(LeaseRow).where(LeaseRow.until_ns <= now_ns))


def wanted_blobs(session: EveryTenantSession, digests: Sequence[str]) -> set[str]:
    """Which of these blobs any tenant refers to or holds a lease on."""
    wanted: set[str] = set()
    for chunk in _chunks(digests):
        for column in (ArtifactFileRow.file_digest, LeaseRow.file_digest):
            wanted.update(session.scalars(select(column).where(column.in_(chunk))))
    return wanted


def artifact_digests(session: EveryTenantSession) -> set[str]:
    """Every artifact of every tenant."""
    return set(session.scalars(select(ArtifactRow.digest)))


def _chunks(items: Iterable[str]) -> Iterable[list[str]]:
    listed = list(items)
    for start in range(0, len(listed), _CHUNK):
        yield listed[start : start + _CHUNK]
