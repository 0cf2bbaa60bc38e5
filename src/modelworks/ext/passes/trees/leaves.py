"""What the leaves of ONNX's trees hold, as a kernel adds it up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.ext.formats import trees_file
from modelworks.ext.passes.trees.nodes import Listed, Places, reals, text


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """One line for everything that a leaf adds to a sum.

    Attributes:
        places: int64: of the leaf in the list of nodes.
        targets: int64: the sum.
        values: float32 or float64.
        sums: how many sums there are.
        base: the same, [sums].
        positive: none of the values is below zero.
    """

    places: Any
    targets: Any
    values: Any
    sums: int
    base: Any
    positive: bool


def weights(attributes: Mapping[str, Any], given: Listed, word: str, sums: int) -> Weights:
    """What the leaves of a TreeEnsembleClassifier (`class`) or -Regressor (`target`) hold.

    Args:
        attributes: of the node.
        given: its nodes.
        word: that the attributes begin with.
        sums: how many there are; for two classes whose leaves name one only it becomes one.

    Raises:
        InvalidError: the lists are damaged.
        UnsupportedError: an aggregation other than sum and average, or two classes with two sums.
    """
    try:
        trees, ids, targets = (
            np.asarray(attributes[f"{word}_{name}"], np.int64)
            for name in ("treeids", "nodeids", "ids")
        )
        values = reals(attributes[f"{word}_weights"])
        at = Places(given.trees, np.asarray(attributes["nodes_nodeids"], np.int64))
        places = at.of(trees, ids)
        base = np.asarray(attributes.get("base_values", ()), values.dtype)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        words = " ".join(str(error).split())[:120]
        raise InvalidError(f"the leaves are damaged: {words}", field="source") from error
    if len({len(places), len(targets), len(values)}) != 1:
        raise InvalidError("the leaves are damaged: lists of different lengths", field="source")
    if not 1 <= sums <= trees_file.WIDEST:
        raise InvalidError(f"the leaves are damaged: {sums} sums", field="source")
    if targets.size and (targets.min() < 0 or targets.max() >= sums):
        raise InvalidError("the leaves are damaged: a target that is not there", field="source")
    if word == "class" and sums == 2:
        if len(np.unique(targets)) > 1:
            raise UnsupportedError("two classes whose leaves hold a value for each")
        sums, targets = 1, np.zeros_like(targets)
    if base.size not in {0, sums}:
        raise UnsupportedError(f"{base.size} base values for {sums} sums")
    how = text(attributes.get("aggregate_function") or "SUM")
    if how not in {"SUM", "AVERAGE"}:
        raise UnsupportedError(f"trees that are joined by {how[:40]}")
    positive = not (values < 0).any()
    if how == "AVERAGE":
        values = (values / np.float64(len(np.unique(given.trees)))).astype(values.dtype)
    base = base if base.size else np.zeros(sums, values.dtype)
    return Weights(places, targets, values, sums, base, positive)


def packed(given: Weights, trees: Any, order: Any, leaf: Any) -> dict[str, Any]:
    """The arrays `leaves`, `values` and `targets` of a forest.

    Args:
        given: what the leaves hold.
        trees: of every node in the list.
        order: places in the list, as the forest has the nodes.
        leaf: which of those are leaves.
    """
    count = int(leaf.sum())
    number = np.full(len(order), -1, np.int32)
    number[leaf] = np.arange(count)
    line = np.full(len(order), -1, np.int64)
    line[order] = number
    rows = line[given.places]
    kept = rows >= 0  # what a node holds that is no leaf is never come to
    rows, targets, values = rows[kept], given.targets[kept], given.values[kept]
    owners = trees[given.places[kept]]
    names = np.unique(trees)
    first = np.zeros(len(names), np.int64)
    spots = np.searchsorted(names, owners)
    first[spots] = targets
    single = (first[spots] == targets).all() and len(np.unique(rows)) == len(rows)
    table = np.zeros((count, 1 if single else given.sums), values.dtype)
    np.add.at(table, (rows, np.zeros_like(rows) if single else targets), values)
    chosen = first.astype(np.int32) if single else np.empty(0, np.int32)
    return {"leaves": number, "values": table, "targets": chosen}
