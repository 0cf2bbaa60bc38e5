"""Turns a checked candidate into a version: leases, files, then rows in one transaction."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelworks.blobs.folder import checked_path
from modelworks.blobs.store import BlobStore
from modelworks.core import digest as digests
from modelworks.core.errors import ConflictError, InvalidError, ModelworksError, UnavailableError
from modelworks.core.ids import iso, uuid7
from modelworks.core.model import Artifact, Evidence, Lineage, ModelVersion
from modelworks.core.reference import alias_name, model_name, parse_ref
from modelworks.core.semver import Bump, Semver
from modelworks.core.tensor import Signature
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.registry import rules, store
from modelworks.registry.lookup import Hand, find, point

LEASE_NS = 3600 * 10**9
"""How long a publisher may take to store its files before a collection may take them away; it
then stores them again."""

MAX_FILES = 10_000
_ATTEMPTS = 3
_UNKNOWN = Lineage()


@dataclass(frozen=True, slots=True)
class Publication:
    """A checked candidate, ready to become a version.

    Attributes:
        name: of the model.
        folder: holds the artifact's files, and nothing else.
        format: of the artifact.
        signature: of the model.
        lineage: as far as known; `parent` may be any reference.
        evidence: of its checks.
        version: exact number; excludes `bump`.
        bump: which part to raise; None = by compatibility.
        tags: free words.
        labels: key = value.
        alias: to point at the version in the same transaction; empty = none.
    """

    name: str
    folder: Path
    format: str
    signature: Signature
    lineage: Lineage = _UNKNOWN
    evidence: tuple[Evidence, ...] = ()
    version: Semver | None = None
    bump: Bump | None = None
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    alias: str = ""


class Publisher:
    """Publishes for one tenant.

    Args:
        scope: the tenant's rows.
        blobs: where the bytes go.
        hand: who publishes.
    """

    def __init__(self, scope: TenantScope, blobs: BlobStore, hand: Hand) -> None:
        self._scope = scope
        self._blobs = blobs
        self._hand = hand

    def check(self, publication: Publication) -> None:
        """Refuse at once what `publish` would refuse for its name, number, parent or words.

        Raises:
            InvalidError: a name, tag or label that cannot be.
            ConflictError: the version exists, or existed.
            NotFoundError: no such parent.
        """
        with self._scope.read() as session:
            self._settle(session, publication)

    def publish(self, publication: Publication) -> ModelVersion:
        """Store the files, then make the version visible in one transaction.

        A process that ends at any point leaves nothing visible, or the whole version.

        Raises:
            InvalidError: a name, tag, label or file that cannot be.
            ConflictError: the version exists, or existed.
            NotFoundError: no such parent.
            UnavailableError: disk full, database locked, store out of reach.
        """
        self.check(publication)
        artifact = _artifact(publication)
        for _ in range(_ATTEMPTS):
            with self._leases(artifact) as holder:
                for name, digest in artifact.files:
                    if self._blobs.put(_inside(publication.folder, name)) != digest:
                        raise ConflictError(f"{name} changed while it was published; try again")
                published = self._commit(publication, artifact, holder)
            if published is not None:
                return published
        raise UnavailableError("storing the files took too long, again and again; retry")

    def _commit(
        self, publication: Publication, artifact: Artifact, holder: str
    ) -> ModelVersion | None:
        """The version, visible; None where a collection took the leases and maybe the files."""
        with self._scope.write() as session:
            if store.held_leases(session, holder) != len({d for _, d in artifact.files}):
                return None
            version = replace(self._settle(session, publication), artifact=artifact)
            store.insert_version(session, version)
            if publication.alias:
                point(session, self._hand, version, publication.alias, "published")
            store.drop_leases(session, holder)
            return version

    def _settle(self, session: TenantSession, publication: Publication) -> ModelVersion:
        """The version that the publication becomes now, but for its artifact."""
        name = model_name(publication.name)
        if publication.alias:
            alias_name(publication.alias)
        lineage = publication.lineage
        if lineage.parent:
            parent = find(session, parse_ref(lineage.parent), "parent")
            lineage = replace(lineage, parent=parent.ref)
        number = rules.next_version(
            store.highest_ever(session, name),
            publication.signature,
            publication.version,
            publication.bump,
        )
        if store.get_version(session, name, number) is not None:
            raise ConflictError(
                f"{name}:{number} exists and never changes: give another version, or none",
                field="version",
            )
        deleted_ns = store.retired_at(session, name, number)
        if deleted_ns is not None:
            raise ConflictError(
                f"{name}:{number} was deleted on {iso(deleted_ns)}; a number is never used twice: "
                "give another version, or none",
                field="version",
            )
        return ModelVersion(
            tenant=session.tenant,
            name=name,
            version=number,
            artifact=Artifact("", publication.format, 0, ()),
            signature=publication.signature,
            lineage=rules.check_lineage(replace(lineage, actor=lineage.actor or self._hand.actor)),
            evidence=tuple(
                replace(item, detail=rules.finite(item.detail)) for item in publication.evidence
            ),
            created_ns=self._hand.clock(),
            tags=rules.check_tags(publication.tags),
            labels=rules.check_labels(publication.labels),
        )

    @contextlib.contextmanager
    def _leases(self, artifact: Artifact) -> Iterator[str]:
        holder = uuid7()
        with self._scope.write() as session:
            until = self._hand.clock() + LEASE_NS
            store.take_leases(session, holder, (digest for _, digest in artifact.files), until)
        try:
            yield holder
        except BaseException:
            # A lease that stays behind runs out by itself.
            with contextlib.suppress(ModelworksError), self._scope.write() as session:
                store.drop_leases(session, holder)
            raise


def _artifact(publication: Publication) -> Artifact:
    """The folder as an artifact.

    Raises:
        InvalidError: empty, too many files, links, or a name that cannot be stored.
    """
    entries = digests.tree(publication.folder)
    if not entries:
        raise InvalidError(f"{publication.folder.name}: nothing to publish: no file is there")
    if len(entries) > MAX_FILES:
        raise InvalidError(f"{len(entries)} files; an artifact has at most {MAX_FILES}")
    for name, _ in entries:
        checked_path(name)
    size = sum(_inside(publication.folder, name).stat().st_size for name, _ in entries)
    return Artifact(digests.of_entries(entries), publication.format, size, tuple(sorted(entries)))


def _inside(folder: Path, name: str) -> Path:
    return folder if folder.is_file() else folder / name
