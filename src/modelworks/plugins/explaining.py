"""Explains rows by the explainer that knows the model best."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from modelworks.core.errors import MissingExtraError, UnsupportedError
from modelworks.core.seams import Explainer, Explanation
from modelworks.plugins.load import load

AUTO: Final = "auto"
KNOWING: Final = ("linear", "trees")
"""Explainers that read a model's own form; they are exact, and ask it next to nothing."""
ANY: Final = "permutation"
"""The one that needs nothing but the model's answers."""


def explain_by(
    explainer: str,
    predict: Callable[[Any], Any],
    tables: tuple[Any, Any],
    options: Mapping[str, Any],
) -> tuple[Explanation, str, dict[str, str]]:
    """Explain rows.

    Args:
        explainer: name; `auto` = those of `KNOWING` are tried before `ANY`.
        predict: as in `Explainer.explain`.
        tables: rows and background, as there.
        options: as there.

    Returns:
        The explanation, who made it, and why others did not, by name.

    Raises:
        NotFoundError: no such explainer.
        ModelworksError: as `Explainer.explain`.
    """
    passed_over: dict[str, str] = {}
    names = [*KNOWING, ANY] if explainer == AUTO else [explainer]
    for name in names[:-1]:
        found: Explainer = load("explainers", name)()
        try:
            return found.explain(predict, *tables, options), name, passed_over
        except (UnsupportedError, MissingExtraError) as error:
            passed_over[name] = error.message
    last: Explainer = load("explainers", names[-1])()
    return last.explain(predict, *tables, options), names[-1], passed_over
