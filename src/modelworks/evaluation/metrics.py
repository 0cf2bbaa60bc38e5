"""All metrics of a task, by name."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.evaluation.labels import of_binary, of_multiclass, of_multilabel
from modelworks.evaluation.measured import Measured
from modelworks.evaluation.numbers import of_numbers
from modelworks.evaluation.predictions import Predictions, Task
from modelworks.evaluation.ranks import TOP, of_ranks
from modelworks.evaluation.scores import of_scores
from modelworks.stats.intervals import LEVEL

_BY_LABELS: Final[dict[Task, Callable[[Predictions, float], list[Measured]]]] = {
    Task.BINARY: of_binary,
    Task.MULTICLASS: of_multiclass,
    Task.MULTILABEL: of_multilabel,
}
_LOWER: Final = (
    *("log_loss", "brier", "ece", "mae", "rmse", "mape", "smape", "median_ae", "pinball"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """How metrics are made.

    Attributes:
        level: of the intervals.
        top: k of a ranking.
        quantile: that a regression predicts; None = none.
        only: names of the metrics that are wanted, without `@k` and `[class]`; empty = all.
    """

    level: float = LEVEL
    top: int = TOP
    quantile: float | None = None
    only: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            InvalidError: a level that is not between 0.5 and 1.
        """
        if not 0.5 <= self.level < 1:
            raise InvalidError(f"level: {self.level} is not from 0.5 to below 1", field="level")


def measure(given: Predictions, options: Options | None = None) -> dict[str, Measured]:
    """Every metric that the task and the columns allow, in a stable order.

    Args:
        given: rows with their truth.
        options: None = the usual ones.

    Raises:
        InvalidError: an option that cannot be, or a metric that the task does not have.
    """
    options = options or Options()
    options.check()
    level = options.level
    found: list[Measured] = []
    if given.task in _BY_LABELS and given.labels is not None:
        found += _BY_LABELS[given.task](given, level)
    if given.task in _BY_LABELS and given.scores is not None:
        found += of_scores(given, level)
    if given.task is Task.REGRESSION:
        found = of_numbers(given, level, options.quantile)
    if given.task is Task.RANKING:
        found = of_ranks(given, level, options.top)
    return _chosen({one.name: one for one in found}, options.only)


def base_of(name: str) -> str:
    """A metric's name without `@k` and `[class]`."""
    return name.partition("[")[0].partition("@")[0]


def better(name: str) -> int:
    """1 = more is better, -1 = less is better, 0 = neither (bias)."""
    base = base_of(name)
    if base == "bias":
        return 0
    return -1 if base in _LOWER else 1


def at_level(given: Predictions, options: Options, level: float) -> dict[str, Measured]:
    """`measure` at another level: of one of many intervals that are to hold together."""
    return measure(given, replace(options, level=level))


def _chosen(found: dict[str, Measured], only: Collection[str]) -> dict[str, Measured]:
    if not only:
        return found
    bases = {base_of(name) for name in found}
    for wanted in only:
        if wanted not in bases and wanted not in found:
            listed = ", ".join(sorted(bases))
            raise InvalidError(
                f"metric '{wanted}' is not to be had here (there are {listed})", field="metric"
            )
    return {n: one for n, one in found.items() if n in only or base_of(n) in only}
