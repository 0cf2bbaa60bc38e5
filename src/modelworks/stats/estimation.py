"""How good are predictions whose truth is not known yet, as far as their own scores tell?

Confidence-based performance estimation (CBPE): with calibrated scores each row is, in expectation,
so much a hit and so much a miss; the expected confusion matrix gives the metrics. Source: NannyML's
documentation, "Estimation of performance of the monitored model", and Bialek et al., "Estimating
Model Performance Under Covariate Shift Without Labels" (2024). It holds where the calibrated score
is still the probability of the class: rows of another mix, yes; another relation of truth to
inputs (concept drift), no. It cannot see the latter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.calibration import Isotonic, Sigmoid, fit_isotonic, fit_sigmoid
from modelworks.stats.intervals import LEVEL, Estimate, Floats

ENOUGH: Final = 1000
"""Rows of a class from which on the calibration is isotonic; with fewer it is a sigmoid."""
METHOD: Final = "cbpe"
_MEMBERS: Final = 15
_DRAWS: Final = 300
_MOST_ROWS: Final = 5000
"""Of the rows that the bands are drawn on; the band of more is narrower by the root."""

Calibrator = Isotonic | Sigmoid


@dataclass(frozen=True, slots=True)
class Calibration:
    """What scores mean, learnt on rows whose truth was known.

    Attributes:
        members: the calibrators, one a class (binary: one); the first set is fitted to all rows,
            the others to resamples of them: how sure it is.
        rows: that they were fitted to.
    """

    members: tuple[tuple[Calibrator, ...], ...]
    rows: int

    def apply(self, scores: Floats, member: int = 0) -> Floats:
        """Probabilities [rows, classes], from scores as `fit_calibration` takes them."""
        chosen = self.members[member % len(self.members)]
        if scores.ndim == 1:
            share = chosen[0].apply(scores)
            return np.stack([1 - share, share], axis=1)
        found = np.stack([one.apply(scores[:, k]) for k, one in enumerate(chosen)], axis=1)
        total = found.sum(axis=1, keepdims=True)
        even = np.full(found.shape, 1 / found.shape[1])
        return np.where(total > 0, found / np.where(total > 0, total, 1), even)


def fit_calibration(scores: Any, truth: Any, *, seed: int = 0) -> Calibration:
    """Learn what scores mean.

    Args:
        scores: [rows] of the positive class, or [rows, classes].
        truth: class index, a row each.
        seed: of the resampling.

    Raises:
        InvalidError: too few rows, or a class that never occurs.
    """
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, np.int64)
    columns = scores[:, None] if scores.ndim == 1 else scores
    flags = (truth == 1)[:, None] if scores.ndim == 1 else np.eye(columns.shape[1])[truth] == 1
    if len(truth) < 50 or not flags.any(axis=0).all() or flags.all(axis=0).any():
        raise InvalidError(
            f"{len(truth)} rows with their truth: at least 50 and some of each class are wanted "
            "to learn what scores mean",
            field="truth",
        )
    generator = np.random.default_rng(seed)
    members = []
    for number in range(_MEMBERS + 1):
        rows = generator.integers(0, len(truth), len(truth)) if number else slice(None)
        pairs = [(columns[rows, k], flags[rows, k] * 1.0) for k in range(columns.shape[1])]
        if all(0 < flag.sum() < len(flag) for _, flag in pairs):
            members.append(tuple(_fit(*pair) for pair in pairs))
    return Calibration(tuple(members), len(truth))


def _fit(scores: Floats, flags: Floats) -> Calibrator:
    fewest = min(flags.sum(), len(flags) - flags.sum())
    return (fit_isotonic if fewest >= ENOUGH else fit_sigmoid)(scores, flags)


def expected_confusion(shares: Floats, labels: Any) -> Floats:
    """Expected rows by [true class, predicted class].

    Args:
        shares: calibrated probabilities, [rows, classes].
        labels: predicted class, a row each.
    """
    size = shares.shape[1]
    found: Floats = (np.eye(size)[labels].T @ shares).T
    return found


def rates(confusion: Floats) -> dict[str, Floats]:
    """Metrics of confusion matrices [..., true, predicted]; NaN = not defined.

    Two classes: of the second one. More: means over the classes (macro), a class that is neither
    true nor predicted left out, an undefined rate counted as 0.
    """
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, said = confusion.sum(axis=-1), confusion.sum(axis=-2)
    with np.errstate(all="ignore"):
        found = {"accuracy": hit.sum(axis=-1) / confusion.sum(axis=(-2, -1))}
        each = {"precision": hit / said, "recall": hit / true, "f1": 2 * hit / (true + said)}
    if confusion.shape[-1] == 2:
        found |= {name: values[..., 1] for name, values in each.items()}
        found["specificity"] = each["recall"][..., 0]
        return found
    there = (true + said) > 0
    for name, values in each.items():
        total = np.where(there, np.nan_to_num(values), 0).sum(axis=-1)
        found[f"macro_{name}"] = total / np.maximum(there.sum(axis=-1), 1)
    return found


def expected_auc(scores: Floats, shares: Floats, weights: Any = None) -> Any:
    """Expected area under the ROC curve: each row is so much a positive and so much a negative.

    Args:
        scores: that rows are ranked by.
        shares: probability of the positive class, [..., rows].
        weights: truth that was drawn instead, [..., rows] of 0 and 1; None = the shares themselves.
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    new = np.concatenate([[True], ranked[1:] != ranked[:-1]])
    starts, tie = np.flatnonzero(new), np.cumsum(new) - 1
    above = np.asarray(shares if weights is None else weights, np.float64)[..., order]
    runs = np.add.reduceat(1 - above, starts, axis=-1)
    beaten = (np.cumsum(runs, axis=-1) - runs / 2)[..., tie]
    total, rest = above.sum(axis=-1), (1 - above).sum(axis=-1)
    with np.errstate(all="ignore"):
        return np.sum(above * beaten, axis=-1) / np.where(total * rest > 0, total * rest, np.nan)


def estimate(
    calibration: Calibration,
    scores: Any,
    labels: Any,
    *,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Metrics that are to be expected of these rows, and where the realised ones should lie.

    The band holds what chance does to the truth of these rows and what is not known about the
    calibration; nothing in it is for concept drift.

    Args:
        calibration: learnt before.
        scores: [rows] or [rows, classes].
        labels: predicted class index, a row each.
        level: of the band.
        seed: of the draws.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if not len(labels):
        return {}
    shares = calibration.apply(scores)
    values = _expected(scores, shares, labels)
    generator = np.random.default_rng(seed)
    few: Any = slice(None)
    if len(labels) > _MOST_ROWS:
        few = generator.choice(len(labels), _MOST_ROWS, replace=False)
    narrow = (min(1.0, _MOST_ROWS / len(labels))) ** 0.5
    drawn = _drawn(calibration, scores[few], labels[few], generator)
    centre = _expected(scores[few], calibration.apply(scores[few]), labels[few])
    found = {}
    for name, value in values.items():
        off = drawn[name] - centre[name]
        known = off[np.isfinite(off)]
        if not np.isfinite(value) or len(known) < _DRAWS // 2:
            found[name] = Estimate(float(value), np.nan, np.nan, METHOD)
            continue
        low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
        ends = np.clip([value + narrow * low, value + narrow * high], 0, 1)
        found[name] = Estimate(float(value), float(ends[0]), float(ends[1]), METHOD)
    return found


def _expected(scores: Floats, shares: Floats, labels: Any) -> dict[str, float]:
    found = {n: float(v) for n, v in rates(expected_confusion(shares, labels)).items()}
    if scores.ndim == 1:
        found["roc_auc"] = float(expected_auc(scores, shares[:, 1]))
    else:
        every = [expected_auc(scores[:, k], shares[:, k]) for k in range(shares.shape[1])]
        found["macro_roc_auc"] = float(np.mean(every))
    return found


def _drawn(
    calibration: Calibration, scores: Floats, labels: Any, generator: np.random.Generator
) -> Mapping[str, Floats]:
    """Metrics of truths that were drawn by the calibrated scores, each member's in turn."""
    collected: dict[str, list[Floats]] = {}
    members = max(1, len(calibration.members) - 1)
    each = -(-_DRAWS // members)
    for member in range(1, members + 1):
        shares = calibration.apply(scores, member)
        size = shares.shape[1]
        limits = np.cumsum(shares, axis=1)[:, :-1]
        truth = (generator.random((each, len(labels), 1)) > limits).sum(axis=2)
        cells = truth * size + labels + np.arange(each)[:, None] * size * size
        counts = np.bincount(cells.ravel(), minlength=each * size * size)
        for name, values in rates(counts.reshape(each, size, size).astype(np.float64)).items():
            collected.setdefault(name, []).append(values)
        for name, values in _areas(scores, truth, size).items():
            collected.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in collected.items()}


def _areas(scores: Floats, truth: Any, size: int) -> dict[str, Floats]:
    if scores.ndim == 1:
        return {"roc_auc": expected_auc(scores, truth, truth)}
    every = [expected_auc(scores[:, k], truth, truth == k) for k in range(size)]
    return {"macro_roc_auc": np.mean(every, axis=0)}


def document(calibration: Calibration) -> dict[str, Any]:
    """As JSON; `restored` reads it."""
    return {
        "rows": calibration.rows,
        "members": [[_written(one) for one in member] for member in calibration.members],
    }


def restored(data: Mapping[str, Any]) -> Calibration:
    """What `document` wrote."""
    members: Sequence[Sequence[Mapping[str, Any]]] = data["members"]
    return Calibration(tuple(tuple(map(_read, one)) for one in members), int(data["rows"]))


def _written(one: Calibrator) -> dict[str, Any]:
    if isinstance(one, Isotonic):
        return {"xs": list(one.xs), "ys": list(one.ys)}
    return {"slope": one.slope, "offset": one.offset}


def _read(data: Mapping[str, Any]) -> Calibrator:
    if "xs" in data:
        return Isotonic(tuple(data["xs"]), tuple(data["ys"]))
    return Sigmoid(float(data["slope"]), float(data["offset"]))
