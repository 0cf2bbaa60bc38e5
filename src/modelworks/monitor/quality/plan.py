"""Which columns of the records are looked at, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modelworks.core.tensor import Datatype, Role, Signature
from modelworks.evaluation.columns import name_of
from modelworks.evaluation.predictions import Task
from modelworks.evaluation.slices import FEWEST
from modelworks.stats.intervals import LEVEL

WHOLE: Final = "*"
"""The label `slice` of all rows."""

HEADLINES: Final = {
    Task.BINARY: ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "ece"),
    Task.MULTICLASS: (
        *("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_roc_auc"),
        *("log_loss", "ece"),
    ),
    Task.MULTILABEL: ("accuracy", "micro_precision", "micro_recall", "micro_f1", "macro_roc_auc"),
    Task.REGRESSION: ("mae", "rmse", "median_ae", "bias", "r2"),
    Task.RANKING: ("ndcg", "map", "mrr", "recall", "hit_rate"),
}
"""Metrics that become series where nothing else is asked for."""


class Kind(StrEnum):
    """Where a figure of quality comes from: the label `kind`."""

    MEASURED = "measured"  # from labels
    ESTIMATED = "estimated"  # from the model's own scores, or from what losses depend on
    INFERRED = "inferred"  # from few labels and the estimates beside them


@dataclass(frozen=True, slots=True)
class Plan:
    """How the quality of one model is watched.

    Attributes:
        task: of the model.
        label: column of the predicted class or number; empty = none.
        score: column of the probability (of the second class), or of lists, one a class.
        classes: names, in the order of the scores; empty = those that are seen.
        query: of a ranking: the column that items belong to.
        slices: columns, or two joined by `*`.
        metrics: that become series; empty = the usual ones of the task.
        fewest: rows of a window, or of a slice of it, that are measured.
        level: of the intervals.
    """

    task: Task
    label: str = ""
    score: str = ""
    classes: tuple[str, ...] = ()
    query: str = ""
    slices: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    fewest: int = FEWEST
    level: float = LEVEL

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return self.metrics or HEADLINES[self.task]


def plan_of(signature: Signature, slices: Sequence[str] = ()) -> Plan | None:
    """How a model's outputs are watched; None = they say nothing that labels could be held to.

    Probabilities or classes make it a classification, a number a regression. Several labels a row
    and rankings cannot be told from a signature: make their `Plan` by hand.

    Args:
        signature: of the version.
        slices: columns of the records (`in.region`, `caller`), or two joined by `*`.
    """
    label, score = signature.output(Role.LABEL), signature.output(Role.PROBABILITIES)
    number = signature.output(Role.SCORE)
    names = tuple(name_of(one) for one in signature.classes)
    by = tuple(slices)
    if score is not None or names:
        task = Task.BINARY if len(names) == 2 else Task.MULTICLASS
        if label is None and score is None:
            return None
        said = f"out.{label.name}" if label is not None else ""
        sure = f"out.{score.name}" if score is not None else ""
        return Plan(task, said, sure, names, slices=by)
    floats = {Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16}
    if label is not None and label.datatype not in floats:
        return Plan(Task.MULTICLASS, f"out.{label.name}", slices=by)
    predicted = number if number is not None else label
    return None if predicted is None else Plan(Task.REGRESSION, f"out.{predicted.name}", slices=by)
