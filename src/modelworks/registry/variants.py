"""The verbs of variants: a version's other forms, their files kept like any other."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from modelworks.blobs.layout import materialise
from modelworks.blobs.store import BlobStore
from modelworks.core import codec
from modelworks.core.digest import of_file
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError
from modelworks.core.model import Artifact, ModelVersion
from modelworks.core.optimizing.variants import Variant
from modelworks.core.optimizing.wanted import check_name
from modelworks.core.reference import ModelRef, parse_ref
from modelworks.core.semver import Semver
from modelworks.core.stepped import STEPS, read_stepped
from modelworks.core.tensor import Signature
from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.registry.lookup import Hand, find
from modelworks.registry.store import variants as rows
from modelworks.registry.storing import Storer, files_of

MOST: Final = 64
"""Variants of one version."""


class Variants:
    """Variants of one tenant's versions.

    Args:
        scope: the tenant's rows.
        blobs: where the bytes are.
        cache: where artifacts are laid out.
        hand: who acts.
    """

    def __init__(self, scope: TenantScope, blobs: BlobStore, cache: Path, hand: Hand) -> None:
        self._scope = scope
        self._blobs = blobs
        self._cache = cache
        self._hand = hand
        self._storer = Storer(scope, blobs, hand.clock)

    def add(self, variant: Variant, folder: Path) -> Variant:
        """Keep a variant; the same one again changes nothing.

        Its artifact is what the folder holds. Where the version has steps before its model, their
        files are added, so that the variant takes what callers of the version send.

        Args:
            variant: its artifact says the format; digest, size and files are found here.
            folder: with the model in that form.

        Raises:
            NotFoundError: no such version.
            ConflictError: another variant has that name.
            InvalidError: a name, figure, signature or file that cannot be, or too many variants.
            UnavailableError: disk full, database locked, store out of reach.
        """
        check_name(variant.name)
        _finite(codec.encode(variant), "variant")
        with self._scope.read() as session:
            version = _version(session, variant)
        files = files_of(folder)
        files |= self._steps(version, files)
        if version.signature.steps:  # the model's own inputs are behind them
            variant = replace(variant, signature=version.signature)
        _alike(version, variant)
        made = replace(
            variant,
            created_ns=variant.created_ns or self._hand.clock(),
            actor=variant.actor or self._hand.actor,
        )

        def commit(session: TenantSession, artifact: Artifact) -> Variant:
            return self._commit(session, replace(made, artifact=artifact))

        return self._storer.keep(files, variant.artifact.format, commit)

    def of(self, ref: str) -> list[Variant]:
        """A version's variants, by name; a bare name is the latest version.

        Raises:
            NotFoundError: no such version.
        """
        with self._scope.read() as session:
            version = find(session, parse_ref(ref), "ref")
            return rows.every(session, version.name, version.version)

    def one(self, ref: str, name: str) -> Variant:
        """One variant.

        Raises:
            NotFoundError: no such version or variant.
        """
        with self._scope.read() as session:
            return _found(session, find(session, parse_ref(ref), "ref"), name)

    def outline(self) -> list[rows.VariantOutline]:
        """Every variant in short."""
        with self._scope.read() as session:
            return rows.outline(session)

    def files(self, version: ModelVersion) -> dict[str, list[tuple[str, str]]]:
        """Variant -> (path, file digest) of each of its files, for every one of a version.

        What else is known of them is not read: it need not be whole.
        """
        found: dict[str, list[tuple[str, str]]] = {}
        with self._scope.read() as session:
            for name, path, digest in rows.files(session, version.name, version.version):
                found.setdefault(name, []).append((path, digest))
        return found

    def remove(self, ref: str, name: str) -> Variant:
        """Forget a variant; what was forgotten. Its files go with the next collection.

        Raises:
            NotFoundError: no such version or variant.
        """
        with self._scope.write() as session:
            version = find(session, parse_ref(ref), "ref")
            gone = _found(session, version, name)
            rows.remove(session, version.name, version.version, name)
            self._audit(session, "remove-variant", gone)
        return gone

    def _commit(self, session: TenantSession, made: Variant) -> Variant:
        version = _version(session, made)
        known = rows.get(session, version.name, version.version, made.name)
        if known is not None:
            if _essence(known) == _essence(made):
                return known
            raise ConflictError(
                f"{made.ref} exists and never changes: give the other form another name, or "
                f"remove that one first with `modelworks delete '{made.ref}'`",
                field="name",
            )
        if rows.count(session, version.name, version.version) >= MOST:
            raise InvalidError(
                f"{version.ref} has {MOST} variants, and no more are kept: delete some with "
                f"`modelworks delete '{version.ref}#NAME'`",
                field="name",
            )
        rows.insert(session, made)
        self._audit(session, "add-variant", made)
        return made

    def _audit(self, session: TenantSession, act: str, variant: Variant) -> None:
        told = {"recipe": variant.recipe.title, "artifact": variant.artifact.digest}
        now, actor = self._hand.clock(), self._hand.actor
        rows.audit(session, now, actor, act, f"variant/{variant.ref}", told)

    def _steps(
        self, version: ModelVersion, files: Mapping[str, tuple[Path, str]]
    ) -> dict[str, tuple[Path, str]]:
        """The files of the steps before the version's model, where the form has them not."""
        if STEPS in files or STEPS not in dict(version.artifact.files):
            return {}
        laid = materialise(self._blobs, version.artifact, self._cache)
        stepped = read_stepped(laid)
        names = () if stepped is None else stepped.files
        taken = sorted(set(names) & files.keys())
        if taken:
            raise InvalidError(
                f"{taken[0]} is a file of the steps of {version.ref}: the form's own file must "
                "have another name",
                field="folder",
            )
        return {name: (laid / name, of_file(laid / name)) for name in names}


def _version(session: TenantSession, variant: Variant) -> ModelVersion:
    ref = ModelRef(variant.model, version=Semver.parse(variant.version))
    return find(session, ref, "version")


def _found(session: TenantSession, version: ModelVersion, name: str) -> Variant:
    found = rows.get(session, version.name, version.version, name)
    if found is None:
        every = rows.every(session, version.name, version.version)
        known = ", ".join(one.name for one in every) or "none"
        raise NotFoundError(
            f"{version.ref} has no variant '{name[:80]}'; there are: {known}", field="variant"
        )
    return found


def _essence(variant: Variant) -> tuple[str, str, str]:
    """What makes it another one; a second measurement does not."""
    kind = variant.measurement.hardware.kind
    return variant.artifact.digest, variant.recipe.id, kind


def _alike(version: ModelVersion, variant: Variant) -> None:
    """Refuse a form that other callers than the version's would have to be written for."""
    for side in ("inputs", "outputs"):
        ours, theirs = _names(version.signature, side), _names(variant.signature, side)
        if ours != theirs:
            raise InvalidError(
                f"the form's {side} are {theirs}, and those of {version.ref} are {ours}",
                field="signature",
            )


def _names(signature: Signature, side: str) -> dict[str, str]:
    return {spec.name: spec.datatype.value for spec in getattr(signature, side)}


def _finite(value: Any, where: str) -> None:
    """Refuse figures that no JSON holds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _finite(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _finite(inner, f"{where}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidError(f"{where}: {value} is no figure that can be kept", field=where)
