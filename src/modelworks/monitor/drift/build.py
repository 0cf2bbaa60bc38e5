"""Makes a reference from a table of columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.errors import InvalidError
from modelworks.monitor.drift import cells as cell
from modelworks.monitor.drift import derive, fit
from modelworks.monitor.drift.cells import Cells
from modelworks.monitor.drift.derive import Kind
from modelworks.monitor.drift.losses import Loss, by_cell
from modelworks.monitor.drift.reference import Block, Feature, Reference, Role, Source, derived
from modelworks.stats.discrepancy import FourierMap

Array = NDArray[np.float64]
KEPT: Final = 20_000
TOGETHER: Final = "*"
_SAMPLED: Final = 10_000
_NUMBERS: Final = 600_000  # of a block's sample: 2.4 MB
_LEAST_ROWS: Final = 30
_MAPPED: Final = 200_000
_FITTED: Final = 5_000
_CATEGORIES: Final = {Kind.TEXT: {".words", ".letters"}, Kind.VECTOR: {".cluster"}}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a reference is made.

    Attributes:
        kinds: of columns whose values would say another.
        predictions: columns that the model answered; those that begin with `out.` are, too.
        left_out: columns that are not looked at, such as labels.
        kept: numbers of a feature that are kept for exact statistics.
        bins: quantiles that numbers are counted in.
        seed: of samples and random features.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    predictions: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    kept: int = KEPT
    bins: int = cell.BINS
    seed: int = 0


_PLAIN: Final = Recipe()


def build(
    columns: Mapping[str, Any], recipe: Recipe = _PLAIN, loss: Loss | None = None
) -> Reference:
    """Make it.

    Args:
        columns: name -> values, rows in the first axis.
        recipe: how.
        loss: what each row cost; None = it is not known.

    Raises:
        InvalidError: fewer than 30 rows, a column that does not exist or holds nothing.
    """
    rows = _checked(columns, recipe)
    sources = tuple(
        _source(name, column, recipe)
        for name, column in columns.items()
        if name not in recipe.left_out
    )
    maker = _Maker(recipe, loss, rows)
    for source in sources:
        maker.add(source, columns[source.name])
    maker.together()
    return Reference(
        rows,
        sources,
        tuple(maker.features),
        tuple(maker.blocks),
        maker.samples,
        loss.name if loss else "",
        float(np.mean(loss.values)) if loss else 0.0,
        fitted=maker.fitted,
    )


def _checked(columns: Mapping[str, Any], recipe: Recipe) -> int:
    for name in (*recipe.kinds, *recipe.predictions, *recipe.left_out):
        if name not in columns:
            known = ", ".join(list(columns)[:20])
            raise InvalidError(f"there is no column '{name}'; there are {known}", field=name)
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1:
        raise InvalidError("a reference needs columns of one length", field="columns")
    rows = counts.pop()
    if rows < _LEAST_ROWS:
        raise InvalidError(f"a reference of {rows} rows says nothing: give at least 30")
    return rows


def _source(name: str, column: Any, recipe: Recipe) -> Source:
    kind = recipe.kinds.get(name) or derive.kind_of(column)
    predicted = name in recipe.predictions or name.startswith("out.")
    width = derive.matrix(column).shape[1] if kind is Kind.VECTOR else 0
    return Source(name, kind, Role.PREDICTION if predicted else Role.FEATURE, width)


class _Maker:
    """Features and blocks, as they come."""

    def __init__(self, recipe: Recipe, loss: Loss | None, rows: int) -> None:
        self._recipe = recipe
        self._loss = loss
        self._rng = np.random.default_rng(recipe.seed)
        self.features: list[Feature] = []
        self.blocks: list[Block] = []
        self.samples: dict[str, Array] = {}
        self.fitted: dict[str, NDArray[Any]] = {}
        self._numbers: dict[str, Array] = {}
        order = self._rng.permutation(rows)
        self._chosen = np.sort(order[:_SAMPLED])
        self._mapped = np.sort(order[:_MAPPED])
        # What words and clusters are found in says nothing of how many rows lie outside of them.
        seen = min(rows // 3, _FITTED)
        self._seen, self._others = order[:seen], np.sort(order[seen:])

    def add(self, source: Source, column: Any) -> None:
        """A source's features, and its block where it is a vector."""
        fitted = fit.fitted(source, column, self._seen, self._recipe.seed)
        if fitted is not None:
            self.fitted[source.name] = fitted
        if source.kind is Kind.VECTOR:
            rows = derive.matrix(column, source.width)
            if not source.width or np.isnan(rows).all():
                raise InvalidError(f"column '{source.name}' holds no vectors", field=source.name)
            found = derive.of_vectors(source.name, rows, None, fitted)
            if source.width > derive.SHORT:
                self._block(source.name, (), rows)
        else:
            found = derived(source, column, fitted)
        for name, values in found.items():
            ending = name.removeprefix(source.name)
            category = source.kind is Kind.CATEGORY or ending in _CATEGORIES.get(source.kind, ())
            honest = fitted is None or ending not in fit.FEATURES
            if honest or any(not cell.is_missing(value) for value in values[self._others]):
                self._feature(name, source, values, category=category, honest=honest)

    def together(self) -> None:
        """The block of all numeric features."""
        if len(self._numbers) > 1:
            rows = np.stack(list(self._numbers.values()), axis=1).astype(np.float32)
            self._block(TOGETHER, tuple(self._numbers), rows)

    def _feature(
        self, name: str, source: Source, column: Any, *, category: bool, honest: bool
    ) -> None:
        """One feature, counted over all rows, or over those that it was not fitted to."""
        centre, scale = 0.0, 1.0
        loss, whole = self._loss, column
        if not honest:
            column = column[self._others]
            loss = Loss(loss.name, loss.values[self._others]) if loss else None
        if category:
            counts, missing, wrong = cell.count_categories(column)
            if not counts:
                raise InvalidError(f"column '{source.name}' holds no values", field=source.name)
            cells = cell.category_cells(counts)
            sketch = cell.sketch_categories(cells, counts, missing, wrong)
            places = _category_places(cells, column) if loss else None
        else:
            numbers, missing, wrong = cell.numbers_of(column)
            finite = np.sort(numbers[np.isfinite(numbers)])
            if not len(finite):
                raise InvalidError(f"column '{source.name}' holds no numbers", field=source.name)
            cells = cell.number_cells(finite, self._recipe.bins)
            centre, scale = float(finite.mean()), float(finite.std()) or 1.0
            sketch = cell.sketch_numbers(cells, np.sort(numbers), missing, wrong, (centre, scale))
            self.samples[name] = _thinned(finite, self._recipe.kept)
            places = _number_places(cells, column) if loss else None
            if source.role is Role.FEATURE and honest:
                self._numbers[name] = _aligned(whole)
        losses, squares = by_cell(loss, places, len(sketch.counts))
        self.features.append(
            Feature(
                name,
                source.name,
                source.role,
                cells,
                sketch.counts,
                centre,
                scale,
                losses,
                squares,
            )
        )

    def _block(self, name: str, columns: tuple[str, ...], rows: NDArray[np.float32]) -> None:
        chosen = self._chosen[: max(100, _NUMBERS // max(rows.shape[1], 1))]
        mapped = FourierMap.fit(rows, self._recipe.seed)
        used = rows[self._mapped]
        self.blocks.append(
            Block(
                name,
                columns,
                mapped,
                mapped.means(used),
                np.asarray(np.linalg.eigvalsh(mapped.covariance(used)), np.float64),
                len(used),
                rows[chosen],
                self._loss.values[chosen] if self._loss else np.zeros(0),
                np.zeros(0) if columns else np.nanmean(rows.astype(np.float64), axis=0),
            )
        )


def _thinned(values: Array, most: int) -> Array:
    """Evenly spaced ones of sorted values, both ends among them."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(np.int64)]


def _aligned(column: Any) -> Array:
    """Numbers with a place for every row; NaN = missing or no number."""
    array = np.asarray(column)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    found = [cell.number_of(value) for value in column]
    return np.array([np.nan if value is None else value for value in found], np.float64)


def _number_places(cells: Cells, column: Any) -> NDArray[np.int64]:
    values = _aligned(column)
    found = cell.places(cells, np.nan_to_num(values, nan=cells.edges[0]))
    found[np.isnan(values)] = cells.present
    return found


def _category_places(cells: Cells, column: Any) -> NDArray[np.int64]:
    known = {name: place for place, name in enumerate(cells.names)}
    known |= dict.fromkeys(cells.others, len(cells.names))
    found = [
        cells.present if cell.is_missing(value) else known.get(cell.text_of(value) or "", -1)
        for value in (column.tolist() if isinstance(column, np.ndarray) else column)
    ]
    return np.where(np.array(found) < 0, cells.regular, found).astype(np.int64)
