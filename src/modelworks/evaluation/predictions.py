"""What is evaluated: predictions beside the truth, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation.columns import (
    classes_of,
    flags,
    indices,
    known,
    mass,
    name_of,
    numbers,
    probabilities,
)
from modelworks.stats.intervals import Floats


class Task(StrEnum):
    """What a model is asked for."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"
    RANKING = "ranking"


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Rows with what was true and what a model said; made by the functions of this module.

    Attributes:
        task: of the model.
        truth: index of the class [rows] (binary: 1 = positive); 0 or 1 [rows, labels]; a number
            [rows]; relevance [rows], 0 = not relevant.
        labels: predicted, as `truth`; of regression the prediction; None = only scores are there.
        scores: probability of the positive class [rows]; [rows, classes or labels]; of ranking
            what the items are sorted by; None = only labels are there.
        weights: of the rows.
        classes: names, by index.
        queries: of ranking: index of the query that a row belongs to.
    """

    task: Task
    truth: Any
    labels: Any
    scores: Any
    weights: Floats
    classes: tuple[str, ...] = ()
    queries: Any = None

    def __len__(self) -> int:
        """Rows."""
        return len(self.truth)

    def take(self, rows: Any) -> "Predictions":
        """Some of the rows: a mask or indices."""

        def part(array: Any) -> Any:
            return None if array is None else array[rows]

        return replace(
            self,
            truth=self.truth[rows],
            labels=part(self.labels),
            scores=part(self.scores),
            weights=self.weights[rows],
            queries=part(self.queries),
        )


def binary(
    truth: Any,
    *,
    scores: Any = None,
    labels: Any = None,
    positive: Any = None,
    threshold: float = 0.5,
    weights: Any = None,
) -> Predictions:
    """Two classes.

    Args:
        truth: class of each row.
        scores: probability of the positive class.
        labels: predicted class; None = the positive one where the score is at least `threshold`.
        positive: the class that counts; None = the greater of the two (1, True, "yes").
        threshold: of the scores.
        weights: of the rows; None = 1 each.

    Raises:
        InvalidError: more than two classes, scores out of 0 to 1, lengths that differ.
    """
    truth = known(truth, "truth")
    seen = classes_of(truth) if labels is None else classes_of(truth, labels)
    if len(seen) > 2:
        raise InvalidError(f"truth: {len(seen)} classes; two are wanted", field="truth")
    chosen = name_of(seen[-1] if positive is None else positive)
    if positive is not None and chosen not in (names := [name_of(one) for one in seen]):
        raise InvalidError(f"positive: '{chosen}' is no class (they are {', '.join(names)})")
    if positive is None and len(seen) == 1 and chosen in {"0", "False"}:
        chosen = {"0": "1", "False": "True"}[chosen]
    others = [name_of(one) for one in seen if name_of(one) != chosen]
    wanted = np.array([name_of(one) == chosen for one in truth.tolist()], np.int64)
    given = None if scores is None else probabilities(scores, len(wanted))
    said = None
    if labels is not None:
        said = np.array([name_of(one) == chosen for one in np.asarray(labels).tolist()], np.int64)
    elif given is not None:
        said = (given >= threshold).astype(np.int64)
    classes = (others[0] if others else f"not {chosen}", chosen)
    return _checked(
        Predictions(Task.BINARY, wanted, said, given, mass(weights, len(wanted)), classes)
    )


def multiclass(
    truth: Any,
    classes: Sequence[Any] = (),
    *,
    scores: Any = None,
    labels: Any = None,
    weights: Any = None,
) -> Predictions:
    """More classes, one a row.

    Args:
        truth: class of each row.
        classes: in the order of the columns of `scores`; empty = those that are seen, sorted.
        scores: [rows, classes] of probabilities.
        labels: predicted class; None = that of the greatest score.
        weights: of the rows; None = 1 each.

    Raises:
        InvalidError: a class that is not among `classes`, shapes that do not fit.
    """
    truth = known(truth, "truth")
    listed = list(classes) or classes_of(*[a for a in (truth, labels) if a is not None])
    names = tuple(name_of(one) for one in listed)
    given = None
    if scores is not None:
        given = probabilities(scores, len(truth), len(names))
    said = indices(labels, names, "label") if labels is not None else None
    if said is None and given is not None:
        said = given.argmax(axis=1)
    found = indices(truth, names, "truth")
    return _checked(
        Predictions(Task.MULTICLASS, found, said, given, mass(weights, len(found)), names)
    )


def multilabel(
    truth: Any,
    classes: Sequence[Any] = (),
    *,
    scores: Any = None,
    labels: Any = None,
    threshold: float = 0.5,
    weights: Any = None,
) -> Predictions:
    """Any number of labels a row.

    Args:
        truth: [rows, labels] of 0 and 1.
        classes: names of the labels; empty = their numbers.
        scores: [rows, labels] of probabilities.
        labels: predicted, [rows, labels]; None = those whose score is at least `threshold`.
        threshold: of the scores.
        weights: of the rows; None = 1 each.

    Raises:
        InvalidError: shapes that do not fit, values that are not 0 or 1.
    """
    wanted = flags(truth, "truth")
    given = None if scores is None else probabilities(scores, len(wanted), wanted.shape[1])
    said = None if labels is None else flags(labels, "label")
    if said is None and given is not None:
        said = (given >= threshold).astype(np.int64)
    names = tuple(name_of(one) for one in classes or range(wanted.shape[1]))
    return _checked(
        Predictions(Task.MULTILABEL, wanted, said, given, mass(weights, len(wanted)), names)
    )


def regression(truth: Any, predicted: Any, *, weights: Any = None) -> Predictions:
    """Numbers."""
    wanted, said = numbers(truth, "truth"), numbers(predicted, "prediction")
    return _checked(Predictions(Task.REGRESSION, wanted, said, None, mass(weights, len(wanted))))


def ranking(relevance: Any, scores: Any, queries: Any) -> Predictions:
    """Items of queries, the best first.

    Args:
        relevance: of each item, 0 = none.
        scores: that they are sorted by, the greatest first.
        queries: what each item belongs to.
    """
    wanted, said = numbers(relevance, "truth"), numbers(scores, "score")
    if (wanted < 0).any():
        raise InvalidError("truth: relevance below 0", field="truth")
    names = [name_of(one) for one in np.asarray(queries).tolist()]
    _, place = np.unique(np.array(names), return_inverse=True)
    ones = np.ones(len(wanted))
    return _checked(Predictions(Task.RANKING, wanted, None, said, ones, (), place))


def _checked(made: Predictions) -> Predictions:
    rows = len(made.truth)
    if rows == 0:
        raise InvalidError("truth: no rows", field="truth")
    if made.labels is None and made.scores is None:
        raise InvalidError("neither labels nor scores were given", field="label")
    for name in ("labels", "scores", "weights", "queries"):
        array = getattr(made, name)
        if array is not None and len(array) != rows:
            field = name.removesuffix("s")
            raise InvalidError(f"{field}: {len(array)} rows beside {rows} of truth", field=field)
    return made
