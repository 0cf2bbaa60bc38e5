"""Ensembles of trees as ONNX writes them: what each leaf asks of each feature."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import UnsupportedError
from modelworks.ext.explainers.graph import Node

KINDS: Final = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
_TESTS: Final = {
    "BRANCH_LEQ": np.less_equal,
    "BRANCH_LT": np.less,
    "BRANCH_GTE": np.greater_equal,
    "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal,
    "BRANCH_NEQ": np.not_equal,
}
_LEAF: Final = "LEAF"
_DEEPEST: Final = 62  # different features on the way to a leaf: a bit each
_LEAVES: Final = 2048  # looked at together


@dataclass(frozen=True, slots=True)
class Leaves:
    """Leaves whose ways ask as many different features.

    Attributes:
        features: leaves x depth: which feature a bit is of.
        scores: leaves x scores: what a leaf adds.
        nodes: the tests of all ways behind each other.
        taken: whether the way goes where the test holds.
        starts: where the tests of a leaf and feature begin, leaves * depth of them.
    """

    features: Any
    scores: Any
    nodes: Any
    taken: Any
    starts: Any


class Ensemble:
    """Trees whose leaves' scores are added up.

    Args:
        node: of one of `KINDS`.

    Attributes:
        offset: what is added to the sum, one a score.

    Raises:
        UnsupportedError: another aggregation than sum and average, or an unknown test.
    """

    def __init__(self, node: Node) -> None:
        get, known = node.attributes.get, node.attributes
        self._features = np.asarray(get("nodes_featureids"), np.int64)
        values = get("nodes_values_as_tensor")
        self._values = np.asarray(get("nodes_values") if values is None else values, np.float64)
        self._modes = np.array([_text(mode) for mode in known["nodes_modes"]])
        strange = sorted(set(self._modes.tolist()) - {*_TESTS, _LEAF})
        if strange:
            raise UnsupportedError(f"a tree's test {strange[0]} is not known", field="artifact")
        lost = get("nodes_missing_value_tracks_true") or [0] * len(self._modes)
        self._lost = np.asarray(lost, bool)
        self._single = values is None
        self._scores = self._leaf_scores(node)
        count = self._scores.shape[1]
        base = get("base_values_as_tensor")
        base = np.asarray(get("base_values") or [0.0] if base is None else base, np.float64)
        if base.size not in {1, count}:
            raise UnsupportedError("the base values do not fit the scores", field="artifact")
        self.offset = np.broadcast_to(base, (count,))
        self._grow(node)

    def groups(self) -> Iterator[Leaves]:
        """All leaves that ask something, those with equally many features together."""
        by_depth: dict[int, list[int]] = {}
        for leaf, way in self._ways.items():
            by_depth.setdefault(len(way), []).append(leaf)
        for depth, leaves in sorted(by_depth.items()):
            if depth > _DEEPEST:
                raise UnsupportedError(
                    f"a leaf asks {depth} features, at most {_DEEPEST} are followed",
                    field="artifact",
                )
            for at in range(0, len(leaves), _LEAVES):
                if depth:
                    yield self._group(leaves[at : at + _LEAVES])

    @property
    def widest(self) -> int:
        """Features that there have to be."""
        return int(self._features.max()) + 1

    @property
    def bare(self) -> Any:
        """What leaves add that ask nothing: of trees that are one leaf."""
        alone = [leaf for leaf, way in self._ways.items() if not way]
        return self._scores[alone].sum(axis=0)

    def tests(self, rows: Any) -> Any:
        """Rows x nodes: whether each node's test holds."""
        kind = np.float32 if self._single else np.float64
        rows, values = rows.astype(kind), self._values.astype(kind)
        held = np.zeros((len(rows), len(values)), bool)
        for mode, test in _TESTS.items():
            mine = np.flatnonzero(self._modes == mode)
            if mine.size:
                column = rows[:, self._features[mine]]
                held[:, mine] = test(column, values[mine])
                held[:, mine] |= np.isnan(column) & self._lost[mine]
        return held

    # -- reading

    def _leaf_scores(self, node: Node) -> Any:
        """Nodes x scores."""
        get, known = node.attributes.get, node.attributes
        word = "class" if node.kind == "TreeEnsembleClassifier" else "target"
        ids = np.asarray(get(f"{word}_ids"), np.int64)
        weights = get(f"{word}_weights_as_tensor")
        weights = np.asarray(get(f"{word}_weights") if weights is None else weights, np.float64)
        how = _text(get("aggregate_function") or "SUM")
        trees = len(set(known["nodes_treeids"]))
        if how == "AVERAGE":
            weights = weights / trees
        elif how != "SUM":
            raise UnsupportedError(f"trees that are joined by {how}", field="artifact")
        if word == "target":
            count = int(get("n_targets") or 1)
        else:
            labels = get("classlabels_strings") or get("classlabels_int64s") or ()
            count = 1 if len(labels) == 2 and len(set(ids.tolist())) == 1 else len(labels)
        places = self._places(node)
        scores = np.zeros((len(places), count))
        where = zip(known[f"{word}_treeids"], known[f"{word}_nodeids"], strict=True)
        at = np.array([places[pair] for pair in where], np.int64)
        np.add.at(scores, (at, ids if count > 1 else np.zeros_like(ids)), weights)
        return scores

    @staticmethod
    def _places(node: Node) -> dict[tuple[int, int], int]:
        pairs = zip(node.attributes["nodes_treeids"], node.attributes["nodes_nodeids"], strict=True)
        return {pair: place for place, pair in enumerate(pairs)}

    def _grow(self, node: Node) -> None:
        """Follow every tree from its root to its leaves."""
        places = self._places(node)
        trees = node.attributes["nodes_treeids"]
        sides = [node.attributes[f"nodes_{side}nodeids"] for side in ("true", "false")]
        inner = np.flatnonzero(self._modes != _LEAF).tolist()
        children = {at: [places[trees[at], side[at]] for side in sides] for at in inner}
        below = {child for pair in children.values() for child in pair}
        self._ways: dict[int, dict[int, list[tuple[int, bool]]]] = {}
        features = self._features.tolist()
        for root in set(range(len(self._modes))) - below:
            ahead: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(root, ())]
            while ahead:
                at, path = ahead.pop()
                if at in children:
                    held, failed = children[at]
                    ahead += [(held, (*path, (at, True))), (failed, (*path, (at, False)))]
                    continue
                way: dict[int, list[tuple[int, bool]]] = {}
                for step in path:
                    way.setdefault(features[step[0]], []).append(step)
                self._ways[at] = way

    def _group(self, leaves: list[int]) -> Leaves:
        ways = [self._ways[leaf] for leaf in leaves]
        lengths = [len(steps) for way in ways for steps in way.values()]
        steps = [step for way in ways for found in way.values() for step in found]
        return Leaves(
            np.array([list(way) for way in ways], np.int64),
            self._scores[leaves],
            np.array([at for at, _ in steps], np.int64),
            np.array([taken for _, taken in steps], bool),
            np.cumsum([0, *lengths[:-1]]),
        )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
