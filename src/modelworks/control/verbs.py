"""Models in one process: import, register, look, delete, serve; on this machine's data folder."""

import getpass
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelworks.blobs.folder import drop_damaged
from modelworks.blobs.layout import materialise
from modelworks.blobs.store import BlobStore
from modelworks.client import git
from modelworks.client.transport import Progress
from modelworks.control import graphs, plan
from modelworks.control.backup import Manifest, backup, restore
from modelworks.control.deleting import delete
from modelworks.control.forms import ANYWHERE
from modelworks.control.package import Packaged, Packaging, package
from modelworks.control.scratch import clear, scratch
from modelworks.control.serve import Resolver, naming
from modelworks.core.errors import NotFoundError, UnsupportedError
from modelworks.core.graphs import GRAPH
from modelworks.core.home import Home, Stores
from modelworks.core.ids import now_ns
from modelworks.core.imports import ImportRequest
from modelworks.core.model import (
    DEFAULT_TENANT,
    Alias,
    AliasChange,
    Collected,
    Comparison,
    Evidence,
    Lineage,
    ModelSummary,
    ModelVersion,
    Verification,
)
from modelworks.core.optimizing.variants import SOURCE, Variant
from modelworks.core.reference import parse_ref
from modelworks.core.served import ServedList
from modelworks.core.tensor import Signature
from modelworks.db.engine import Database, open_database
from modelworks.deploy.routes import Routes
from modelworks.deploy.service import Deployments
from modelworks.intake.service import Candidate, bring_in
from modelworks.registry.publish import Publication
from modelworks.registry.service import Registry
from modelworks.sandbox.limits import Limits

_AT_HOME = Stores()
_LIMITS = Limits()


class Verbs:
    """The verbs of models, and what a factory has open for its features.

    Args:
        home: the data folder; made, and its database migrated, when the factory opens.
        tenant: whose models.
        actor: who acts, as recorded; empty = the user of this process.
        clock: UTC nanoseconds.
        stores: where rows and files are, where that is not the data folder.
        limits: of the sandbox that imports run in.

    Raises:
        InvalidError: a kind of URL that is not known.
        UnavailableError: the folder or its database cannot be opened.
        UnsupportedError: a newer Modelworks wrote the database.
        CorruptError: the database is damaged.
    """

    def __init__(
        self,
        home: Home,
        tenant: str = DEFAULT_TENANT,
        actor: str = "",
        clock: Callable[[], int] = now_ns,
        stores: Stores = _AT_HOME,
        limits: Limits = _LIMITS,
    ) -> None:
        self._limits = limits
        self._stores = stores
        self._tenant = tenant
        self._clock = clock
        self.home = home.create()
        self._blobs = BlobStore(stores.artifacts or home.blobs, stores.access)
        self._database: Database = open_database(stores.database or home.database)
        scope = self._scope = self._database.tenant(tenant)
        self._actor = actor or os_user()
        self._registry = Registry(scope, self._blobs, home.cache, self._actor, clock)
        self._resolver = Resolver(self._registry, self._blobs, home.cache, home.environments)
        # Nobody else has a database that lies in the data folder, however the machine is called.
        shared = bool(stores.database)
        machine = f"{socket.gethostname()}:{home.root.absolute()}"[:255] if shared else ""
        self._deployments = Deployments(scope, self._actor, clock, machine)
        self._routes = Routes(scope, self._actor, clock)

    def close(self) -> None:
        """Close the database. Twice is quiet."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the verbs of client.transport.Transport -----------------------------------------------

    def import_model(
        self, request: ImportRequest, progress: Progress | None = None
    ) -> ModelVersion:
        """Import, check, publish. Nothing is visible before all of it succeeded.

        The commit and branch of the current folder's git repository go into the lineage.
        """
        return self.take_in(git.stamped(request), progress)

    def take_in(self, request: ImportRequest, progress: Progress | None = None) -> ModelVersion:
        """`import_model` of a request from elsewhere: this process's folder says nothing of it."""
        say = progress or _quiet
        publication = _publication(request)
        self._registry.check(publication)  # a name or a number that cannot be: said before work
        with scratch(self.home.run, "import") as work:
            candidate = bring_in(
                request.file,
                request.options,
                work,
                say,
                limits=self._limits,
                actor=self._actor,
                environments=self.home.environments,
            )
            say("publishing")
            lineage = _lineage(request, candidate)
            return self._registry.publish(
                replace(
                    publication,
                    folder=candidate.folder,
                    format=candidate.format,
                    signature=candidate.signature,
                    lineage=lineage,
                    evidence=tuple(candidate.evidence),
                )
            )

    def publish(self, publication: Publication) -> ModelVersion:
        """Publish a candidate that was checked elsewhere."""
        return self._registry.publish(publication)

    def models(self) -> list[ModelSummary]:
        """Every model, by name."""
        return self._registry.models()

    def versions(self, name: str) -> list[ModelVersion]:
        """A model's versions, newest first."""
        return self._registry.versions(name)

    def show(self, ref: str) -> ModelVersion:
        """One version. A bare name is the latest."""
        return self._registry.show(ref)

    def compare(self, left: str, right: str) -> Comparison:
        """Two versions, field by field."""
        return self._registry.compare(left, right)

    def set_alias(self, name: str, alias: str, version: str, reason: str = "") -> Alias:
        """Point an alias at a version; the move is kept in its history."""
        return self._registry.set_alias(name, alias, version, reason)

    def remove_alias(self, name: str, alias: str, reason: str = "") -> None:
        """Remove an alias; its history stays."""
        self._registry.remove_alias(name, alias, reason)

    def history(self, name: str, alias: str | None = None) -> list[AliasChange]:
        """Alias moves, oldest first."""
        return self._registry.history(name, alias)

    def alias_at(self, name: str, alias: str, at_ns: int) -> AliasChange:
        """What the alias pointed at then."""
        return self._registry.alias_at(name, alias, at_ns)

    def annotate(self, ref: str, tags: tuple[str, ...], labels: dict[str, str]) -> ModelVersion:
        """Replace a version's tags and labels."""
        return self._registry.annotate(ref, tags, labels)

    def note_evidence(self, ref: str, found: Evidence) -> ModelVersion:
        """Keep what was found of a version after it came in: a replay, a drill; audited."""
        version = self._registry.note_evidence(ref, found)
        told = {"verdict": str(found.verdict), "summary": found.summary}
        self._deployments.note_act(found.kind, version.ref, told)
        return version

    def add_variant(self, variant: Variant, folder: Path) -> Variant:
        """Keep another form of a version; audited: see `Registry.add_variant`."""
        return self._registry.add_variant(variant, folder)

    def variants(self, ref: str) -> list[Variant]:
        """A version's variants, by name; a bare name is the latest version."""
        return self._registry.variants(ref)

    def verify(self, ref: str) -> Verification:
        """Read every stored file and compare with its digest; drop damaged laid-out copies."""
        for artifact in self._registry.artifacts(ref):
            drop_damaged(self.home.cache, artifact)
        return self._registry.verify(ref)

    def delete(self, ref: str) -> list[str]:
        """Delete a version, with a bare name the model, with `#NAME` one variant of a version.

        Not what a deployment may run, nor a variant that a server of this machine was told to
        serve: see `control.deleting.delete`.
        """
        return delete(self._registry, self._deployments, self.home, ref)

    def collect(self) -> Collected:
        """Remove artifacts that nothing refers to, and what killed imports left behind."""
        left = clear(self.home.run)
        found = self._registry.collect()
        return replace(found, bytes=found.bytes + left)

    def backup(self, into: Path, say: Progress) -> tuple[Path, Manifest]:
        """Every row and file of every tenant in one file: see `control.backup.backup`."""
        return backup(self._database, self._blobs, into, say)

    def restore(self, file: Path, say: Progress, digest: str = "") -> Manifest:
        """Fill this installation, which is empty, from a backup: see `control.backup.restore`."""
        return restore(self._database, self._blobs, file, say, digest)

    # -- serving -------------------------------------------------------------------------------

    def materialise(self, ref: str) -> Path:
        """The folder with a version's files, every byte checked when it is made."""
        version = self._registry.show(ref)
        with naming(version.ref):
            return materialise(self._blobs, version.artifact, self.home.cache)

    def artifact_file(self, ref: str, name: str) -> Path:
        """One file of a version's artifact, or of a variant's, laid out on this machine.

        Raises:
            NotFoundError: no such version or variant, or it has no such file; `field` says which.
        """
        asked = parse_ref(ref, variants=True)
        version = self._registry.show(str(asked.of_version))
        found: ModelVersion | Variant = version
        if asked.variant:
            found = self._registry.variant(version.ref, asked.variant)
        if name not in dict(found.artifact.files):
            files = ", ".join(path for path, _ in found.artifact.files[:8])
            raise NotFoundError(
                f"{found.ref} has no file '{name[:80]}'; it has {files}", field="path"
            )
        with naming(found.ref):
            return materialise(self._blobs, found.artifact, self.home.cache) / name

    def check_graph(self, values: Any) -> graphs.Known:
        """What a graph's file declares, against the models that are here: see `graphs.known`."""
        return graphs.known(values, self._resolver.version)

    def add_graph(self, values: Any, file: str, alias: str = "") -> ModelVersion:
        """Keep a graph as a version; `up` and `serve` then serve it as a model.

        Args:
            values: that its file declares, plain.
            file: its name.
            alias: to point at the version; empty = none.
        """
        found = self.check_graph(values)
        with scratch(self.home.run, "graph") as work:
            publication = graphs.publication_of(values, found, work, file, alias)
            return self._registry.publish(publication)

    def package(self, ref: str, asked: Packaging, progress: Progress | None = None) -> Packaged:
        """A version as a container image, a build context or an artifact: see `control.package`."""
        version = self._resolver.version(ref)
        if version.artifact.format == GRAPH:
            raise UnsupportedError(
                f"{version.ref} is a graph, and its models have to be in the same server: an image "
                "has one version; package the models, or serve the graph with `modelworks serve`",
                field="ref",
            )
        want = parse_ref(ref, variants=True).variant or SOURCE
        variant = self._resolver.form(version, want, ANYWHERE, progress)
        artifact = version.artifact if variant is None else variant.artifact
        with naming(version.ref if variant is None else variant.ref):
            folder = materialise(self._blobs, artifact, self.home.cache)
        choice = plan.Choice(version.name, version.version, artifact.digest, (), default=True)
        model = plan.served(version, str(folder), choice, variant)
        return package(self.home, version, model, asked, progress or _quiet)

    def resolve(
        self, refs: Sequence[str], want: str = SOURCE, say: Progress | None = None
    ) -> ServedList:
        """The list for a server of these references on this machine: see `Resolver.resolve`."""
        return self._resolver.resolve(refs, want, None, say)

    def desired(self, previous: ServedList | None = None, want: str = SOURCE) -> ServedList:
        """The list that `up` serves: `previous` itself where nothing changed, else one after it.

        Versions whose bytes are damaged are left out, and logged once.
        """
        return self._resolver.desired(previous, want)


def os_user() -> str:
    """The user of this process, by name where there is one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _publication(request: ImportRequest) -> Publication:
    return Publication(
        name=request.name,
        folder=request.file,
        format="",
        signature=Signature((), ()),
        lineage=Lineage(parent=request.parent),
        version=request.version,
        bump=request.bump,
        tags=request.tags,
        labels=request.labels,
        alias=request.alias,
    )


def _lineage(request: ImportRequest, candidate: Candidate) -> Lineage:
    return Lineage(
        source_digest=candidate.source_digest,
        source_format=candidate.source_format,
        source_name=candidate.source_name,
        parent=request.parent,
        git_commit=request.git_commit,
        git_branch=request.git_branch,
        run=request.run or candidate.origin.get("run", ""),
        data_digest=request.data_digest or candidate.sample_digest,
    )


def _quiet(_step: str) -> None:
    return None
