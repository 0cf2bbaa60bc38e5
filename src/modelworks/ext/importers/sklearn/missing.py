"""Where the trees of a forest send missing values: skl2onnx forgets it, this puts it back.

A scikit-learn tree keeps, by split, whether NaN goes left: learned where the training rows had
missing values, with the majority of rows where they had none. skl2onnx 1.20 writes none of that, so
that NaN always goes right and a forest that was trained with missing values predicts something
else. ONNX has an attribute for it, `nodes_missing_value_tracks_true`.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from modelworks.ext.importers.sklearn.walk import every, members

_ATTRIBUTE = "nodes_missing_value_tracks_true"
_ENSEMBLES = {"TreeEnsembleClassifier", "TreeEnsembleRegressor"}
_Key = tuple[bytes, bytes, bytes]


def restore(model: onnx.ModelProto, estimator: Any) -> int:
    """Set the attribute, in place, on every tree that is recognised without doubt.

    A tree is recognised by its features and its links. Two trees with the same that send missing
    values differently are both left alone; the parity check then sees what that does.

    Returns:
        How many trees were found.
    """
    known = _known(estimator)
    found = 0
    for node in model.graph.node if known else ():
        if node.op_type not in _ENSEMBLES:
            continue
        attributes = {a.name: a for a in node.attribute}
        trees = np.array(attributes["nodes_treeids"].ints)
        tracks = np.zeros(len(trees), np.int64)
        if _ATTRIBUTE in attributes:
            tracks[:] = attributes[_ATTRIBUTE].ints
        for tree in np.unique(trees):
            rows = np.flatnonzero(trees == tree)
            way = known.get(_key_of(attributes, rows))
            if way is not None:
                tracks[rows] = way[np.array(attributes["nodes_nodeids"].ints)[rows]]
                found += 1
        kept = [a for a in node.attribute if a.name != _ATTRIBUTE]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(_ATTRIBUTE, tracks.tolist())])
    return found


def _known(estimator: Any) -> dict[_Key, NDArray[np.int64]]:
    """Key -> where each node sends NaN (1 = left), for the trees of an estimator."""
    known: dict[_Key, NDArray[np.int64]] = {}
    doubtful = set()
    for tree in _trees(estimator):
        inner = tree.children_left >= 0
        way = np.where(inner, tree.missing_go_to_left, 0).astype(np.int64)
        key = (
            _bytes(np.where(inner, tree.feature, 0)),
            _bytes(np.where(inner, tree.children_left, 0)),
            _bytes(np.where(inner, tree.children_right, 0)),
        )
        if not np.array_equal(known.setdefault(key, way), way):
            doubtful.add(key)
    return {key: way for key, way in known.items() if key not in doubtful}


def _trees(estimator: Any) -> list[Any]:
    trees = {}
    for part in every(estimator):
        for item in (part, *members(part)):
            tree = getattr(item, "tree_", None)
            if hasattr(tree, "missing_go_to_left"):
                trees[id(tree)] = tree
    return list(trees.values())


def _key_of(attributes: dict[str, Any], rows: NDArray[np.intp]) -> _Key:
    order = np.argsort(np.array(attributes["nodes_nodeids"].ints)[rows], kind="stable")
    rows = rows[order]

    def column(name: str) -> bytes:
        return _bytes(np.array(attributes[name].ints)[rows])

    return column("nodes_featureids"), column("nodes_truenodeids"), column("nodes_falsenodeids")


def _bytes(values: Any) -> bytes:
    return np.ascontiguousarray(values, np.int64).tobytes()
