"""Puts the forms that a run kept into the registry, as variants of the version."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Protocol

from modelworks.control.optimizing.names import names
from modelworks.core import digest
from modelworks.core.errors import ConflictError, UnavailableError
from modelworks.core.model import Artifact, ModelVersion
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.optimizing.variants import Finding, Goal, Measurement, Variant
from modelworks.optimize.forms import Form


class Shelf(Protocol):
    """The verbs of the registry that are needed here."""

    def add_variant(self, variant: Variant, folder: Path) -> Variant:
        """Keep a variant."""
        ...

    def variants(self, ref: str) -> list[Variant]:
        """A version's variants."""
        ...

    def variant(self, ref: str, name: str) -> Variant:
        """One of them."""
        ...


class Shop(Protocol):
    """What is asked of the workshop that made a form."""

    def environment(self, recipe: Recipe) -> dict[str, str]:
        """Versions of the libraries that its passes work with."""
        ...

    def stamped(self, recipe: Recipe) -> Recipe:
        """The recipe with the versions of its passes."""
        ...


def store(
    shelf: Shelf,
    version: ModelVersion,
    finding: Finding,
    form: Form,
    source: Measurement,
    goal: Goal,
    shop: Shop,
) -> Variant:
    """Keep one form under a name that is free; the same form again is the variant it was.

    Raises:
        InvalidError: a figure or a file that cannot be, or too many variants.
        UnavailableError: no name is free; the disk is full.
    """
    assert finding.measured is not None  # noqa: S101 - what is kept was measured
    files = digest.tree(form.folder)
    size = sum((form.folder / name).stat().st_size for name, _ in files)
    variant = Variant(
        model=version.name,
        version=str(version.version),
        name=finding.variant,
        recipe=shop.stamped(finding.recipe),
        artifact=Artifact(digest.of_entries(files), form.format, size, tuple(files)),
        signature=version.signature,
        measurement=finding.measured,
        source=source,
        gates=finding.gates,
        goal=goal,
        environment=shop.environment(finding.recipe),
    )
    first = [finding.variant] if finding.variant else []
    for name in chain(first, names(finding.recipe)):
        try:
            return shelf.add_variant(replace(variant, name=name), form.folder)
        except ConflictError:
            continue
    raise UnavailableError(f"no name is free for {finding.recipe.title}: delete some variants")
