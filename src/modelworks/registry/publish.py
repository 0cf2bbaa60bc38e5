"""Turns a checked candidate into a version: its files, then its rows in one transaction."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from modelworks.blobs.store import BlobStore
from modelworks.core.errors import ConflictError
from modelworks.core.ids import iso
from modelworks.core.model import Artifact, Evidence, Lineage, ModelVersion
from modelworks.core.reference import alias_name, model_name, parse_ref
from modelworks.core.semver import Bump, Semver
from modelworks.core.tensor import Signature
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.registry import rules, store
from modelworks.registry.lookup import Hand, find, point
from modelworks.registry.storing import Storer, files_of

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
        self._storer = Storer(scope, blobs, hand.clock)
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

        def commit(session: TenantSession, artifact: Artifact) -> ModelVersion:
            version = replace(self._settle(session, publication), artifact=artifact)
            store.insert_version(session, version)
            if publication.alias:
                point(session, self._hand, version, publication.alias, "published")
            return version

        return self._storer.keep(files_of(publication.folder), publication.format, commit)

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
