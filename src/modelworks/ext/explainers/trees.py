"""Exact Shapley values of trees, from the nodes that a served model is made of.

The interventional form of TreeSHAP (Lundberg et al. 2020, "From local explanations to global
understanding with explainable AI for trees", Algorithm 3), taken by leaves and not by walks: of a
leaf it matters only which of the features on its way the explained row satisfies, and which a
background row does; both are a few bits. The background is counted by these bits once (Nadel and
Wettenstein 2025, "From Decision Trees to Boolean Logic: A Fast and Unified SHAP Algorithm").
"""

from collections.abc import Callable, Mapping
from functools import cache
from math import factorial
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import UnsupportedError
from modelworks.core.seams import Explanation
from modelworks.ext.explainers.asked import Asked, Counted, shaped
from modelworks.ext.explainers.ensemble import KINDS, Ensemble, Leaves
from modelworks.ext.explainers.graph import deciding
from modelworks.ext.explainers.links import linked

_TABLED: Final = 6  # features of a leaf whose every pair of patterns stands in a table
_AT_ONCE: Final = 1 << 22  # numbers that are looked at together


class TreesExplainer:
    """See `core.seams.Explainer`: exact, for ensembles of trees that are served as ONNX."""

    name: ClassVar[str] = "trees"
    extra: ClassVar[str] = "platform"
    experimental: ClassVar[bool] = False

    def explain(
        self,
        predict: Callable[[Any], Any],
        rows: Any,
        background: Any,
        options: Mapping[str, Any],
    ) -> Explanation:
        """See `Explainer.explain`; the model is asked only whether the trees are its own."""
        asked, model = Asked.of(rows, background, options), Counted(predict)
        node = deciding(asked.artifact, KINDS)
        ensemble = Ensemble(node)
        if ensemble.widest > asked.rows.shape[1]:
            raise UnsupportedError("the trees ask more features than there are", field="artifact")
        answers = np.concatenate([model(asked.rows), model(asked.background)])
        held = ensemble.tests(node.before(np.concatenate([asked.rows, asked.background])))
        count, width = asked.rows.shape
        scores = np.tile(ensemble.offset + ensemble.bare, (len(held), 1))
        values = np.zeros((count, width, scores.shape[1]))
        for leaves in ensemble.groups():
            codes = _codes(held, leaves)
            full = (1 << leaves.features.shape[1]) - 1
            scores += (codes == full) @ leaves.scores
            _add(values, leaves, codes[:count], codes[count:])
        link = linked(scores, answers)
        return Explanation(
            asked.features,
            shaped(link.base(scores[count:].mean(axis=0)), flat=model.flat),
            shaped(link.values(node.ordered(values)), flat=model.flat),
            calls=model.calls,
            link=link.name,
        )


def _codes(held: Any, leaves: Leaves) -> Any:
    """Rows x leaves: which features of a leaf's way a row satisfies, a bit each."""
    depth = leaves.features.shape[1]
    bits = 1 << np.arange(depth)
    step = max(1, _AT_ONCE // max(1, len(leaves.nodes)))
    parts = []
    for at in range(0, len(held), step):
        good = held[at : at + step, leaves.nodes] == leaves.taken
        satisfied = np.logical_and.reduceat(good, leaves.starts, axis=1)
        parts.append(satisfied.reshape(len(good), -1, depth) @ bits)
    return np.concatenate(parts)


def _add(values: Any, leaves: Leaves, rows: Any, background: Any) -> None:
    """Add what these leaves do to the rows' values (rows x features x scores)."""
    depth = leaves.features.shape[1]
    sums = _Sums(leaves)
    table = _counted(leaves, background) if depth <= _TABLED else None
    step = max(1, _AT_ONCE // (leaves.features.size or 1))
    for at in range(0, len(rows), step):
        codes = rows[at : at + step]
        if table is not None:
            shares = table[np.arange(codes.shape[1]), codes]
        else:
            shares = np.stack([_shares(code, background, depth) for code in codes])
        sums.into(values[at : at + step], shares)


class _Sums:
    """Adds shares by leaf and bit up to values by feature and score."""

    def __init__(self, leaves: Leaves) -> None:
        flat = leaves.features.ravel()
        self._order = np.argsort(flat, kind="stable")
        self._features, self._starts = np.unique(flat[self._order], return_index=True)
        weights = np.repeat(leaves.scores, leaves.features.shape[1], axis=0)
        self._weights = weights[self._order]

    def into(self, values: Any, shares: Any) -> None:
        """Add `shares` (rows x leaves x bits)."""
        sorted_shares = shares.reshape(len(shares), -1)[:, self._order]
        for score, weights in enumerate(self._weights.T):
            found = np.add.reduceat(sorted_shares * weights, self._starts, axis=1)
            values[:, self._features, score] += found


def _counted(leaves: Leaves, background: Any) -> Any:
    """Leaves x patterns of a row x bits: a leaf's shares, averaged over the background."""
    count, depth = leaves.features.shape
    patterns = 1 << depth
    places = np.arange(count) * patterns + background
    counts = np.bincount(places.ravel(), minlength=count * patterns).reshape(count, patterns)
    weights = _pairs(depth)
    table = (counts / len(background)) @ weights.reshape(patterns, -1)
    return table.reshape(count, patterns, depth)


@cache
def _pairs(depth: int) -> Any:
    """Patterns of a background row x patterns of a row x bits: a leaf's shares, a score of 1."""
    every = np.arange(1 << depth)
    return _weighed(every[None, :], every[:, None], depth)


def _shares(code: Any, background: Any, depth: int) -> Any:
    """Leaves x bits: one row's shares, averaged over the background."""
    known = np.broadcast_to(code, background.shape)
    alive = (known | background) == (1 << depth) - 1
    there, leaf = np.nonzero(alive)
    found = _weighed(known[there, leaf], background[there, leaf], depth)
    shares = np.zeros((len(code), depth))
    for bit in range(depth):
        shares[:, bit] = np.bincount(leaf, found[:, bit], minlength=len(code))
    return shares / len(background)


def _weighed(rows: Any, background: Any, depth: int) -> Any:
    """Shares of each bit where a row and a background row have these patterns.

    The leaf is reached by a mixture that takes from the row all that only the row satisfies (p
    features) and nothing that only the background does (q features).
    """
    mine, theirs = rows & ~background, background & ~rows
    gain, loss = _factors(depth)
    p, q = np.bitwise_count(mine), np.bitwise_count(theirs)
    alive = (rows | background) == (1 << depth) - 1
    for_me, against = gain[p, q] * alive, loss[p, q] * alive
    bits = np.arange(depth)
    own = (mine[..., None] >> bits) & 1
    others = (theirs[..., None] >> bits) & 1
    return own * for_me[..., None] - others * against[..., None]


@cache
def _factors(depth: int) -> tuple[Any, Any]:
    """(p-1)! q! / (p+q)! and p! (q-1)! / (p+q)!, by p and q; 0 where there is no such feature."""
    gain = np.zeros((depth + 1, depth + 1))
    for p in range(1, depth + 1):
        for q in range(depth + 1 - p):
            gain[p, q] = factorial(p - 1) * factorial(q) / factorial(p + q)
    return gain, gain.T.copy()
