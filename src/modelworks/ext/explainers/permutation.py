"""Shapley values of any model: by enumeration where that is affordable, else by permutations.

A feature that is not known takes the value of a background row, and the answers over the background
are averaged (the interventional form). A walk goes from a background row to the explained one,
feature by feature in a random order, and back in the same order (antithetic, Mitchell et al. 2022,
"Sampling Permutations for Shapley Value Estimation"): each step is what a feature did. Every row of
the background is walked from equally often, so that the values sum up exactly.
"""

from collections.abc import Callable, Mapping
from math import factorial
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.seams import Explanation
from modelworks.ext.explainers.asked import Asked, Counted, shaped

_WIDEST: Final = 16  # features that are enumerated at most
_MOST: Final = 100  # rows of the background at most
_AT_ONCE: Final = 1 << 16  # numbers that are mixed together: a server's loop waits meanwhile


class PermutationExplainer:
    """See `core.seams.Explainer`: exact for few features, with standard errors for many."""

    name: ClassVar[str] = "permutation"
    extra: ClassVar[str] = ""
    experimental: ClassVar[bool] = False

    def explain(
        self,
        predict: Callable[[Any], Any],
        rows: Any,
        background: Any,
        options: Mapping[str, Any],
    ) -> Explanation:
        """See `Explainer.explain`; at most 100 rows of the background are used, drawn by `seed`."""
        asked, model = Asked.of(rows, background, options), Counted(predict)
        width = asked.rows.shape[1]
        rng = np.random.default_rng(asked.seed)
        kept = _drawn(asked.background, _MOST, rng)
        errors: Any = None
        if width == 1:
            base = model(kept).mean(axis=0)
            values = (model(asked.rows) - base)[:, None, :]
        elif width <= _WIDEST and len(kept) << width <= asked.samples:
            base, values = _enumerated(model, asked.rows, kept)
        else:
            walks = max(1, asked.samples // (2 * width))
            kept = _drawn(kept, walks, rng)
            walk = _Walk(width, np.tile(kept, (max(1, walks // len(kept)), 1)), rng)
            ends = model(kept)
            base = ends.mean(axis=0)
            starts = np.tile(ends, (len(walk.places) // len(kept), 1))
            found = [walk.explain(model, row, starts) for row in asked.rows]
            values = np.stack([value for value, _ in found])
            errors = np.stack([error for _, error in found])
        return Explanation(
            asked.features,
            shaped(base, flat=model.flat),
            shaped(values, flat=model.flat),
            None if errors is None else shaped(errors, flat=model.flat),
            calls=model.calls,
        )


def _drawn(rows: Any, most: int, rng: Any) -> Any:
    """At most so many rows, in their order."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(rng.choice(len(rows), most, replace=False))]


def _enumerated(model: Counted, rows: Any, background: Any) -> tuple[Any, Any]:
    """Base and values from every coalition of the features (Shapley 1953)."""
    width = rows.shape[1]
    every = np.arange(1 << width)
    masks = (every[:, None] >> np.arange(width)) & 1 == 1
    sizes = masks.sum(axis=1)
    weight = np.array(
        [factorial(k) * factorial(width - k - 1) / factorial(width) for k in range(width)]
    )
    step = max(1, _AT_ONCE // (len(background) * width))
    values = []
    base: Any = model(background).mean(axis=0)
    for row in rows:
        worth = np.concatenate(
            [
                _worth(model, row, background, masks[at : at + step])
                for at in range(0, len(masks), step)
            ]
        )
        shares = []
        for feature in range(width):
            without = every[~masks[:, feature]]
            gain = worth[without | 1 << feature] - worth[without]
            shares.append(weight[sizes[without]] @ gain)
        values.append(np.stack(shares))
    return base, np.stack(values)


def _worth(model: Counted, row: Any, background: Any, masks: Any) -> Any:
    """The mean answer over the background with the features of each mask known."""
    mixed = np.where(masks[:, None, :], row, background)
    answers = model(mixed.reshape(-1, len(row)))
    return answers.reshape(len(masks), len(background), -1).mean(axis=1)


class _Walk:
    """Random orders, the same for every row, so that a row's values do not hang on its neighbours.

    Args:
        width: features.
        starts: background rows to walk from, one a walk.
        rng: draws the orders.

    Attributes:
        places: walks x features: the place of each feature in the walk's order.
    """

    def __init__(self, width: int, starts: Any, rng: Any) -> None:
        orders = rng.permuted(np.tile(np.arange(width), (len(starts), 1)), axis=1)
        self.places = np.argsort(orders, axis=1)
        self._starts = starts
        self._steps = np.arange(1, width)[None, :, None]

    def explain(self, model: Counted, row: Any, begun: Any) -> tuple[Any, Any]:
        """Values of one row and their standard errors, features x classes.

        Args:
            model: that is asked.
            row: that is explained.
            begun: the answers to the starts.
        """
        ended = model(row[None])
        there = self._gains(model, row, begun, ended, self.places)
        back = self._gains(model, row, begun, ended, len(row) - 1 - self.places)
        gains = (there + back) / 2
        count = len(gains)
        if count < 2:
            return gains[0], np.full(gains.shape[1:], np.nan)
        return gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(count)

    def _gains(self, model: Counted, row: Any, begun: Any, ended: Any, places: Any) -> Any:
        """Walks x features x classes: what each feature's step changed."""
        count, width = places.shape
        step = max(1, _AT_ONCE // (width * width))
        parts = []
        for at in range(0, count, step):
            known = places[at : at + step, None, :] < self._steps
            mixed = np.where(known, row, self._starts[at : at + step, None, :])
            answers = model(mixed.reshape(-1, width))
            parts.append(answers.reshape(len(known), width - 1, -1))
        middle = np.concatenate(parts)
        last = np.broadcast_to(ended, (count, 1, ended.shape[1]))
        path = np.concatenate([begun[:, None, :], middle, last], axis=1)
        steps = np.diff(path, axis=1)
        return np.take_along_axis(steps, places[:, :, None], axis=1)
