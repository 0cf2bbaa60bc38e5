"""A recipe's form as files, not measured and not kept: for machines that are not this one.

What a pass writes for a GPU or a TPU cannot be judged here, so no search takes it; this is how its
files are had all the same.
"""

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from modelworks.control.optimizing.asked import Asked
from modelworks.control.optimizing.place import Place
from modelworks.core.errors import ConflictError, CrashedError, InvalidError, UnavailableError
from modelworks.optimize import data
from modelworks.optimize.applying import Failure


@dataclass(frozen=True, slots=True)
class MadeForm:
    """What was written.

    Attributes:
        folder: with the files.
        format: of them.
        files: names, sorted.
        notes: what the last pass said.
    """

    folder: str
    format: str
    files: tuple[str, ...]
    notes: tuple[str, ...]


def check(asked: Asked, into: Path) -> None:
    """Refuse what cannot be, before any work.

    Raises:
        InvalidError: no recipe, or one with parts.
        ConflictError: `into` is there and not empty.
    """
    if asked.recipe is None or asked.recipe.parts or not asked.recipe.steps:
        raise InvalidError(
            "a recipe with passes is wanted, and none with parts by rows", field="recipe"
        )
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise ConflictError(f"{into} is there: name an empty folder, or one that is not there")


def make(place: Place, into: Path) -> MadeForm:
    """Run the recipe's passes and copy what they leave.

    Args:
        place: of the version and of what is asked.
        into: folder for the files; made here.

    Raises:
        CrashedError: a pass failed or can do nothing with this model.
        UnavailableError: the files cannot be written; none is left.
    """
    asked, version = place.asked, place.version
    assert asked.recipe is not None  # noqa: S101 - checked before
    folder = place.real.materialise(version.ref)
    room = place.work / "rows"
    room.mkdir()
    place.say("preparing rows")
    rows = data.for_passes(version.signature, asked.rows, folder, room)
    with ExitStack() as stack:
        shop = place.shop(stack, folder, rows)
        form = shop.make(asked.recipe, time.monotonic() + asked.goal.budget_s, place.say)
        if isinstance(form, Failure):
            raise CrashedError(f"the recipe's form cannot be made: {form.why}")
        _copy(form.folder, into)
        applied = shop.applied(asked.recipe)
    files = sorted(str(one.relative_to(into)) for one in into.rglob("*") if one.is_file())
    notes = () if applied is None else applied.notes
    return MadeForm(str(into), form.format, tuple(files), notes)


def _copy(folder: Path, into: Path) -> None:
    """All files, or none."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, into, dirs_exist_ok=True)
    except OSError as error:
        shutil.rmtree(into, ignore_errors=True)
        why = error.strerror or str(error)[:80]
        raise UnavailableError(f"the files cannot be written into {into}: {why}") from error
