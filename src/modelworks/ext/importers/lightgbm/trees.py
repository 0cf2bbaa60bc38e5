"""LightGBM's own text model as a `Forest`: the sums of its leaves, and what they mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import Ranges
from modelworks.ext.importers.forest import Forest, Kind, Link, Task, at_most

_IDENTITY = {
    "regression", "regression_l1", "huber", "fair", "quantile", "mape",
    "lambdarank", "rank_xendcg", "",
}  # fmt: skip
_LINKS = {
    "poisson": Link.EXP,
    "gamma": Link.EXP,
    "tweedie": Link.EXP,
    "cross_entropy": Link.SIGMOID,
    "cross_entropy_lambda": Link.SOFTPLUS,
}
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of decision_type; the two above are the missing type
_NONE, _ZERO, _NAN = 0, 1, 2
_ULPS = 4  # thresholds nearer than that in float32 need float64 inputs


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree in LightGBM's flat form: a child below zero is leaf `~child`."""

    features: tuple[int, ...]
    thresholds: tuple[float, ...]
    decisions: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    leaves: tuple[float, ...]
    sets: tuple[tuple[int, ...], ...]

    def missing(self, node: int) -> int:
        """The missing type of a split."""
        return (self.decisions[node] >> 2) & 3

    def categorical(self, node: int) -> bool:
        """Whether a split asks for membership."""
        return bool(self.decisions[node] & _CATEGORICAL)


@dataclass(frozen=True, slots=True)
class Model:
    """What the text of a booster says.

    Attributes:
        objective: its first word, and the rest as `options` (`sigmoid:1`).
        width: number of features.
        names: theirs, or empty where LightGBM invented them.
        infos: by feature, `[min:max]`, categories as `a:b:c`, or `none`.
        targets: sums a row.
        average: whether the sums are divided by the number of iterations (random forest).
    """

    objective: str
    options: dict[str, str]
    width: int
    names: tuple[str, ...]
    infos: tuple[str, ...]
    targets: int
    average: bool
    trees: tuple[Tree, ...]

    @property
    def rounds(self) -> int:
        """Boosting rounds."""
        return len(self.trees) // self.targets

    @property
    def double(self) -> bool:
        """Whether float32 inputs would blur neighbouring thresholds of some feature."""
        thresholds: dict[int, set[float]] = {}
        for tree in self.trees:
            for node, feature in enumerate(tree.features):
                if not tree.categorical(node):
                    thresholds.setdefault(feature, set()).add(tree.thresholds[node])
        return any(_blurred(sorted(values)) for values in thresholds.values())

    @property
    def zero_missing(self) -> tuple[bool, ...]:
        """By feature, whether zero counts as missing."""
        marks = [False] * self.width
        for tree in self.trees:
            for node, feature in enumerate(tree.features):
                if not tree.categorical(node) and tree.missing(node) == _ZERO:
                    marks[feature] = True
        return tuple(marks)

    @property
    def categorical(self) -> tuple[int, ...]:
        """Features that are category codes."""
        split = {
            feature
            for tree in self.trees
            for node, feature in enumerate(tree.features)
            if tree.categorical(node)
        }
        told = {i for i, info in enumerate(self.infos) if info[:1] not in {"[", "n"}}
        return tuple(sorted(split | told))


def parse(text: str) -> Model:
    """Read the text that `Booster.model_to_string` writes.

    Raises:
        UnsupportedError: an objective or tree that has no equivalent in ONNX.
        InvalidError: not the text of a fitted booster.
    """
    try:
        blocks = _blocks(text)
        head = next(blocks)
        objective, *options = head.get("objective", "").split() or [""]
        if objective not in _IDENTITY | _LINKS.keys() | {"binary", "multiclass", "multiclassova"}:
            raise UnsupportedError(
                f"objective {objective} is not converted: its predictions are not a known function "
                "of the sum of leaves"
            )
        names = tuple(head["feature_names"].split(" "))
        invented = names == tuple(f"Column_{i}" for i in range(len(names)))
        trees = tuple(_tree(block) for block in blocks)
        width = int(head["max_feature_idx"]) + 1
        for tree in trees:
            _check(tree, width)
        targets = int(head["num_tree_per_iteration"])
        if not trees or targets < 1 or len(trees) % targets:
            raise InvalidError(f"no fitted LightGBM model: {len(trees)} trees for {targets} sums")
        return Model(
            objective=objective,
            options={key: value for key, _, value in (option.partition(":") for option in options)},
            width=width,
            names=() if invented else names,
            infos=tuple(head.get("feature_infos", "").split()),
            targets=targets,
            average="average_output" in head,
            trees=trees,
        )
    except (KeyError, ValueError, IndexError, StopIteration) as error:
        raise InvalidError(f"no fitted LightGBM model: {error!r} is missing or wrong") from error


def task_of(model: Model, classes: tuple[Any, ...]) -> Task:
    """What the sums mean; `classes` are the labels where the model is a classifier."""
    base = (0.0,) * model.targets
    if model.objective == "binary" or (model.objective == "multiclass" and model.targets == 2):
        return Task(Kind.BINARY, (0.0,), classes)
    if model.objective == "multiclass":
        return Task(Kind.SOFTMAX, base, classes)
    if model.objective == "multiclassova":
        return Task(Kind.ONE_VS_ALL, base, classes)
    link = _LINKS.get(model.objective, Link.IDENTITY)
    if "sqrt" in model.options:
        link = Link.SIGNED_SQUARE
    return Task(Kind.SCORE, base, link=link)


def forest_of(model: Model, task: Task, *, double: bool) -> Forest:
    """The trees, their leaves scaled by what the objective multiplies the sums with.

    Args:
        model: parsed.
        task: what the sums mean.
        double: whether inputs are float64; or else thresholds are rounded to fit float32 inputs.
    """
    scale = float(model.options.get("sigmoid", 1.0)) / (model.rounds if model.average else 1)
    difference = task.kind is Kind.BINARY and model.targets == 2
    forest = Forest(1 if difference else model.targets)
    for index, tree in enumerate(model.trees):
        target, weight = index % model.targets, scale
        if difference:  # sum of class 1 minus sum of class 0
            target, weight = 0, scale if target else -scale
        _add(forest, tree, target, weight, double=double)
    return forest


def ranges_of(model: Model) -> dict[str, Ranges]:
    """What the training data looked like: LightGBM keeps each feature's range or categories."""
    found = {}
    categorical = set(model.categorical)
    for feature, info in enumerate(model.infos[: model.width]):
        name = model.names[feature] if model.names else str(feature)
        if feature in categorical:
            known = sorted(int(part) for part in info.split(":") if part.isdigit())
            found[name] = Ranges(values=tuple(known or range(8)))
        elif info.startswith("["):
            low, _, high = info.strip("[]").partition(":")
            found[name] = Ranges(float(low), float(high))
    return found


def _blocks(text: str) -> Iterator[dict[str, str]]:
    """The header, then every tree, as key -> value."""
    body = text.partition("\nend of trees")[0]
    for block in body.split("\nTree="):
        lines = (line.partition("=") for line in block.splitlines())
        yield {key: value for key, _, value in lines}


def _tree(block: dict[str, str]) -> Tree:
    if block.get("is_linear", "0") != "0":
        raise UnsupportedError("linear trees are not converted; train with linear_tree=False")
    leaves = int(block["num_leaves"])
    tree = Tree(
        features=_ints(block, "split_feature"),
        thresholds=tuple(float(word) for word in block.get("threshold", "").split()),
        decisions=_ints(block, "decision_type"),
        left=_ints(block, "left_child"),
        right=_ints(block, "right_child"),
        leaves=tuple(float(word) for word in block["leaf_value"].split()),
        sets=_sets(_ints(block, "cat_boundaries"), _ints(block, "cat_threshold")),
    )
    columns = (tree.features, tree.thresholds, tree.decisions, tree.left, tree.right)
    if len(tree.leaves) != leaves or any(len(column) != leaves - 1 for column in columns):
        raise InvalidError("no fitted LightGBM model: a tree is cut off")
    return tree


def _check(tree: Tree, width: int) -> None:
    """Refuse a tree that leads nowhere: LightGBM itself believes it and reads foreign memory.

    Raises:
        InvalidError: a child or feature that is not there, or a circle.
    """
    inner = len(tree.features)
    visited = bytearray(inner)
    waiting = [0] if inner else []
    while waiting:
        node = waiting.pop()
        if node >= inner or -node > len(tree.leaves):
            raise InvalidError("no fitted LightGBM model: a tree leads to a node that is not there")
        if node < 0:
            continue
        if visited[node]:
            raise InvalidError("a tree of the model runs in a circle")
        visited[node] = 1
        feature = tree.features[node]
        if not 0 <= feature < width:
            raise InvalidError(
                f"no fitted LightGBM model: a tree asks for feature {feature} of {width}"
            )
        if tree.categorical(node) and not 0 <= tree.thresholds[node] < len(tree.sets):
            raise InvalidError("no fitted LightGBM model: a set of categories is not there")
        waiting += [tree.right[node], tree.left[node]]


def _ints(block: dict[str, str], key: str) -> tuple[int, ...]:
    return tuple(int(word) for word in block.get(key, "").split())


def _sets(bounds: tuple[int, ...], words: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The bit sets of categories, one a categorical split."""
    return tuple(
        tuple(
            word * 32 + bit
            for word in range(end - start)
            for bit in range(32)
            if words[start + word] >> bit & 1
        )
        for start, end in pairwise(bounds)
    )


def _blurred(values: list[float]) -> bool:
    return any(
        high - low < _ULPS * float(np.spacing(np.float32(max(abs(low), abs(high)))))
        for low, high in pairwise(values)
    )


def _add(forest: Forest, tree: Tree, target: int, weight: float, *, double: bool) -> None:
    inner = len(tree.features)
    spare = inner + len(tree.leaves)
    waiting, visited = [0 if inner else -1], 0
    while waiting:
        node = waiting.pop()
        visited += 1
        if visited > inner + len(tree.leaves):
            raise InvalidError("a tree of the model runs in a circle")
        if node < 0:
            leaf = -node - 1
            forest.leaf(inner + leaf, target, tree.leaves[leaf] * weight)
            continue
        left, right = tree.left[node], tree.right[node]
        waiting += [right, left]
        yes, no = (child if child >= 0 else inner - child - 1 for child in (left, right))
        feature, value = tree.features[node], tree.thresholds[node]
        if tree.categorical(node):  # NaN belongs to no set
            chosen = tree.sets[int(value)]
            if not chosen:
                raise InvalidError("a categorical split of the model is empty")
            spare = forest.members(node, feature, chosen, yes, no, spare, missing=False)
            continue
        missing = bool(tree.decisions[node] & _DEFAULT_LEFT)
        if tree.missing(node) == _NONE:  # then NaN is read as zero
            missing = value >= 0
        value = value if double else at_most(value)
        forest.split(node, feature, "BRANCH_LEQ", value, yes, no, missing=missing)
    forest.end_tree()
