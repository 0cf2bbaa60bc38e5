"""Texts with holes: labels and numbers are put in, and nothing is ever computed."""

import math
from collections.abc import Mapping
from functools import lru_cache

from modelworks.protocol.manifest.alerts.fields import holes

_LONGEST = 1000


def filled(template: str, words: Mapping[str, str | float]) -> str:
    """The text; what is not known is `-`, and a label's braces are only text.

    Args:
        template: with holes, checked when it was read.
        words: what goes into them.
    """
    parts = []
    for before, name, form in _parsed(template):
        parts.append(before)
        if name:
            parts.append(_shown(words.get(name, "-"), form))
    text = "".join(parts)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


@lru_cache(maxsize=4096)
def _parsed(template: str) -> tuple[tuple[str, str, str], ...]:
    return tuple(holes(template))


def _shown(value: str | float, form: str) -> str:
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "infinite" if value > 0 else ("-" if math.isnan(value) else "-infinite")
    return format(value, form or ".6g")
