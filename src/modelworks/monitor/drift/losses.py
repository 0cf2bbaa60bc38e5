"""What each row of a reference cost, and what a shift of one feature would cost by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.errors import InvalidError
from modelworks.monitor.drift.reference import Feature
from modelworks.stats.sketches import Sketch

Array = NDArray[np.float64]
_Z: Final = 1.959964  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss a row.

    Attributes:
        name: what it is.
        values: of the rows.
    """

    name: str
    values: Array


@dataclass(frozen=True, slots=True)
class Impact:
    """What a shift of one feature costs, if the rest follows it as in the reference.

    Attributes:
        loss: estimated mean loss.
        change: of it from the reference's.
        low: of a 95 % interval of the change.
        high: of it.
        unseen: share of values that the reference has none like; the worst cell's loss stands for
            theirs.
    """

    loss: float
    change: float
    low: float
    high: float
    unseen: float


def of_labels(labels: Any, predictions: Any) -> Loss:
    """`absolute error` where labels are numbers of many values, else `error`: 0 or 1.

    Raises:
        InvalidError: different lengths.
    """
    truth, said = np.asarray(labels), np.asarray(predictions)
    if truth.shape != said.shape or truth.ndim != 1:
        raise InvalidError("labels and predictions need one value a row each", field="labels")
    numeric = all(array.dtype.kind in "biuf" for array in (truth, said))
    if numeric and (truth.dtype.kind == "f" or len(np.unique(truth)) > 20):
        apart = np.abs(truth.astype(np.float64) - said.astype(np.float64))
        return Loss("absolute error", _whole(apart))
    if numeric:
        return Loss("error", (truth != said).astype(np.float64))
    return Loss(
        "error", np.array([str(a) != str(b) for a, b in zip(truth, said, strict=True)], float)
    )


def of_scores(scores: Any) -> Loss:
    """`expected error`: one less the model's confidence, which is right where it is calibrated.

    Args:
        scores: probability of the positive class, or one a class, a row each.

    Raises:
        InvalidError: not from 0 to 1.
    """
    given = np.asarray(scores if np.asarray(scores).dtype != object else list(scores), np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise InvalidError("scores are probabilities, from 0 to 1", field="score")
    confidence = given.max(1) if given.ndim == 2 else np.maximum(given, 1 - given)
    return Loss("expected error", 1.0 - confidence)


def of_column(name: str, values: Any) -> Loss:
    """A loss that was computed elsewhere.

    Raises:
        InvalidError: no numbers.
    """
    found = np.asarray(values)
    if found.dtype.kind not in "biuf" or found.ndim != 1:
        raise InvalidError(f"'{name}': a loss is a number a row", field="loss")
    return Loss(name, _whole(found.astype(np.float64)))


def by_cell(
    loss: Loss | None, places: NDArray[np.int64] | None, cells: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean loss and mean squared loss by cell; empty where no loss is known."""
    if loss is None or places is None:
        return (), ()
    counts = np.maximum(np.bincount(places, minlength=cells), 1)
    sums = np.bincount(places, loss.values, minlength=cells)
    squares = np.bincount(places, loss.values**2, minlength=cells)
    return tuple((sums / counts).tolist()), tuple((squares / counts).tolist())


def impact(feature: Feature, sketch: Sketch) -> Impact | None:
    """What a window's shares of one feature cost; None = the reference has no loss.

    The loss by cell is the reference's, weighted by the window's shares: importance weighting with
    the ratio of the two histograms as density ratio (Shimodaira 2000). It assumes that what the
    model gets wrong at a given value has not changed; a change of the relation itself is seen in
    `quality` only.
    """
    if not feature.losses:
        return None
    before = np.array(feature.counts, np.float64)
    now = np.array(sketch.counts, np.float64)
    if not now.sum() or not before.sum():
        return None
    seen = before > 0
    losses = np.where(seen, feature.losses, max(_of(feature.losses, seen)))
    spread = np.maximum(np.array(feature.squares) - np.array(feature.losses) ** 2, 0.0)
    old, new = before / before.sum(), now / now.sum()
    moved = new - old
    change = float(moved @ losses)
    # error of the cells' mean losses, and of the window's shares
    variance = float((moved**2 * np.where(seen, spread, 0.0) / np.maximum(before, 1)).sum())
    variance += float(new @ losses**2 - (new @ losses) ** 2) / now.sum()
    variance += float(old @ losses**2 - (old @ losses) ** 2) / before.sum()
    error = _Z * float(np.sqrt(max(variance, 0.0)))
    loss = float(new @ losses)
    return Impact(loss, change, change - error, change + error, float(new[~seen].sum()))


def _of(losses: Sequence[float], seen: NDArray[np.bool_]) -> list[float]:
    return [loss for loss, there in zip(losses, seen.tolist(), strict=True) if there]


def _whole(values: Array) -> Array:
    if not np.isfinite(values).all():
        raise InvalidError("labels, predictions and losses may not be missing", field="labels")
    return values
