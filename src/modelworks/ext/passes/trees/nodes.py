"""Nodes of trees as ONNX lists them, in the order in which a kernel follows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, UnsupportedError

_LEAF: Final = "LEAF"
_STRICT: Final = {"BRANCH_LEQ": False, "BRANCH_GT": False, "BRANCH_LT": True, "BRANCH_GTE": True}
_TURNED: Final = frozenset({"BRANCH_GT", "BRANCH_GTE"})  # their true side is the right one


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """Nodes in any order; the same length everywhere.

    Attributes:
        trees: int64: which tree a node is of.
        modes: texts: `LEAF`, or how it asks.
        features: int64.
        thresholds: float32 or float64.
        yes: int64: place of the node that follows where the answer is yes; of a leaf anything.
        no: int64: the same for no.
        missing_yes: bool: NaN goes where the answer is yes.
    """

    trees: Any
    modes: Any
    features: Any
    thresholds: Any
    yes: Any
    no: Any
    missing_yes: Any


@dataclass(frozen=True, slots=True, eq=False)
class Ordered:
    """Nodes tree by tree, level by level; a right child stands behind its left one.

    Attributes:
        places: int64: where each was in the list.
        children: int32: the left child; a leaf's is the leaf itself.
        missing_right: uint8.
        roots: int32.
        leaf: bool.
        strict: a row goes left where its value is below the threshold; else where it is not above.
    """

    places: Any
    children: Any
    missing_right: Any
    roots: Any
    leaf: Any
    strict: bool


def listed(attributes: Mapping[str, Any]) -> Listed:
    """The nodes of a TreeEnsembleClassifier or -Regressor.

    Raises:
        InvalidError: a list is missing or short, or a node leads to none.
    """
    try:
        trees = np.asarray(attributes["nodes_treeids"], np.int64)
        modes = np.array([text(mode) for mode in attributes["nodes_modes"]])
        count = len(trees)
        thresholds = reals(attributes["nodes_values"])
        at = Places(trees, np.asarray(attributes["nodes_nodeids"], np.int64))
        inner = modes != _LEAF
        yes, no = (
            at.of(trees, np.where(inner, attributes[f"nodes_{side}nodeids"], at.ids))
            for side in ("true", "false")
        )
        missing = attributes.get("nodes_missing_value_tracks_true") or [0] * count
        found = Listed(
            trees,
            modes,
            np.asarray(attributes["nodes_featureids"], np.int64),
            thresholds,
            yes,
            no,
            np.asarray(missing, np.int64) == 1,
        )
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        words = " ".join(str(error).split())[:120]
        raise InvalidError(f"the trees are damaged: {words}", field="source") from error
    lengths = {len(getattr(found, name)) for name in Listed.__slots__}
    if lengths != {count} or not count:
        raise InvalidError("the trees are damaged: lists of different lengths", field="source")
    return found


class Places:
    """Where in a list the node of a tree stands.

    Args:
        trees: which tree, a node.
        ids: its number in the tree.

    Raises:
        ValueError: two nodes of a tree have one number.
    """

    def __init__(self, trees: Any, ids: Any) -> None:
        self.ids = ids
        self._order = np.lexsort((ids, trees))
        self._pairs = self._joined(trees, ids)[self._order]
        if (np.diff(self._pairs) <= 0).any():
            raise ValueError("two nodes of a tree have one number")

    def of(self, trees: Any, ids: Any) -> Any:
        """The places of these nodes.

        Raises:
            ValueError: one is not there.
        """
        wanted = self._joined(np.asarray(trees, np.int64), np.asarray(ids, np.int64))
        spot = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        if (self._pairs[spot] != wanted).any():
            raise ValueError("a tree leads to a node that is not there")
        return self._order[spot]

    @staticmethod
    def _joined(trees: Any, ids: Any) -> Any:
        if trees.size and (min(trees.min(), ids.min()) < 0 or max(trees.max(), ids.max()) >> 31):
            raise ValueError("a number of a node or tree is out of bounds")
        return (trees << 32) | ids


def ordered(given: Listed) -> Ordered:
    """Lay the nodes out.

    Raises:
        InvalidError: the nodes are no trees.
        UnsupportedError: splits of a kind that the kernel does not follow.
    """
    leaf = given.modes == _LEAF
    strict = _strict(set(given.modes[~leaf].tolist()))
    if np.isnan(given.thresholds[~leaf]).any():
        raise UnsupportedError("a threshold of a tree is NaN")
    turned = np.isin(given.modes, list(_TURNED))
    left, right = np.where(turned, (given.no, given.yes), (given.yes, given.no))
    missing_right = np.where(turned, given.missing_yes, ~given.missing_yes) & ~leaf
    places, roots = _walk(given.trees, left, right, leaf)
    new = np.empty(len(places), np.int64)
    new[places] = np.arange(len(places))
    ends = leaf[places]
    return Ordered(
        places,
        np.where(ends, np.arange(len(places)), new[left[places]]).astype(np.int32),
        missing_right[places].astype(np.uint8),
        new[roots].astype(np.int32),
        ends,
        strict,
    )


def _strict(modes: set[str]) -> bool:
    strange = sorted(modes - _STRICT.keys())
    if strange:
        raise UnsupportedError(
            f"splits of the kind {strange[0][:40]} (by category) are not followed", field="source"
        )
    kinds = {_STRICT[mode] for mode in modes}
    if len(kinds) > 1:
        raise UnsupportedError(f"splits of several kinds: {', '.join(sorted(modes))}")
    return True in kinds


def _walk(trees: Any, left: Any, right: Any, leaf: Any) -> tuple[Any, Any]:
    """All nodes tree by tree, level by level; and the roots, by tree."""
    inner = ~leaf
    below = np.zeros(len(trees), bool)
    below[left[inner]] = below[right[inner]] = True
    roots = np.flatnonzero(~below)
    names, counts = np.unique(trees[roots], return_counts=True)
    if len(names) != len(np.unique(trees)) or (counts != 1).any():
        raise InvalidError("the trees are damaged: one has no root, or two", field="source")
    roots = roots[np.argsort(trees[roots], kind="stable")]
    level, seen, total = roots, [roots], len(roots)
    while len(level := level[inner[level]]):
        level = np.stack([left[level], right[level]], 1).ravel()
        seen.append(level)
        total += len(level)
        if total > len(trees):
            raise InvalidError("the trees are damaged: two ways lead to one node", field="source")
    places = np.concatenate(seen)
    if len(np.unique(places)) != len(trees):
        raise InvalidError("the trees are damaged: two ways lead to one node", field="source")
    return places[np.argsort(trees[places], kind="stable")], roots


def reals(values: Any) -> Any:
    """Numbers of an attribute: float64 where they come as a tensor of those, else float32."""
    double = isinstance(values, np.ndarray) and values.dtype == np.float64
    return np.asarray(values, np.float64 if double else np.float32)


def text(value: Any) -> str:
    """A text of ONNX."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
