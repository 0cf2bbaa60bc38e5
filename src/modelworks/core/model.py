"""Models, versions, aliases and what is known of them."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from modelworks.core.semver import Semver
from modelworks.core.tensor import Signature

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Artifact:
    """Immutable bytes, named by what they contain.

    Attributes:
        digest: `sha256:<hex>` over the canonical file tree (`core.digest`).
        format: what is inside: `onnx`, `sklearn-joblib`, ...
        size: bytes of all files together.
        files: (posix path, file digest), sorted.
    """

    digest: str
    format: str
    size: int
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from; empty strings are unknown.

    Attributes:
        source_digest: digest of the file that was imported.
        source_format: its format.
        source_name: its file name, without folders.
        parent: `name:version` this one was made from, if any.
        git_commit: of the folder the import ran in (`-dirty` appended where it was).
        git_branch: the same.
        run: the training run, as the user named it.
        data_digest: of the training data, as given, or of the sample file.
        actor: who imported it.
    """

    source_digest: str = ""
    source_format: str = ""
    source_name: str = ""
    parent: str = ""
    git_commit: str = ""
    git_branch: str = ""
    run: str = ""
    data_digest: str = ""
    actor: str = ""


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    ACCEPTED = "accepted"  # failed, and the owner accepted it: recorded
    SKIPPED = "skipped"  # could not be made; `summary` says why


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was checked when a version came in, or later (`replay`, `drill`, `optimized`).

    Attributes:
        kind: `parity`, `sandbox`, `scan`, `trust`, `sample`, `environment`, `signature`, `origin`,
            `conversion`, `replay`, `drill`, `optimized`.
        verdict: how it ended.
        summary: one line for people.
        detail: the whole report, JSON values.
    """

    kind: str
    verdict: Verdict
    summary: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable member of a model's line.

    Tags and labels may change afterwards; what is found of it later is added to its evidence.
    """

    tenant: str
    name: str
    version: Semver
    artifact: Artifact
    signature: Signature
    lineage: Lineage
    evidence: tuple[Evidence, ...]
    created_ns: int
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable pointer at a version."""

    name: str
    version: Semver
    since_ns: int


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One row of an alias's history. `version` None: it was removed."""

    model: str
    alias: str
    version: Semver | None
    previous: Semver | None
    at_ns: int
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model's line in a list."""

    name: str
    versions: int
    latest: Semver
    aliases: tuple[Alias, ...]
    updated_ns: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which two versions differ."""

    field: str
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions side by side; equal fields are left out."""

    left: str
    right: str
    differences: tuple[Difference, ...]
    compatible: bool  # callers of `left` are served by `right`


@dataclass(frozen=True, slots=True)
class Verification:
    """A version's stored bytes against their digests."""

    ref: str
    ok: bool
    files: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """What garbage collection removed."""

    blobs: int
    bytes: int
