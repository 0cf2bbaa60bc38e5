"""Short names for forms that are kept. Pure."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.optimizing.wanted import RESERVED

_LONGEST: Final = 48
_ODD: Final = re.compile(r"[^a-z0-9]+")
_TIDYING: Final = frozenset({"onnx_clean", "ort_optimize"})


def names(recipe: Recipe) -> Iterator[str]:
    """Names for a form, the best first: `int8-static`, `int8-static-2`..."""
    base = _base(recipe)[:_LONGEST].strip("-")
    if base not in RESERVED:
        yield base
    for number in range(2, 100):
        yield f"{base}-{number}"


def _base(recipe: Recipe) -> str:
    if recipe.parts:
        return "by-rows"
    telling = [step for step in recipe.steps if step.name not in _TIDYING]
    steps = telling or list(recipe.steps[-1:])
    said = {one.name for one, then in pairwise(steps) if then.name.startswith(one.name)}
    steps = [step for step in steps if step.name not in said]
    words = [step.name for step in steps]
    for step in steps:
        words += [str(value) for _, value in sorted(step.settings.items()) if _short(value)]
    if any(step.keep for step in steps):
        words.append("mixed")
    words += [f"{name}-{value}" for name, value in recipe.run.options]
    engine = recipe.run.engine
    if engine != "onnxruntime" and engine not in " ".join(words):
        words.append(engine)
    return _ODD.sub("-", "-".join(words or ["as-it-is"]).lower())


def _short(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 12
