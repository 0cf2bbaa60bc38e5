"""Answers beside the stable arm's, where traffic was copied: the part of the page about them."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from modelworks.control.rollouts.report.figures import NONE, share
from modelworks.measure.page import listed, table

_MOST: Final = 20


def html(copies: Mapping[str, Any]) -> str:
    """Disagreement, flips and the worst examples of each candidate; empty where nothing was copied.

    Args:
        copies: see `gathering.copies.report_of`.
    """
    if not copies:
        return ""
    parts = ["<h2>Answers beside the stable ones</h2>"]
    for arm, one in copies.items():
        parts += [f"<h3>{escape(arm)}</h3>", listed(_lines(one))]
        flips = [[str(cell) for cell in flip] for flip in one["flips"]]
        if flips:
            parts.append(table(("stable said", "candidate said", "pairs"), flips))
        worst = [
            [example["id"], _apart(example), example["stable"], example["candidate"] or NONE]
            for example in one["worst"][:_MOST]
        ]
        if worst:
            parts.append("<p>The pairs that are farthest apart:</p>")
            parts.append(table(("request", "apart", "stable", "candidate"), worst))
    return "".join(parts)


def _apart(example: Mapping[str, Any]) -> str:
    return "no answer" if example["distance"] is None else f"{example['distance']:.4g}"


def _lines(one: Mapping[str, Any]) -> list[str]:
    found = [
        one["sentence"],
        (
            f"{one['count']:,} pairs, {share(one['agreement'])} agree ({share(one['low'])} to "
            f"{share(one['high'])}, at all times); copies without an answer: {one['missing']:,}"
        ),
    ]
    if one["rank_correlation"] is not None:
        found.append(f"rank correlation of the first pairs: {one['rank_correlation']:.3f}")
    if one["confidence_shift"] is not None:
        found.append(f"surer of the same labels by {one['confidence_shift']:+.3f} on average")
    return found
