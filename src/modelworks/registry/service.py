"""The registry's verbs: publish, look, point aliases, variants, delete, verify, collect."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from modelworks.blobs.layout import prune
from modelworks.blobs.store import BlobStore
from modelworks.core.digest import of_entries
from modelworks.core.errors import (
    CorruptError,
    InvalidError,
    NotFoundError,
)
from modelworks.core.ids import iso, now_ns
from modelworks.core.model import (
    Alias,
    AliasChange,
    Artifact,
    Collected,
    Comparison,
    Evidence,
    ModelSummary,
    ModelVersion,
    Verification,
)
from modelworks.core.optimizing.variants import Variant
from modelworks.core.reference import ModelRef, alias_name, model_name, parse_ref
from modelworks.core.semver import Semver
from modelworks.db.engine import TenantScope
from modelworks.registry import rules, store
from modelworks.registry.lookup import Hand, change, find, no_model, point
from modelworks.registry.publish import Publication, Publisher
from modelworks.registry.store.variants import VariantOutline
from modelworks.registry.variants import Variants

_BATCH = 64
"""Blobs looked at in one write transaction of a collection."""


class Registry:
    """One tenant's registry.

    Args:
        scope: the tenant's rows.
        blobs: where the bytes are.
        cache: where artifacts are laid out; collection clears it too.
        actor: who acts, as recorded.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        scope: TenantScope,
        blobs: BlobStore,
        cache: Path,
        actor: str = "",
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._scope = scope
        self._blobs = blobs
        self._cache = cache
        self._hand = Hand(actor[: rules.MAX_WORD], clock)
        self._publisher = Publisher(scope, blobs, self._hand)
        self._variants = Variants(scope, blobs, cache, self._hand)

    def check(self, publication: Publication) -> None:
        """Refuse at once what `publish` would refuse: see `Publisher.check`."""
        self._publisher.check(publication)

    def publish(self, publication: Publication) -> ModelVersion:
        """Make a candidate a version, wholly or not at all: see `Publisher.publish`."""
        return self._publisher.publish(publication)

    # -- look ----------------------------------------------------------------------------------

    def models(self) -> list[ModelSummary]:
        """Every model, by name."""
        with self._scope.read() as session:
            return store.summaries(session)

    def versions(self, name: str) -> list[ModelVersion]:
        """A model's versions, newest first.

        Raises:
            NotFoundError: no such model.
        """
        with self._scope.read() as session:
            found = store.versions(session, model_name(name))
        if not found:
            raise no_model(name)
        return found

    def show(self, ref: str) -> ModelVersion:
        """One version; a bare name is the latest.

        Raises:
            NotFoundError: no such model, version or alias.
        """
        with self._scope.read() as session:
            return find(session, parse_ref(ref), "ref")

    def compare(self, left: str, right: str) -> Comparison:
        """Two versions, field by field."""
        with self._scope.read() as session:
            return rules.compare(
                find(session, parse_ref(left), "left"),
                find(session, parse_ref(right), "right"),
            )

    def aliases(self, name: str | None = None) -> dict[str, list[Alias]]:
        """Model -> its aliases; of one model or of all."""
        with self._scope.read() as session:
            return store.aliases(session, name)

    def outline(self) -> tuple[list[store.Outline], dict[str, list[Alias]]]:
        """Every version in short and every alias, of one moment."""
        with self._scope.read() as session:
            return store.outline(session), store.aliases(session)

    # -- aliases -------------------------------------------------------------------------------

    def set_alias(self, name: str, alias: str, version: str, reason: str = "") -> Alias:
        """Point an alias at a version; where it points there already, nothing happens.

        Raises:
            NotFoundError: no such version.
            InvalidError: no such form of name, alias or version; too long a reason.
        """
        number = Semver.parse(version)
        with self._scope.write() as session:
            found = find(session, ModelRef(model_name(name), version=number), "version")
            return point(session, self._hand, found, alias_name(alias), reason)

    def remove_alias(self, name: str, alias: str, reason: str = "") -> None:
        """Remove an alias; its history stays.

        Raises:
            NotFoundError: no such alias.
        """
        with self._scope.write() as session:
            now = store.get_alias(session, model_name(name), alias_name(alias))
            if now is None:
                raise NotFoundError(f"{name} has no alias '{alias}'", field="alias")
            store.move_alias(session, change(self._hand, name, alias, (now.version, None), reason))

    def history(self, name: str, alias: str | None = None) -> list[AliasChange]:
        """Alias moves, oldest first; those of deleted models too.

        Raises:
            NotFoundError: no such model, now or ever.
        """
        with self._scope.read() as session:
            found = store.history(session, model_name(name), alias and alias_name(alias))
            if not found and not store.has_model(session, name):
                raise no_model(name)
        return found

    def alias_at(self, name: str, alias: str, at_ns: int) -> AliasChange:
        """What the alias pointed at then: the change that was in force.

        Raises:
            NotFoundError: it did not exist then.
        """
        if not 0 <= at_ns < 2**63:
            raise InvalidError(f"{at_ns} is no time in nanoseconds since 1970", field="at")
        with self._scope.read() as session:
            found = store.change_at(session, model_name(name), alias_name(alias), at_ns)
        if found is None or found.version is None:
            since = "" if found is None else f": it was removed at {iso(found.at_ns)}"
            raise NotFoundError(f"{name}@{alias} did not exist at {iso(at_ns)}{since}", field="at")
        return found

    # -- variants ------------------------------------------------------------------------------

    def add_variant(self, variant: Variant, folder: Path) -> Variant:
        """Keep another form of a version; the same one again changes nothing: see `Variants.add`.

        Raises:
            NotFoundError: no such version.
            ConflictError: another variant has that name.
            InvalidError: a name, figure, signature or file that cannot be.
        """
        return self._variants.add(variant, folder)

    def variants(self, ref: str) -> list[Variant]:
        """A version's variants, by name; a bare name is the latest version.

        Raises:
            NotFoundError: no such version.
        """
        return self._variants.of(ref)

    def variant(self, ref: str, name: str) -> Variant:
        """One variant.

        Raises:
            NotFoundError: no such version or variant.
        """
        return self._variants.one(ref, name)

    def variant_outline(self) -> list[VariantOutline]:
        """Every variant of every version in short."""
        return self._variants.outline()

    def remove_variant(self, ref: str, name: str) -> Variant:
        """Forget a variant; what was forgotten.

        Raises:
            NotFoundError: no such version or variant.
        """
        return self._variants.remove(ref, name)

    # -- change, verify, delete, collect -------------------------------------------------------

    def annotate(self, ref: str, tags: Sequence[str], labels: dict[str, str]) -> ModelVersion:
        """Replace a version's tags and labels.

        Raises:
            InvalidError: a word that cannot be.
            NotFoundError: no such version.
        """
        kept_tags, kept_labels = rules.check_tags(tags), rules.check_labels(labels)
        with self._scope.write() as session:
            found = find(session, parse_ref(ref), "ref")
            store.annotate(session, found.name, found.version, kept_tags, kept_labels)
        return replace(found, tags=kept_tags, labels=kept_labels)

    def note_evidence(self, ref: str, found: Evidence) -> ModelVersion:
        """Keep what was found of a version after it came in; of a kind the last ten stay.

        Raises:
            NotFoundError: no such version.
        """
        clean = replace(found, detail=rules.finite(found.detail))
        with self._scope.write() as session:
            version = find(session, parse_ref(ref), "ref")
            kept = rules.with_evidence(version.evidence, clean)
            store.put_evidence(session, version.name, version.version, kept)
        return replace(version, evidence=kept)

    def verify(self, ref: str) -> Verification:
        """Read every stored file of a version and its variants, compare it with its digest.

        Raises:
            NotFoundError: no such version.
            UnavailableError: the store is out of reach: nothing is known of its files.
        """
        found = self.show(ref)
        named = list(found.artifact.files)
        for variant, entries in self._variants.files(found).items():
            named += [(f"#{variant} {path}", digest) for path, digest in entries]
        problems = []
        for name, digest in named:
            try:
                self._blobs.check(digest)
            except (CorruptError, NotFoundError) as error:
                problems.append(f"{name}: {error.message}")
        return Verification(found.ref, not problems, len(named), tuple(problems))

    def artifacts(self, ref: str) -> list[Artifact]:
        """Of a version and its variants; of a variant's neither format nor size is told.

        Raises:
            NotFoundError: no such version.
        """
        found = self.show(ref)
        kept = self._variants.files(found).values()
        return [found.artifact, *(Artifact(of_entries(one), "", 0, tuple(one)) for one in kept)]

    def delete(self, ref: str) -> list[str]:
        """Delete a version, or with a bare name the model; variants go with their version.

        Returns:
            The deleted `name:version`s, newest first.

        Raises:
            ConflictError: an alias points at it, or another version names it as parent.
            NotFoundError: no such version.
        """
        target = parse_ref(ref)
        bare = target.alias is None and target.version is None
        with self._scope.write() as session:
            doomed = store.versions(session, target.name) if bare else []
            doomed = doomed or [find(session, target, "ref")]
            gone = [version.ref for version in doomed]
            children = store.children(session, gone)
            pointing = store.aliases(session, target.name)
            rules.guard_deletion(
                [version.version for version in doomed],
                {alias.name: alias.version for alias in pointing.get(target.name, [])},
                {child: parent for child, parent in children.items() if child not in gone},
                target.name,
            )
            store.delete_versions(
                session, target.name, doomed, self._hand.clock(), self._hand.actor
            )
        return gone

    def collect(self) -> Collected:
        """Remove the blobs and laid-out folders that no version or variant of any tenant refers to.

        Blobs go in batches inside write transactions: a publisher takes its leases before it
        looks whether a blob is there, so it either keeps the blob or finds it gone and stores it.
        """
        database = self._scope.database
        blobs, size = 0, 0
        listed = list(self._blobs.list())
        for start in range(0, len(listed), _BATCH):
            batch = listed[start : start + _BATCH]
            with database.every_tenant() as session:
                store.drop_expired_leases(session, self._hand.clock())
                wanted = store.wanted_blobs(session, [blob.digest for blob in batch])
                doomed = [blob for blob in batch if blob.digest not in wanted]
                self._blobs.delete_all(blob.digest for blob in doomed)
                blobs, size = blobs + len(doomed), size + sum(blob.size for blob in doomed)
        with database.every_tenant() as session:
            aside = prune(self._cache, store.artifact_digests(session))
        for folder in aside:
            shutil.rmtree(folder, ignore_errors=True)
        self._blobs.sweep()
        return Collected(blobs, size)
