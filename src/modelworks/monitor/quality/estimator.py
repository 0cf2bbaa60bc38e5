"""What is expected of a model while no labels have come: learnt once from rows that have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.evaluation.predictions import Task
from modelworks.monitor.quality.plan import Plan
from modelworks.monitor.quality.rows import Rows
from modelworks.stats import boosting, estimation
from modelworks.stats.boosting import Boosted
from modelworks.stats.estimation import Calibration
from modelworks.stats.intervals import Estimate, Floats, z_of

FEWEST: Final = 200
"""Rows with their truth that losses are learnt from."""
MOST: Final = 10_000
"""Of more rows an even part is learnt from: it costs seconds, and more of them change little."""
LOSS: Final = "learnt loss"
_INPUT: Final = "in."
_FOLDS: Final = 2
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """What the error of a regression depends on.

    Attributes:
        features: input columns, in order; the prediction itself comes after them.
        size: of the absolute error.
        square: of the squared error.
        noise: standard deviations of both about what is expected, on rows that were not learnt.
        bias: of both, on the same rows.
        rows: learnt from.
    """

    features: tuple[str, ...]
    size: Boosted
    square: Boosted
    noise: tuple[float, float]
    bias: tuple[float, float]
    rows: int

    def expected(self, rows: Rows) -> tuple[Floats, Floats]:
        """Absolute and squared error of each row."""
        table = _table(rows, self.features)
        first, second = self.size.predict(table), self.square.predict(table)
        return np.maximum(first - self.bias[0], 0), np.maximum(second - self.bias[1], 0)


@dataclass(frozen=True, slots=True, eq=False)
class Estimator:
    """One of the two.

    Attributes:
        calibration: of a classification with scores.
        losses: of a regression.
    """

    calibration: Calibration | None = None
    losses: Losses | None = None


def fit(rows: Rows, plan: Plan, *, seed: int = 0) -> Estimator:
    """Learn from rows with their truth: a test set, or the first labels that come.

    Not the rows that the model was trained on: it is surer of them than it should be.

    Args:
        rows: those without a truth are left out.
        plan: of the model.
        seed: of resampling and folds.

    Raises:
        UnsupportedError: a task without an estimator, or scores were not recorded.
        InvalidError: too few rows.
    """
    own = rows.take(rows.known)
    if plan.task is Task.REGRESSION:
        return Estimator(losses=_fit_losses(own, seed))
    if plan.task not in {Task.BINARY, Task.MULTICLASS} or own.scores is None:
        raise UnsupportedError(
            f"the quality of this model ({plan.task}) cannot be estimated without labels: that "
            "wants probabilities, or a number"
        )
    return Estimator(calibration=estimation.fit_calibration(own.scores, own.truth, seed=seed))


def estimate(estimator: Estimator, rows: Rows, plan: Plan) -> dict[str, Estimate]:
    """What is to be expected of these rows, with bands; see `stats.estimation.estimate`.

    Of a regression MAE and RMSE: means of the expected errors, the band being what their noise
    makes of the mean of so many rows.
    """
    if not len(rows):
        return {}
    if estimator.calibration is not None and rows.scores is not None:
        return estimation.estimate(
            estimator.calibration, rows.scores, rows.labels, level=plan.level
        )
    if estimator.losses is None:
        return {}
    found = {}
    for place, (name, values) in enumerate(
        zip(("mae", "rmse"), estimator.losses.expected(rows), strict=True)
    ):
        mean = float(values.mean())
        spread = 1 / len(rows) + 1 / estimator.losses.rows
        half = z_of(plan.level) * estimator.losses.noise[place] * spread**0.5
        ends = [mean, max(0.0, mean - half), mean + half]
        value, low, high = ends if place == 0 else [end**0.5 for end in ends]
        found[name] = Estimate(value, low, high, LOSS)
    return found


def _fit_losses(own: Rows, seed: int) -> Losses:
    if len(own) < FEWEST:
        raise InvalidError(
            f"{len(own)} rows with their truth: {FEWEST} are wanted to learn what errors depend on",
            field="truth",
        )
    own = own.take(slice(None, None, -(-len(own) // MOST)))
    features = tuple(
        sorted(
            name
            for name, column in own.columns.items()
            if name.startswith(_INPUT) and np.asarray(column).dtype.kind in "fiub"
        )
    )
    table = _table(own, features)
    off = np.abs(own.labels - own.truth)
    targets = (off, np.square(off))
    fold = np.random.default_rng(seed).permutation(len(off)) % _FOLDS
    rest = np.empty((2, len(off)))
    for number in range(_FOLDS):
        out = fold == number
        for place, target in enumerate(targets):
            fitted = boosting.fit_boosted(table[~out], target[~out])
            rest[place, out] = fitted.predict(table[out]) - target[out]
    noise = tuple(float(one) for one in rest.std(axis=1, ddof=1))
    bias = tuple(float(one) for one in rest.mean(axis=1))
    size, square = (boosting.fit_boosted(table, target) for target in targets)
    return Losses(features, size, square, (noise[0], noise[1]), (bias[0], bias[1]), len(off))


def _table(rows: Rows, features: tuple[str, ...]) -> Floats:
    missing = np.full(len(rows), np.nan)
    columns = [_plain(rows.columns.get(name, missing)) for name in features]
    return np.stack([*columns, np.asarray(rows.labels, np.float64)], axis=1)


def _plain(column: Any) -> Floats:
    array = np.asarray(column)
    if array.dtype.kind in "fiub" and array.ndim == 1:
        return array.astype(np.float64)
    numbers = [v if isinstance(v, int | float) else np.nan for v in array.tolist()]
    return np.array(numbers, np.float64)


def document(found: Estimator) -> dict[str, Any]:
    """As JSON; `restored` reads it."""
    calibration, losses = found.calibration, found.losses
    return {
        "format": FORMAT,
        "calibration": None if calibration is None else estimation.document(calibration),
        "losses": None
        if losses is None
        else {
            "features": list(losses.features),
            "size": boosting.document(losses.size),
            "square": boosting.document(losses.square),
            "noise": list(losses.noise),
            "bias": list(losses.bias),
            "rows": losses.rows,
        },
    }


def restored(data: Mapping[str, Any]) -> Estimator:
    """What `document` wrote.

    Raises:
        InvalidError: it is nothing that `document` wrote.
    """
    try:
        if data["format"] != FORMAT:
            raise InvalidError(f"an estimator of format {data['format']}; {FORMAT} is known")
        calibration, losses = data["calibration"], data["losses"]
        return Estimator(
            None if calibration is None else estimation.restored(calibration),
            None
            if losses is None
            else Losses(
                tuple(losses["features"]),
                boosting.restored(losses["size"]),
                boosting.restored(losses["square"]),
                (losses["noise"][0], losses["noise"][1]),
                (losses["bias"][0], losses["bias"][1]),
                int(losses["rows"]),
            ),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InvalidError(f"no estimator of quality: {error!r}") from error
