"""What `explain` says: a line a row, importance, changes; as text and as a page."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelworks.core import codec

if TYPE_CHECKING:
    from modelworks.control.explaining.service import Explained
    from modelworks.monitor.explain.importance import Change, Importance
    from modelworks.stats.intervals import Estimate

_SHOWN = 3
Table = tuple[Sequence[str], list[list[str]]]


def chosen(found: "Explained", row: int) -> int:
    """The class that a row is explained for: the one it gets."""
    return int(found.answers[row].argmax()) if found.values.shape[2] > 1 else 0


def of_rows(found: "Explained", most: int) -> Table:
    """The largest values of each row, for the class that it gets."""
    rows = []
    for number in range(min(most, len(found.values))):
        place = chosen(found, number)
        values = found.values[number, :, place]
        order = sorted(range(len(values)), key=lambda i: -abs(values[i]))[:_SHOWN]
        parts = [f"{found.features[i]} {values[i]:+.4g}" for i in order]
        answer = f"{found.answers[number][place]:.4g}"
        label = str(found.classes[place]) if found.classes else ""
        rows.append([str(number), label, answer, f"{found.base[place]:.4g}", ", ".join(parts)])
    return ("row", "label", "answer", "base", "what did most"), rows


def of_importance(found: "Sequence[Importance]", most: int) -> Table:
    """Features by size."""
    return ("feature", "mean |value|", "95 % interval", "direction"), [
        [one.feature, f"{one.size.value:.4g}", interval(one.size), f"{one.direction.value:+.4g}"]
        for one in found[:most]
    ]


def of_changes(found: "Sequence[Change]", most: int) -> Table:
    """Features by change."""
    return ("feature", "before", "now", "change", "95 % interval, all together", "clear"), [
        [
            *(one.feature, f"{one.before.value:.4g}", f"{one.now.value:.4g}"),
            *(f"{one.change.value:+.4g}", interval(one.change), "yes" if one.clear else "no"),
        ]
        for one in found[:most]
    ]


def interval(found: "Estimate") -> str:
    """`0.12 to 0.31`; a dash where too few rows are there."""
    return "-" if math.isnan(found.low) else f"{found.low:.4g} to {found.high:.4g}"


def how_made(found: "Explained") -> str:
    """One line: by whom, exact or not, under which link."""
    exact = "exact" if found.errors is None else "sampled, with standard errors"
    link = {
        "": "on the scale of the answer",
        "logit": "on the scale of log-odds",
        "log": "on the logarithm of the answer",
        "softmax": "on the scale of the scores before softmax",
    }[found.link]
    return (
        f"explainer {found.explainer} ({exact}), {link}; {len(found.values)} rows, of which "
        f"{found.known} were known; {found.calls} calls"
    )


def document(
    found: "Explained", important: "Sequence[Importance]", changed: "Sequence[Change] | None"
) -> dict[str, Any]:
    """Everything, for `--json`."""
    told = {
        "explainer": found.explainer,
        "passed_over": dict(found.passed_over),
        "features": list(found.features),
        "classes": list(found.classes),
        "link": found.link,
        "additive": found.additive,
        "base": found.base.tolist(),
        "answers": found.answers.tolist(),
        "values": found.values.tolist(),
        "errors": None if found.errors is None else found.errors.tolist(),
        "calls": found.calls,
        "known": found.known,
        "importance": codec.encode(list(important)),
        "changes": None if changed is None else codec.encode(list(changed)),
    }
    return dict(finite(told))


def finite(value: Any) -> Any:
    """The same with null where a number is none: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
