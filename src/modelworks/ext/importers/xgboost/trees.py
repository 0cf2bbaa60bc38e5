"""XGBoost's own JSON model as a `Forest`: the sums of its leaves, and what they mean."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import Ranges
from modelworks.ext.importers.forest import Forest, Kind, Link, Task

_LOGISTIC = {"binary:logistic", "reg:logistic"}
_LOG = {
    "count:poisson",
    "reg:gamma",
    "reg:tweedie",
    "survival:cox",
    "survival:aft",
}
_IDENTITY = {
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "rank:pairwise",
    "rank:ndcg",
    "rank:map",
    "reg:linear",
    "binary:logitraw",
}
_SOFTMAX = {"multi:softprob", "multi:softmax"}


@dataclass(frozen=True, slots=True)
class Model:
    """What the JSON of a booster says.

    Attributes:
        objective: as XGBoost names it.
        width: number of features.
        names: theirs, or empty.
        targets: sums a row.
        rounds: boosting rounds in the file.
        categorical: feature index -> number of categories, 0 where the file does not tell.
    """

    objective: str
    width: int
    names: tuple[str, ...]
    targets: int
    rounds: int
    categorical: dict[int, int]
    learner: dict[str, Any]


def parse(document: dict[str, Any]) -> Model:
    """Look through the JSON of a booster.

    Raises:
        UnsupportedError: a booster, objective or tree that has no equivalent in ONNX.
        InvalidError: not the JSON of a fitted booster.
    """
    try:
        learner = document["learner"]
        booster = learner["gradient_booster"]["name"]
        if booster == "gblinear":
            raise UnsupportedError(
                "a linear booster (gblinear) is not converted: it treats missing values as zero; "
                "train with booster='gbtree', or use a linear model of scikit-learn"
            )
        parameters = learner["learner_model_param"]
        trees = _trees(learner)
        objective = learner["objective"]["name"]
        if objective not in _LOGISTIC | _LOG | _IDENTITY | _SOFTMAX:
            raise UnsupportedError(
                f"objective {objective} is not converted: its predictions are not a known function "
                "of the sum of leaves"
            )
        if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in trees["trees"]):
            raise UnsupportedError(
                "trees with vector leaves are not converted; train with "
                "multi_strategy='one_output_per_tree'"
            )
        check(document)
        indptr = trees["iteration_indptr"]
        return Model(
            objective=objective,
            width=int(parameters["num_feature"]),
            names=tuple(learner.get("feature_names") or ()),
            targets=max(1, int(parameters["num_class"]), int(parameters["num_target"])),
            rounds=len(indptr) - 1,
            categorical=_categorical(learner, trees),
            learner=learner,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidError(f"no fitted XGBoost model: {error} is missing or wrong") from error


def check(document: dict[str, Any]) -> None:
    """Refuse trees that lead nowhere: XGBoost itself believes them and reads foreign memory.

    Raises:
        InvalidError: a child, feature or target that is not there, or a circle.
    """
    try:
        learner = document["learner"]
        if learner["gradient_booster"]["name"] == "gblinear":
            return
        width = int(learner["learner_model_param"]["num_feature"])
        trees = _trees(learner)
        count = len(trees["trees"])
        if any(not 0 <= int(place) <= count for place in trees.get("iteration_indptr", ())):
            raise InvalidError("no fitted XGBoost model: rounds that are not there")
        for tree in trees["trees"]:
            _check_tree(tree, width)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidError(f"no fitted XGBoost model: {error} is missing or wrong") from error


def _check_tree(tree: dict[str, Any], width: int) -> None:
    left, right, features = tree["left_children"], tree["right_children"], tree["split_indices"]
    visited = bytearray(len(left))
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if not 0 <= node < len(left) or left[node] < -1:
            raise InvalidError("no fitted XGBoost model: a tree leads to a node that is not there")
        if visited[node]:
            raise InvalidError("a tree of the model runs in a circle")
        visited[node] = 1
        if left[node] == -1:
            continue
        if not 0 <= features[node] < width:
            raise InvalidError(
                f"no fitted XGBoost model: a tree asks for feature {features[node]} of {width}"
            )
        waiting += [right[node], left[node]]


def task_of(model: Model, classes: tuple[Any, ...]) -> Task:
    """What the sums mean; `classes` are the labels where the model is a classifier."""
    raw = model.learner["learner_model_param"]["base_score"]
    scores = [float(item) for item in raw.strip("[]").split(",")]
    to_margin: Callable[[float], float] = float
    if model.objective in _LOGISTIC:
        to_margin = _logit
    elif model.objective in _LOG:
        to_margin = math.log
    try:
        margins = tuple(to_margin(score) for score in scores)
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidError(f"base_score {raw} is outside what {model.objective} allows") from error
    margins = margins * model.targets if len(margins) == 1 else margins
    if model.objective in _SOFTMAX and model.targets == 2:
        return Task(Kind.BINARY, (margins[1] - margins[0],), classes)
    if model.objective in _SOFTMAX:
        return Task(Kind.SOFTMAX, margins, classes)
    if model.objective == "binary:logistic" and model.targets == 1:
        return Task(Kind.BINARY, margins, classes)
    link = Link.IDENTITY
    if model.objective in {"reg:logistic", "binary:logistic"}:
        link = Link.SIGMOID
    elif model.objective in _LOG:
        link = Link.EXP
    return Task(Kind.SCORE, margins, link=link)


def forest_of(model: Model, rounds: int, task: Task) -> Forest:
    """The trees of the first `rounds` boosting rounds."""
    source = _trees(model.learner)
    weights = model.learner["gradient_booster"].get("weight_drop")
    difference = task.kind is Kind.BINARY and model.targets == 2  # sum of class 1 minus class 0
    forest = Forest(1 if difference else model.targets)
    for index in range(source["iteration_indptr"][rounds]):
        target = source["tree_info"][index]
        weight = float(weights[index]) if weights else 1.0
        if difference:
            weight, target = (weight if target == 1 else -weight), 0
        _tree(forest, source["trees"][index], target, weight)
    return forest


def ranges_of(model: Model) -> dict[str, Ranges]:
    """What generated rows should look like: around the thresholds, and the known categories."""
    lows: dict[int, list[float]] = {}
    seen: dict[int, set[int]] = {}
    for tree in _trees(model.learner)["trees"]:
        kinds = tree.get("split_type") or [0] * len(tree["left_children"])
        for node, left in enumerate(tree["left_children"]):
            if left >= 0 and not kinds[node]:
                value = tree["split_conditions"][node]
                lows.setdefault(tree["split_indices"][node], []).append(value)
        for node, chosen in _sets(tree).items():
            seen.setdefault(tree["split_indices"][node], set()).update(chosen)
    found = {}
    for feature in range(model.width):
        name = model.names[feature] if model.names else str(feature)
        if feature in model.categorical:
            most = model.categorical[feature] or max(seen.get(feature, {0})) + 2
            found[name] = Ranges(values=tuple(range(most)))
        elif feature in lows:
            low, high = min(lows[feature]), max(lows[feature])
            margin = (high - low) / 4 or max(1.0, abs(low) / 2)
            found[name] = Ranges(low - margin, high + margin)
    return found


def _trees(learner: dict[str, Any]) -> dict[str, Any]:
    booster = learner["gradient_booster"]
    model: dict[str, Any] = booster.get("gbtree", booster)["model"]  # dart holds a gbtree
    return model


def _categorical(learner: dict[str, Any], trees: dict[str, Any]) -> dict[int, int]:
    kinds = learner.get("feature_types") or []
    sizes = [len(item.get("offsets") or item.get("values") or ()) for item in _encodings(trees)]
    found = {}
    for feature, kind in enumerate(kinds):
        if kind == "c":
            texts = feature < len(sizes) and "offsets" in _encodings(trees)[feature]
            found[feature] = max(0, sizes[feature] - int(texts)) if feature < len(sizes) else 0
    return found


def _encodings(trees: dict[str, Any]) -> list[dict[str, Any]]:
    return (trees.get("cats") or {}).get("enc") or []


def _sets(tree: dict[str, Any]) -> dict[int, list[int]]:
    """Node -> the categories that go right."""
    chosen = tree.get("categories") or []
    pieces = zip(
        tree.get("categories_nodes") or [],
        tree.get("categories_segments") or [],
        tree.get("categories_sizes") or [],
        strict=True,
    )
    return {node: chosen[start : start + size] for node, start, size in pieces}


def _tree(forest: Forest, tree: dict[str, Any], target: int, weight: float) -> None:
    left, right = tree["left_children"], tree["right_children"]
    values, features, defaults = (
        tree["split_conditions"],
        tree["split_indices"],
        tree["default_left"],
    )
    sets = _sets(tree)
    spare = len(left)
    waiting, visited = [0], 0
    while waiting:
        node = waiting.pop()
        visited += 1
        if visited > len(left):
            raise InvalidError("a tree of the model runs in a circle")
        if left[node] < 0:
            forest.leaf(node, target, float(np.float32(values[node])) * weight)
            continue
        waiting += [right[node], left[node]]
        missing_left = bool(defaults[node])
        if node in sets:  # a category of the set goes right
            spare = forest.members(
                node, features[node], sets[node], right[node], left[node], spare,
                missing=not missing_left,
            )  # fmt: skip
        else:
            forest.split(
                node, features[node], "BRANCH_LT", float(np.float32(values[node])),
                left[node], right[node], missing=missing_left,
            )  # fmt: skip
    forest.end_tree()


def _logit(probability: float) -> float:
    return -math.log(1.0 / probability - 1.0)
