"""Recipes: which passes in which order, and how the result is run. Files to share.

A recipe with the same inputs and the same library versions gives the same bytes, where the
libraries allow it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from modelworks.core import codec, digest
from modelworks.core.by_rows import MOST_PARTS
from modelworks.core.errors import InvalidError

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class RecipeStep:
    """One pass.

    Attributes:
        name: of the pass.
        settings: as given; what is not given is the pass's default.
        keep: operators that stay in float.
        version: of the pass that made the form; 0 = nobody has said so, as in recipes that were
            written by hand.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    version: int = 0

    @property
    def title(self) -> str:
        """`int8_static(method=entropy, 3 in float)`."""
        told = [f"{name}={value}" for name, value in sorted(self.settings.items())]
        told += [f"{len(self.keep)} in float"] if self.keep else []
        return f"{self.name}({', '.join(told)})" if told else self.name


@dataclass(frozen=True, slots=True)
class Execution:
    """How a form is run.

    Attributes:
        engine: entry-point name.
        options: the engine's own settings (`EngineOptions.extra`), sorted by name.
    """

    engine: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """From a version's artifact to a variant.

    Attributes:
        steps: passes in their order; none = the source form, run in another way.
        run: how the result is run.
        parts: recipes whose results lie side by side in one form, of which a call takes one by its
            number of rows (`rows`); their order is that of `rows`.
        rows: up to so many rows the part of the same place is taken; 0 = any number.
        version: of this format.
    """

    steps: tuple[RecipeStep, ...] = ()
    run: Execution = Execution("onnxruntime")
    parts: tuple["Recipe", ...] = ()
    rows: tuple[int, ...] = ()
    version: int = VERSION

    @property
    def id(self) -> str:
        """The same for the same recipe, by whatever versions: twelve hexadecimal digits."""
        text = json.dumps(codec.encode(self.versioned({})), sort_keys=True)
        return digest.of_bytes(text.encode()).removeprefix(digest.PREFIX)[:12]

    def versioned(self, versions: Mapping[str, int]) -> "Recipe":
        """The same with these versions of its passes, 0 where none is given."""
        steps = tuple(replace(one, version=versions.get(one.name, 0)) for one in self.steps)
        parts = tuple(part.versioned(versions) for part in self.parts)
        return replace(self, steps=steps, parts=parts)

    @property
    def title(self) -> str:
        """`onnx_clean > int8_static @ onnxruntime`."""
        if self.parts:
            inner = "; ".join(
                f"{'more' if not rows else f'to {rows}'}: {part.title}"
                for part, rows in zip(self.parts, self.rows, strict=True)
            )
            return f"by rows ({inner})"
        steps = " > ".join(one.title for one in self.steps) or "as it is"
        options = "".join(f" {name}={value}" for name, value in self.run.options)
        return f"{steps} @ {self.run.engine}{options}"


def read_recipe(text: str) -> Recipe:
    """A recipe as it is written in a file (JSON).

    Raises:
        InvalidError: it is none; `field` says where.
    """
    try:
        recipe = codec.decode(Recipe, json.loads(text))
    except ValueError as error:
        raise InvalidError(f"the recipe is no JSON: {error}", field="recipe") from error
    except RecursionError as error:
        raise InvalidError("the recipe is nested too deeply to be one", field="recipe") from error
    if recipe.version != VERSION:
        raise InvalidError(
            f"the recipe is of version {recipe.version}; this Modelworks reads {VERSION}",
            field="version",
        )
    _check_parts(recipe)
    return recipe


def _check_parts(recipe: Recipe) -> None:
    """Refuse parts that no form by rows can have.

    Raises:
        InvalidError: `field` is `rows`, `parts` or `run`.
    """
    rows, parts = list(recipe.rows), recipe.parts
    if len(parts) != len(rows) or (parts and recipe.steps):
        raise InvalidError("the recipe's rows and parts do not fit each other", field="rows")
    if not parts:
        return
    if rows[-1] != 0 or min(rows[:-1], default=1) < 1 or sorted(set(rows[:-1])) != rows[:-1]:
        raise InvalidError(
            "the recipe's rows have to rise, and the last have to be 0 (any number)", field="rows"
        )
    if len(parts) > MOST_PARTS or any(part.parts for part in parts):
        raise InvalidError(
            f"the recipe has {len(parts)} parts, or parts of parts: at most {MOST_PARTS} without "
            "parts of their own are wanted",
            field="parts",
        )
    if recipe.run != Execution("by_rows"):
        raise InvalidError(
            f"the recipe has parts and names the engine {recipe.run.engine[:40]}: parts are run by "
            "by_rows, which has no options",
            field="run",
        )


def write_recipe(recipe: Recipe) -> str:
    """As `read_recipe` reads it; ends with a newline."""
    return json.dumps(codec.encode(recipe), indent=2, sort_keys=True) + "\n"
