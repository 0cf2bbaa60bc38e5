"""`TreeEnsemble` of the operator set ai.onnx.ml 5, said as the regressor that came before it.

It lists leaves apart from nodes, says with a flag which of the two a child is, and what used to be
texts with numbers.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, UnsupportedError

KIND: Final = "TreeEnsemble"
_MODES: Final = (
    "BRANCH_LEQ",
    "BRANCH_LT",
    "BRANCH_GTE",
    "BRANCH_GT",
    "BRANCH_EQ",
    "BRANCH_NEQ",
    "BRANCH_MEMBER",
)
_JOINED: Final = ("AVERAGE", "SUM", "MIN", "MAX")
_ENDS: Final = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def as_regressor(given: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that a TreeEnsembleRegressor would have.

    Raises:
        InvalidError: a list is missing, or a number leads out of one.
        UnsupportedError: thresholds of a strange precision.
    """
    try:
        return _converted(given)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        words = " ".join(str(error).split())[:120]
        raise InvalidError(f"the trees are damaged: {words}", field="source") from error


def _converted(given: Mapping[str, Any]) -> dict[str, Any]:
    splits, weights = given["nodes_splits"], given["leaf_weights"]
    if splits.dtype not in {np.dtype("f4"), np.dtype("f8")}:
        raise UnsupportedError(f"trees with thresholds of {splits.dtype}")
    nodes, leaves = len(splits), len(weights)
    ids = np.arange(nodes)
    children, held = [], []
    for place, side in enumerate(("true", "false")):
        to = _whole(given, f"nodes_{side}nodeids", nodes)
        leaf = _whole(given, f"nodes_{side}leafs", nodes) != 0
        if ((to < 0) | (to >= np.where(leaf, leaves, nodes))).any():
            raise ValueError("a child that is not there")
        # A leaf is a node of its own for each way that leads to it.
        children.append(np.where(leaf, nodes + 2 * ids + place, to))
        held.append((leaf, to))
    trees = _owners(_whole(given, "tree_roots"), children, nodes)
    ends = [nodes + 2 * ids[leaf] + place for place, (leaf, _) in enumerate(held)]
    owners = np.concatenate([trees[leaf] for leaf, _ in held])
    told = np.concatenate([to[leaf] for leaf, to in held])
    count = len(owners)
    missing = given.get("nodes_missing_value_tracks_true") or [0] * nodes
    modes = [_MODES[mode] for mode in np.asarray(given["nodes_modes"]).ravel().tolist()]

    def padded(values: Any) -> Any:
        return np.concatenate([values, np.zeros(count, np.asarray(values).dtype)])

    return {
        "nodes_treeids": np.concatenate([trees, owners]),
        "nodes_nodeids": np.concatenate([ids, *ends]),
        "nodes_featureids": padded(_whole(given, "nodes_featureids", nodes)),
        "nodes_modes": [*modes, *["LEAF"] * count],
        "nodes_values": padded(splits),
        "nodes_truenodeids": padded(children[0]),
        "nodes_falsenodeids": padded(children[1]),
        "nodes_missing_value_tracks_true": [*missing, *[0] * count],
        "target_treeids": owners,
        "target_nodeids": np.concatenate(ends),
        "target_ids": _whole(given, "leaf_targetids", leaves)[told],
        "target_weights": weights[told],
        "n_targets": int(given.get("n_targets", 1)),
        "aggregate_function": _JOINED[int(given.get("aggregate_function", 1))],
        "post_transform": _ENDS[int(given.get("post_transform", 0))],
    }


def _whole(given: Mapping[str, Any], name: str, length: int | None = None) -> Any:
    found = np.asarray(given[name], np.int64)
    if length is not None and len(found) != length:
        raise ValueError(f"{name} has {len(found)} numbers and not {length}")
    return found


def _owners(roots: Any, children: list[Any], nodes: int) -> Any:
    """Which tree a node is of."""
    owner = np.full(nodes, -1, np.int64)
    at, tree, seen = roots, np.arange(len(roots)), 0
    while len(at):
        seen += len(at)
        if seen > nodes or at.min() < 0 or at.max() >= nodes:
            raise ValueError("two ways lead to one node, or one to none")
        owner[at] = tree
        below = np.concatenate([side[at] for side in children])
        inner = below < nodes
        at, tree = below[inner], np.tile(tree, len(children))[inner]
    if (owner < 0).any():
        raise ValueError("a node is of no tree")
    return owner
