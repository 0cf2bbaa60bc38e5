"""Declared slices: each has to keep its quality, and no claim about one is made too lightly."""

from collections.abc import Iterator, Mapping
from typing import Any

from modelworks.evaluation.slices import FEWEST
from modelworks.optimize.quality import Drop, Pair, drop
from modelworks.stats.multiple import holm


def held(
    metric: str, pair: Pair, slices: Mapping[str, Any], limit: float, error: float
) -> Iterator[tuple[str, Drop | None, str]]:
    """Test every slice; the chance that any is passed whose drop is the limit or more is `error`.

    That is Holm's procedure over the slices. A form passes only when all do, for which tests at
    the whole level would be enough: Holm makes each single claim true too.

    Yields:
        The slice's name, its drop (None = too few rows to be looked at), and "" where it is held or
        else why not.
    """
    found: dict[str, Drop] = {}
    for name, rows in slices.items():
        if len(rows) >= FEWEST:
            level = error / max(1, sum(len(part) >= FEWEST for part in slices.values()))
            found[name] = drop(metric, pair, rows, limit, level)
    adjusted = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
    for name, rows in slices.items():
        if name not in found:
            why = f"{name}: {len(rows)} rows, fewer than {FEWEST}: it is not judged"
            yield name, None, why
        elif adjusted[name] <= error:
            yield name, found[name], ""
        else:
            yield name, found[name], "missed"
