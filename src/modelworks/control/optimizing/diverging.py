"""Where do a version and another form of it part? A variant, or what a recipe makes."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from modelworks.control.optimizing.asked import Asked
from modelworks.control.optimizing.place import Place, Real
from modelworks.control.optimizing.storing import Shelf
from modelworks.core.errors import NotFoundError, UnsupportedError
from modelworks.core.model import ModelVersion
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.served import ENGINES
from modelworks.core.stepped import read_stepped
from modelworks.evaluation.diverging.found import Parting
from modelworks.optimize import data
from modelworks.optimize.applying import Failure
from modelworks.optimize.diverging.following import parting
from modelworks.optimize.forms import Form, Rows

Say = Callable[[str], None]
MOST: Final = 4096
"""Rows whose outputs are compared, at most."""
_SECONDS: Final = 600.0


class Shown(Real, Protocol):
    """The installation, with the files of variants."""

    def artifact_file(self, ref: str, name: str) -> Path:
        """One file of a version or of a variant, on this machine."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be followed.

    Attributes:
        rows: file; None = they are made up from the signature.
        recipe: makes the second form; None = the variant's files, or the engine's optimizations.
        tolerance: see `optimize.diverging.following.parting`.
        threads: that engines may use.
        seed: of rows that are made up, and of passes.
    """

    rows: Path | None = None
    recipe: Recipe | None = None
    tolerance: float = 0.0
    threads: int = 1
    seed: int = 0


def diverge(
    real: Shown, shelf: Shelf, version: ModelVersion, variant: str, wanted: Wanted, work: Path,
    say: Say,
) -> Parting:  # fmt: skip
    """Follow the imported form of a version and another one.

    Args:
        real: where the version is registered.
        shelf: with its variants.
        version: of both.
        variant: name of the second form; empty = see `Wanted.recipe`.
        wanted: how.
        work: an empty folder.
        say: told how it goes.

    Raises:
        NotFoundError: no such variant, no such file of rows.
        UnsupportedError: a format that nobody can look into; a recipe that cannot be made here.
        ModelworksError: as `parting`.
    """
    if wanted.rows is not None and not wanted.rows.exists():
        raise NotFoundError(f"no file {wanted.rows}", field="rows")
    format_ = version.artifact.format
    if format_ not in ENGINES:
        raise UnsupportedError(f"{version.ref} is a {format_} model: nobody can look inside")
    say("preparing rows")
    folder = real.materialise(version.ref)
    stepped = read_stepped(folder)
    signature = version.signature if stepped is None else stepped.model
    first = Form(Recipe(run=Execution(ENGINES[format_])), folder, format_, signature)
    place = work / "rows"
    place.mkdir()
    with ExitStack() as stack:
        if wanted.recipe is not None:
            asked = Asked(rows=data.Asked(evaluation=wanted.rows, seed=wanted.seed))
            asked = replace(asked, recipe=wanted.recipe)
            rows = data.prepared(version.signature, asked.rows, folder, place)
            shop = Place(real, shelf, version, asked, work, say).shop(stack, folder, rows)
            made = shop.make(wanted.recipe, time.monotonic() + _SECONDS, say)
            if isinstance(made, Failure):
                raise UnsupportedError(f"no form by that recipe: {made.why}", field="recipe")
            return _parting(first, made, rows.evaluation, wanted, work, say)
        looked = data.plain(version.signature, wanted.rows, folder, place, MOST, wanted.seed)
        second = _second(real, shelf, version, variant, first)
        return _parting(first, second, looked, wanted, work, say)


def _second(
    real: Shown, shelf: Shelf, version: ModelVersion, name: str, first: Form
) -> Form | None:
    """The variant's form; None = the version's own, as its engine optimizes it."""
    if not name:
        return None
    variant = shelf.variant(version.ref, name)
    file = next(name for name, _ in variant.artifact.files)
    at = real.artifact_file(variant.ref, file)
    folder = at.parents[len(PurePosixPath(file).parts) - 1]
    return Form(variant.recipe, folder, variant.artifact.format, first.signature)


def _parting(
    first: Form, second: Form | None, rows: Rows, wanted: Wanted, work: Path, say: Say
) -> Parting:
    into = work / "followed"
    into.mkdir()
    return parting(
        first,
        second,
        rows,
        into,
        tolerance=wanted.tolerance,
        seconds=_SECONDS,
        threads=wanted.threads,
        progress=say,
    )
