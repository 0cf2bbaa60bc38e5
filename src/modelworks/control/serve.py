"""Resolves what is to be served into a list of folders on this machine."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from modelworks.blobs.layout import materialise
from modelworks.blobs.store import BlobStore
from modelworks.control import plan
from modelworks.control.forms import Forms, Place, here
from modelworks.core.errors import (
    CorruptError,
    InvalidError,
    ModelworksError,
    NotFoundError,
)
from modelworks.core.graphs import GRAPH
from modelworks.core.model import Alias, ModelVersion
from modelworks.core.native import NATIVE, read_native
from modelworks.core.optimizing.variants import SOURCE, Variant
from modelworks.core.optimizing.wanted import GOALS, check_wanted
from modelworks.core.reference import ModelRef, parse_ref
from modelworks.core.semver import Semver
from modelworks.core.served import ServedList, ServedModel
from modelworks.protocol.graphs import read_graph
from modelworks.registry.pick import run_of
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
        self._forms = Forms(registry)
        self._waiting: dict[str, tuple[float, ModelworksError]] = {}
        self._spoilt: dict[str, float] = {}
        """Digests of variants whose files could not be laid out -> when they are tried again."""
        self._said: set[str] = set()
        self._right: set[str] = set()
        """Digests of the artifacts whose folders this process has seen to be right."""

    def resolve(
        self,
        refs: Sequence[str],
        want: str = SOURCE,
        place: Place | None = None,
        say: Callable[[str], None] | None = None,
    ) -> ServedList:
        """The versions that these references point at now, laid out and ready.

        A bare name is its champion, else its latest. Several versions of one model have one
        default: the one asked for by bare name, else the champion, else the highest.

        Args:
            refs: of versions, or of variants of them.
            want: form of those that name none: `source`, a goal, or the name of a variant.
            place: where they are to run; None = here.
            say: told which form a goal came to, and why.

        Raises:
            InvalidError: no reference, no such form of one, or two forms of one version.
            NotFoundError: no such model, version, alias or variant.
            UnsupportedError: a variant for other hardware, or its engine is not there.
            CorruptError: stored bytes are not what was stored.
        """
        if not refs:
            raise InvalidError("name at least one model to serve", field="refs")
        pointing = _pointing(self._registry.aliases())
        chosen: dict[str, dict[Semver, ModelVersion]] = {}
        asked: dict[str, Semver] = {}
        wants: dict[str, str] = {}
        todo = list(refs)
        for text in todo:
            ref = parse_ref(text, variants=True)
            version = self._registry.show(str(_champion(ref.of_version, pointing)))
            chosen.setdefault(version.name, {})[version.version] = version
            graph = version.artifact.format == GRAPH
            form = check_wanted(ref.variant or (SOURCE if graph else want))
            if wants.setdefault(version.ref, form) != form:
                raise InvalidError(
                    f"{version.ref} is asked for as '{wants[version.ref]}' and as '{form}': one "
                    "server has one form of a version",
                    field="refs",
                )
            if ref.alias is None and ref.version is None:
                asked[version.name] = version.version
            if graph:
                todo += self._members(version, todo)
        models = []
        for name, line in sorted(chosen.items()):
            aliases = pointing.get(name, {})
            default = plan.default_of(line, aliases, asked.get(name))
            for number, version in sorted(line.items()):
                names = tuple(sorted(alias for alias, at in aliases.items() if at == number))
                choice = plan.Choice(
                    name, number, version.artifact.digest, names, number == default
                )
                variant = self.form(version, wants[version.ref], place, say)
                with naming(version.ref):
                    models.append(self._ready(choice, version, variant))
        return ServedList(1, tuple(models))

    def _members(self, version: ModelVersion, known: Sequence[str]) -> list[str]:
        """The models that a graph asks, where they are not on the list as they are written."""
        with naming(version.ref):
            folder = materialise(self._blobs, version.artifact, self._cache)
        known = [ref.partition("#")[0] for ref in known]
        asked = [step.asked for step in read_graph(folder).models()]
        return [ref for ref in dict.fromkeys(asked) if ref not in known]

    def form(
        self,
        version: ModelVersion,
        want: str,
        place: Place | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Variant | None:
        """The form of a version that is meant; None = as it was imported. See `resolve`."""
        found = self._forms.pick(version, want, place or here())
        if say is not None and want in GOALS:
            name = found.variant.name if found.variant else "the form that was imported"
            say(f"{version.ref}: {want} is {name}: {found.why}")
        return found.variant

    def version(self, ref: str) -> ModelVersion:
        """The version that a reference points at now, whatever form it names of it.

        A bare name is its champion, else its latest.

        Raises:
            InvalidError: no such form.
            NotFoundError: no such model, version or alias.
        """
        pointing = _pointing(self._registry.aliases())
        found = parse_ref(ref, variants=True).of_version
        return self._registry.show(str(_champion(found, pointing)))

    def desired(self, previous: ServedList | None, want: str = SOURCE) -> ServedList:
        """What `up` serves, as the next generation of `previous`, or `previous` itself.

        A version whose bytes are damaged is left out, and said once: the others are served. So is
        a damaged variant: its version is then served as it was imported. The folders of the last
        list are hashed once a process, so many seconds of it a call.

        Args:
            previous: the last list.
            want: `source` or a goal.
        """
        until = time.monotonic() + RECHECK_SECONDS
        outlines, aliases = self._registry.outline()
        lines: dict[str, dict[Semver, str]] = {}
        for item in outlines:
            lines.setdefault(item.name, {})[item.version] = item.artifact
        choices = plan.choose(lines, _pointing(aliases))
        forms = self._forms.standing(choices, want)
        known = {(m.name, m.version): m for m in previous.models} if previous else {}
        models = []
        for choice in choices:
            variant = self._unspoilt(forms.get((choice.name, choice.version)))
            before = known.get((choice.name, str(choice.version)))
            right = (variant.artifact.digest if variant else choice.digest) in self._right
            unsure = not right and time.monotonic() < until
            model = None if unsure else self._again(choice, variant, before)
            model = model or self._attempt(choice, variant)
            if model is not None:
                models.append(model)
        return plan.advance(previous, _with_defaults(models))

    def _again(
        self, choice: plan.Choice, variant: Variant | None, before: ServedModel | None
    ) -> ServedModel | None:
        """The entry as it stands in the last list, where nothing about it changed."""
        if before is None or not Path(before.path).is_dir():
            return None
        if before.interpreter and not Path(before.interpreter).exists():
            return None
        form: tuple[str, str, dict[str, str]] = (choice.digest, "", {})
        if variant is not None:
            options = dict(run_of(variant).options)
            form = (variant.artifact.digest, variant.name, options)
        same = (before.aliases, before.default, before.autoload) == (
            choice.aliases,
            choice.default,
            choice.autoload,
        ) and (before.digest, before.variant, before.engine_options) == form
        return before if same else None

    def _attempt(self, choice: plan.Choice, variant: Variant | None) -> ServedModel | None:
        ref = f"{choice.name}:{choice.version}"
        try:
            version = self._registry.show(ref)
        except NotFoundError:
            return None  # deleted since the outline was read
        for form in (variant, None) if variant is not None else (None,):
            try:
                return self._ready(choice, version, form)
            except ModelworksError as error:
                named = ref if form is None else form.ref
                if form is not None:
                    self._spoilt[form.artifact.digest] = time.monotonic() + _PAUSE_S
                if (said := f"{named} is not served: {error.message}") not in self._said:
                    self._said.add(said)
                    _log.error("%s", said)
        return None

    def _unspoilt(self, variant: Variant | None) -> Variant | None:
        """A variant whose files were damaged a moment ago is not looked at with every tick."""
        if variant is None or time.monotonic() < self._spoilt.get(variant.artifact.digest, 0.0):
            return None
        return variant

    def _ready(
        self, choice: plan.Choice, version: ModelVersion, variant: Variant | None = None
    ) -> ServedModel:
        artifact = variant.artifact if variant else version.artifact
        folder = materialise(self._blobs, artifact, self._cache)
        self._right.add(artifact.digest)
        model = plan.served(version, str(folder), choice, variant)
        if variant is not None:
            return model  # no variant runs with its own framework
        return replace(model, interpreter=self._interpreter(version, folder))

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
