"""What generated rows may look like, from what an estimator remembers of its training rows."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags

from modelworks.core.imports import Ranges
from modelworks.core.tensor import Layout
from modelworks.ext.importers.samples import Sample
from modelworks.ext.importers.sklearn import boosted
from modelworks.ext.importers.sklearn.columns import Columns
from modelworks.ext.importers.sklearn.walk import every, first_seen, members

Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]
_SEEN_ROWS = (
    "_fit_X",
    "support_vectors_",
    "cluster_centers_",
    "X_train_",
    "X_fit_",
    "means_",
    "theta_",
    "quantiles_",
    "mean_",
    "location_",
)
_MANY_CATEGORIES = 200
_MANY_TREES = 50
_SIGMAS = 3.0
_DWARFS = 1e4


def find(estimator: Any, columns: Columns, sample: Sample | None) -> dict[str, Ranges]:
    """By column name (or number, for a matrix without names): categories, or bounds.

    The sample wins over the estimator; where neither says anything, nothing is said.
    """
    found: dict[int, Ranges] = {}
    for part, seen in first_seen(estimator, tuple(range(len(columns.columns)))):
        learned = boosted.ranges(part)
        fitting = learned and len(learned) == len(seen)
        for i, known in zip(seen, learned, strict=True) if fitting else _of_part(part, seen):
            found.setdefault(i, known)
    if _positive(estimator):
        for i in range(len(columns.columns)):
            found[i] = _at_least_zero(found.get(i))
    if sample is not None and len(sample.columns) == len(columns.columns):
        for i, values in enumerate(sample.columns.values()):
            name = columns.columns[i].name
            found[i] = _of_values(sample.columns.get(name, values)) or found.get(i, Ranges())
    keys = _keys(columns)
    return {keys[i]: known for i, known in found.items() if known != Ranges()}


def _keys(columns: Columns) -> list[str]:
    if columns.layout is Layout.MATRIX and not columns.named:
        return [str(i) for i in range(len(columns.columns))]
    return [column.name for column in columns.columns]


def _positive(estimator: Any) -> bool:
    """Whether a part refuses negative values."""
    return any(bool(get_tags(part).input_tags.positive_only) for part in every(estimator))


def _at_least_zero(known: Ranges | None) -> Ranges:
    if known is None or known == Ranges():
        return Ranges(low=0.0, high=10.0)
    if known.values:
        return known
    low = max(known.low or 0.0, 0.0)
    return Ranges(low=low, high=max(known.high or 0.0, low + 1.0))


def _of_values(values: Any) -> Ranges | None:
    if values.dtype == object:
        known = tuple(dict.fromkeys(str(v) for v in values.tolist() if v is not None))
        return Ranges(values=known[:_MANY_CATEGORIES])
    numbers = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not numbers.size or values.dtype == bool:
        return None
    return Ranges(low=float(numbers.min()), high=float(numbers.max()))


def _of_part(part: Any, seen: tuple[int, ...]) -> Iterator[tuple[int, Ranges]]:
    categories = getattr(part, "categories_", None)
    if isinstance(categories, list) and len(categories) == len(seen):
        for i, values in zip(seen, categories, strict=True):
            plain = [v for v in np.asarray(values).tolist() if v is not None and v == v]  # noqa: PLR0124 - NaN
            yield i, Ranges(values=tuple(plain[:_MANY_CATEGORIES]))
        return
    counts = getattr(part, "n_categories_", None)
    if counts is not None and len(counts) == len(seen):
        for i, count in zip(seen, counts.tolist(), strict=True):
            yield i, Ranges(values=tuple(range(min(int(count), _MANY_CATEGORIES))))
        return
    vocabulary = getattr(part, "vocabulary_", None)
    if isinstance(vocabulary, dict):
        for i in seen:
            yield i, Ranges(values=_sentences([str(word) for word in vocabulary]))
        return
    bounds = _bounds(part, len(seen))
    if bounds is not None:
        low, high = bounds
        for place, i in enumerate(seen):
            if np.isfinite(low[place]) and np.isfinite(high[place]) and low[place] <= high[place]:
                yield i, Ranges(low=float(low[place]), high=float(high[place]))


def _sentences(words: list[str]) -> tuple[str, ...]:
    """Texts of one to twelve known words, and one of none."""
    random = np.random.default_rng(0)
    words = sorted(words)
    texts = [
        " ".join(words[j] for j in random.integers(0, len(words), random.integers(1, 13)))
        for _ in range(64)
    ]
    return (*texts, "")


def _bounds(part: Any, width: int) -> Bounds | None:
    pairs = (
        _of_scaler(part),
        _of_trees(part, width),
        _of_bins(part),
        _of_rows(part, width),
        _of_linear(part),
    )
    for pair in pairs:
        if pair is not None and len(pair[0]) == width:
            return pair
    return None


def _vector(part: Any, *names: str) -> list[NDArray[np.float64]] | None:
    """Attributes as float vectors; None where one is missing or no vector of numbers."""
    vectors = []
    for name in names:
        try:
            vector = np.asarray(getattr(part, name, None), np.float64)
        except (TypeError, ValueError):
            return None
        if vector.ndim != 1:
            return None
        vectors.append(vector)
    return vectors


def _of_scaler(part: Any) -> Bounds | None:
    if pair := _vector(part, "data_min_", "data_max_"):
        return pair[0], pair[1]
    if pair := _vector(part, "mean_", "var_"):
        spread = _SIGMAS * np.sqrt(np.maximum(pair[1], 0))
        return pair[0] - spread, pair[0] + spread
    if pair := _vector(part, "center_", "scale_"):
        return pair[0] - _SIGMAS * np.abs(pair[1]), pair[0] + _SIGMAS * np.abs(pair[1])
    if pair := _vector(part, "_x_mean", "_x_std"):  # partial least squares
        return pair[0] - _SIGMAS * pair[1], pair[0] + _SIGMAS * pair[1]
    if single := _vector(part, "max_abs_"):
        return -single[0], single[0]
    return None


def _of_bins(part: Any) -> Bounds | None:
    edges = getattr(part, "bin_edges_", None)
    if edges is None:
        return None
    rows = [np.asarray(e, np.float64) for e in edges]
    return np.array([r.min() for r in rows]), np.array([r.max() for r in rows])


def _of_rows(part: Any, width: int) -> Bounds | None:
    """Bounds, a little widened, of training rows or centres that the estimator keeps."""
    for name in _SEEN_ROWS:
        rows: Any = getattr(part, name, None)
        if hasattr(rows, "toarray"):
            rows = rows.toarray()
        array = np.asarray(rows) if rows is not None else np.zeros(0)
        if array.dtype.kind not in "fiu" or array.ndim not in {1, 2} or array.shape[-1] != width:
            continue
        array = np.atleast_2d(array).astype(np.float64)
        low, high = array.min(axis=0), array.max(axis=0)
        margin = np.maximum(0.1 * (high - low), 1e-3 * np.abs(low)) if len(array) > 1 else 1.0
        return low - margin, high + margin
    return None


def _of_linear(part: Any) -> Bounds | None:
    """Around the root of a linear model whose intercept dwarfs its coefficients.

    Such an intercept takes back a large offset of the training values, or is one of the target's;
    which of the two, the model does not say, so the harder one is tried. Of several rows of
    coefficients the first counts, or where a label is wanted what sets the first two apart.
    """
    try:
        rows = np.atleast_2d(np.asarray(getattr(part, "coef_", None), np.float64))
        offsets = np.ravel(np.asarray(getattr(part, "intercept_", 0.0), np.float64))
    except (TypeError, ValueError):
        return None
    if rows.ndim != 2 or not rows.size or len(offsets) != len(rows):
        return None
    coefficients, offset = rows[0], float(offsets[0])
    if len(rows) > 1 and hasattr(part, "classes_"):
        coefficients, offset = rows[0] - rows[1], float(offsets[0] - offsets[1])
    size = float(np.square(coefficients).sum())
    if not size or abs(offset) < _DWARFS * float(np.abs(coefficients).max()):
        return None
    root = -offset * coefficients / size
    return root - _SIGMAS, root + _SIGMAS


def _of_trees(part: Any, width: int) -> Bounds | None:
    """Bounds of the thresholds, widened by a quarter: beyond them nothing changes any more."""
    pairs = [(f, t) for f, t in thresholds(part) if f.size and int(f.max()) < width]
    if not pairs:
        return None
    features = np.concatenate([f for f, _ in pairs])
    values = np.concatenate([t for _, t in pairs]).astype(np.float64)
    known = np.isfinite(values)
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    np.minimum.at(low, features[known], values[known])
    np.maximum.at(high, features[known], values[known])
    unused = low > high
    low[unused], high[unused] = 0.0, 1.0
    margin = 0.25 * (high - low) + 0.05 * np.abs(low) + 1e-3
    return low - margin, high + margin


def thresholds(part: Any) -> Iterable[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """(features, thresholds) of the splits of each tree in an estimator."""
    trees: list[Any] = [getattr(part, "tree_", None)]
    trees += [getattr(member, "tree_", None) for member in members(part)[:_MANY_TREES]]
    for tree in trees:
        if hasattr(tree, "feature"):
            inner = tree.feature >= 0
            yield tree.feature[inner], tree.threshold[inner]
    for stage in getattr(part, "_predictors", ())[:_MANY_TREES]:
        for predictor in stage:
            inner = predictor.nodes["is_leaf"] == 0
            nodes = predictor.nodes[inner]
            yield nodes["feature_idx"].astype(np.intp), nodes["num_threshold"]
