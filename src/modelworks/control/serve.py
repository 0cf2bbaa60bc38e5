"""Resolves what is to be served into a list of folders on this machine."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from modelworks.blobs.layout import materialise
from modelworks.blobs.store import BlobStore
from modelworks.control import plan
from modelworks.core.errors import (
    CorruptError,
    InvalidError,
    ModelworksError,
    NotFoundError,
)
from modelworks.core.model import Alias, ModelVersion
from modelworks.core.native import NATIVE, read_native
from modelworks.core.reference import ModelRef, parse_ref
from modelworks.core.semver import Semver
from modelworks.core.served import ServedList, ServedModel
from modelworks.registry.service import Registry
from modelworks.sandbox.environments import make

_log = logging.getLogger(__name__)

RECHECK_SECONDS = 20.0
"""How long one look may hash what a process before this one has laid out."""
_PAUSE_S = 60.0


class Resolver:
    """Turns references, or the whole registry, into a served list.

    Args:
        registry: of one tenant.
        blobs: where the bytes are.
        cache: where artifacts are laid out.
        environments: where those that native models need are kept.
    """

    def __init__(
        self, registry: Registry, blobs: BlobStore, cache: Path, environments: Path
    ) -> None:
        self._registry = registry
        self._blobs = blobs
        self._cache = cache
        self._environments = environments
        self._waiting: dict[str, tuple[float, ModelworksError]] = {}
        self._said: set[str] = set()
        self._right: set[str] = set()
        """Digests of the artifacts whose folders this process has seen to be right."""

    def resolve(self, refs: Sequence[str]) -> ServedList:
        """The versions that these references point at now, laid out and ready.

        A bare name is its champion, else its latest. Several versions of one model have one
        default: the one asked for by bare name, else the champion, else the highest.

        Raises:
            InvalidError: no reference, or no such form.
            NotFoundError: no such model, version or alias.
            CorruptError: stored bytes are not what was stored.
        """
        if not refs:
            raise InvalidError("name at least one model to serve", field="refs")
        pointing = _pointing(self._registry.aliases())
        chosen: dict[str, dict[Semver, ModelVersion]] = {}
        asked: dict[str, Semver] = {}
        for text in refs:
            ref = parse_ref(text)
            version = self._registry.show(str(_champion(ref, pointing)))
            chosen.setdefault(version.name, {})[version.version] = version
            if ref.alias is None and ref.version is None:
                asked[version.name] = version.version
        models = []
        for name, line in sorted(chosen.items()):
            aliases = pointing.get(name, {})
            default = plan.default_of(line, aliases, asked.get(name))
            for number, version in sorted(line.items()):
                names = tuple(sorted(alias for alias, at in aliases.items() if at == number))
                choice = plan.Choice(
                    name, number, version.artifact.digest, names, number == default
                )
                with naming(version.ref):
                    models.append(self._ready(choice, version))
        return ServedList(1, tuple(models))

    def version(self, ref: str) -> ModelVersion:
        """The version that a reference points at now; a bare name is its champion, else its latest.

        Raises:
            InvalidError: no such form.
            NotFoundError: no such model, version or alias.
        """
        pointing = _pointing(self._registry.aliases())
        return self._registry.show(str(_champion(parse_ref(ref), pointing)))

    def desired(self, previous: ServedList | None) -> ServedList:
        """What `up` serves, as the next generation of `previous`, or `previous` itself.

        A version whose bytes are damaged is left out, and said once: the others are served. The
        folders of the last list are hashed once a process, so many seconds of it a call.
        """
        until = time.monotonic() + RECHECK_SECONDS
        outlines, aliases = self._registry.outline()
        lines: dict[str, dict[Semver, str]] = {}
        for item in outlines:
            lines.setdefault(item.name, {})[item.version] = item.artifact
        choices = plan.choose(lines, _pointing(aliases))
        known = {(m.name, m.version, m.digest): m for m in previous.models} if previous else {}
        models = []
        for choice in choices:
            before = known.get((choice.name, str(choice.version), choice.digest))
            unsure = choice.digest not in self._right and time.monotonic() < until
            model = (None if unsure else self._again(choice, before)) or self._attempt(choice)
            if model is not None:
                models.append(model)
        return plan.advance(previous, _with_defaults(models))

    def _again(self, choice: plan.Choice, before: ServedModel | None) -> ServedModel | None:
        """The entry as it stands in the last list, where nothing about it changed."""
        if before is None or not Path(before.path).is_dir():
            return None
        if before.interpreter and not Path(before.interpreter).exists():
            return None
        same = (before.aliases, before.default, before.autoload) == (
            choice.aliases,
            choice.default,
            choice.autoload,
        )
        return before if same else None

    def _attempt(self, choice: plan.Choice) -> ServedModel | None:
        ref = f"{choice.name}:{choice.version}"
        try:
            version = self._registry.show(ref)
        except NotFoundError:
            return None  # deleted since the outline was read
        try:
            return self._ready(choice, version)
        except ModelworksError as error:
            if (said := f"{ref} is not served: {error.message}") not in self._said:
                self._said.add(said)
                _log.error("%s", said)
            return None

    def _ready(self, choice: plan.Choice, version: ModelVersion) -> ServedModel:
        folder = materialise(self._blobs, version.artifact, self._cache)
        self._right.add(version.artifact.digest)
        return replace(
            plan.served(version, str(folder), choice),
            interpreter=self._interpreter(version, folder),
        )

    def _interpreter(self, version: ModelVersion, folder: Path) -> str:
        """As `interpreter`; what failed a moment ago is not tried again with every tick."""
        until, error = self._waiting.get(version.artifact.digest, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error
        try:
            return interpreter(version, folder, self._environments)
        except ModelworksError as failed:
            self._waiting[version.artifact.digest] = (time.monotonic() + _PAUSE_S, failed)
            raise


@contextmanager
def naming(ref: str) -> Iterator[None]:
    """Say of which version a file is damaged or gone."""
    try:
        yield
    except (CorruptError, NotFoundError) as error:
        raise type(error)(f"{ref}: {error.message}", field=error.field) from error


def interpreter(version: ModelVersion, folder: Path, environments: Path) -> str:
    """Python of the environment that a native version needs, made where it is not there.

    Empty for what runs in the server's own. Without the owner's word nothing is installed: the
    server then says that the version is not trusted.

    Raises:
        InvalidError: there is no such environment to be had.
        UnavailableError: it cannot be made now.
    """
    if version.artifact.format != NATIVE or not plan.trusted(version):
        return ""
    lines = read_native(folder).requirements
    return str(make(lines, environments, _log.info)) if lines else ""


def _champion(ref: ModelRef, pointing: Mapping[str, Mapping[str, Semver]]) -> ModelRef:
    if ref.alias is None and ref.version is None:
        return ModelRef(ref.name, version=pointing.get(ref.name, {}).get(plan.CHAMPION))
    return ref


def _pointing(aliases: Mapping[str, Iterable[Alias]]) -> dict[str, dict[str, Semver]]:
    return {name: {a.name: a.version for a in found} for name, found in aliases.items()}


def _with_defaults(models: list[ServedModel]) -> list[ServedModel]:
    """Models without those whose default is missing: a list without a default is no list."""
    whole = {model.name for model in models if model.default}
    return [model for model in models if model.name in whole]
