"""Decides what a server serves, from versions and aliases; nothing is read or written here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelworks.core.errors import UnsupportedError
from modelworks.core.model import ModelVersion, Verdict
from modelworks.core.optimizing.variants import Variant
from modelworks.core.semver import Semver
from modelworks.core.served import ENGINES, ServedList, ServedModel
from modelworks.registry.pick import run_of

CHAMPION = "champion"
"""The alias that answers a bare name, where a model has it."""

MAX_LISTED = 256
"""Versions in the list of `up`; an older line of aliases beyond that is left out."""

MAX_AUTOLOADED = 64
"""Versions that `up` loads at start; the others load on request."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One version to serve.

    Attributes:
        name: of the model.
        version: its number.
        digest: of its artifact.
        aliases: that point at it, sorted.
        default: answers requests that name no version.
        autoload: load at start.
    """

    name: str
    version: Semver
    digest: str
    aliases: tuple[str, ...]
    default: bool
    autoload: bool = True


def default_of(
    versions: Iterable[Semver], aliases: Mapping[str, Semver], wanted: Semver | None = None
) -> Semver:
    """Which of some versions of one model is the default.

    The one asked for by bare name, else the champion, else the highest.
    """
    found = set(versions)
    for choice in (wanted, aliases.get(CHAMPION)):
        if choice is not None and choice in found:
            return choice
    return max(found)


def choose(
    lines: Mapping[str, Mapping[Semver, str]], aliases: Mapping[str, Mapping[str, Semver]]
) -> list[Choice]:
    """What `up` serves: each model's champion or latest, and every version with an alias.

    Args:
        lines: model -> version -> artifact digest.
        aliases: model -> alias -> version.

    Returns:
        At most `MAX_LISTED`, by name and version; defaults are never left out for others.
    """
    defaults: list[Choice] = []
    others: list[Choice] = []
    for name, line in sorted(lines.items()):
        pointing = aliases.get(name, {})
        default = default_of(line, pointing)
        for version in sorted({default, *pointing.values()} & line.keys()):
            names = tuple(sorted(alias for alias, at in pointing.items() if at == version))
            choice = Choice(name, version, line[version], names, version == default)
            (defaults if choice.default else others).append(choice)
    listed = (defaults + others)[:MAX_LISTED]
    capped = [
        Choice(c.name, c.version, c.digest, c.aliases, c.default, position < MAX_AUTOLOADED)
        for position, c in enumerate(listed)
    ]
    return sorted(capped, key=lambda choice: (choice.name, choice.version))


def served(
    version: ModelVersion, path: str, choice: Choice, variant: Variant | None = None
) -> ServedModel:
    """A chosen version as the server's list has it.

    Args:
        version: of the registry.
        path: where its artifact, or the variant's, is laid out.
        choice: its place.
        variant: the form that is served; None = as it was imported.

    Raises:
        UnsupportedError: no engine serves the format.
    """
    artifact = version.artifact if variant is None else variant.artifact
    run = None if variant is None else run_of(variant)
    engine = ENGINES.get(artifact.format) if run is None else run.engine
    if engine is None:
        raise UnsupportedError(f"{version.ref}: no engine serves the format '{artifact.format}'")
    return ServedModel(
        name=version.name,
        version=str(version.version),
        path=path,
        digest=artifact.digest,
        format=artifact.format,
        engine=engine,
        signature=version.signature if variant is None else variant.signature,
        default=choice.default,
        aliases=choice.aliases,
        autoload=choice.autoload,
        trusted=trusted(version),
        variant="" if variant is None else variant.name,
        engine_options={} if run is None else dict(run.options),
    )


def trusted(version: ModelVersion) -> bool:
    """Whether its owner vouched for the very bytes that it was made from."""
    return any(
        item.kind == "trust"
        and item.verdict is Verdict.ACCEPTED
        and item.detail.get("digest") == version.lineage.source_digest != ""
        for item in version.evidence
    )


def advance(previous: ServedList | None, models: Sequence[ServedModel]) -> ServedList:
    """The list after `previous`: the same one where nothing changed, else one generation on."""
    if previous is not None and previous.models == tuple(models):
        return previous
    generation = 1 if previous is None else previous.generation + 1
    return ServedList(generation, tuple(models))
