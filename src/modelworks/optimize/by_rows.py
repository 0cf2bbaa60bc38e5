"""Joins forms of a version into one, of which a call takes a part by its number of rows."""

from collections.abc import Sequence
from pathlib import Path

from modelworks.core.by_rows import BY_ROWS, Part, write_by_rows
from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.optimize.forms import Form


def join(forms: Sequence[Form], rows: Sequence[int], into: Path) -> Form:
    """One form of several of the same version.

    Args:
        forms: in the order of `rows`; without parts themselves.
        rows: up to so many rows the form of the same place is taken; they rise, the last is 0.
        into: an empty folder for the result.

    Raises:
        InvalidError: rows and forms do not fit each other.
    """
    if len(forms) != len(rows) or not forms:
        raise InvalidError("as many numbers of rows as forms are wanted", field="rows")
    parts = [
        Part(
            str(form.folder),
            form.format,
            form.recipe.run.engine,
            form.recipe.run.options,
            count,
        )
        for form, count in zip(forms, rows, strict=True)
    ]
    write_by_rows(into, parts)
    recipe = Recipe(
        run=Execution("by_rows"), parts=tuple(form.recipe for form in forms), rows=tuple(rows)
    )
    return Form(recipe, into, BY_ROWS, forms[0].signature)
