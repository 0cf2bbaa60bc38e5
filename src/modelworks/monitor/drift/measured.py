"""One feature of a window against the reference: distances, a test, shares that should be none."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelworks.monitor.drift.cells import Form
from modelworks.monitor.drift.losses import Impact, impact
from modelworks.monitor.drift.reference import Feature, Role
from modelworks.stats import distances, samples, tables
from modelworks.stats.sketches import Sketch


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """What became of one feature.

    Attributes:
        feature: its name.
        source: column that it comes from.
        role: what that is to the model.
        form: number or category.
        values: how many the window has: neither missing nor wrong.
        psi: population stability index, nats; half a count is added to every cell.
        js: Jensen-Shannon distance, 0 to 1.
        total_variation: of the cells, 0 to 1.
        chi_square: of the cells.
        ks: Kolmogorov-Smirnov distance; None of categories. From sketches it is that of the cells.
        ks_bound: how much larger the true one may be; 0 where the values themselves were there.
        wasserstein: distance in the feature's unit; None of categories, and from sketches.
        wasserstein_scaled: the same in standard deviations of the reference.
        moved: of the mean, in standard deviations of the reference; None of categories.
        test: `ks` or `chi_square`.
        p_value: of it.
        adjusted: for the number of features (Benjamini and Hochberg).
        drifted: adjusted and large enough, both.
        missing: share of the rows.
        out_of_range: share of the values; of numbers.
        new_category: share of the values; of categories.
        wrong_type: share of the rows.
        new_names: some categories that are new, and how often they came.
        impact: what it costs; None = the reference has no loss.
        before: shares of the reference by cell.
        now: shares of the window by cell.
        labels: what the cells are called.
    """

    feature: str
    source: str
    role: Role
    form: Form
    values: int
    psi: float
    js: float
    total_variation: float
    chi_square: float | None
    ks: float | None
    ks_bound: float
    wasserstein: float | None
    wasserstein_scaled: float | None
    moved: float | None
    test: str
    p_value: float
    adjusted: float
    drifted: bool
    missing: float
    out_of_range: float
    new_category: float
    wrong_type: float
    new_names: tuple[tuple[str, int], ...]
    impact: Impact | None
    before: tuple[float, ...]
    now: tuple[float, ...]
    labels: tuple[str, ...]


def measure(
    feature: Feature, sketch: Sketch, sample: Any = None, numbers: Any = None
) -> FeatureDrift | None:
    """Measure one feature; None = the window has no value of it.

    Args:
        feature: of the reference.
        sketch: of the window.
        sample: sorted numbers of the reference; None = the cells alone are compared.
        numbers: sorted numbers of the window; None = as above.
    """
    present = feature.cells.present
    before = np.array(feature.counts[:present], np.int64)
    now = np.array(sketch.counts[:present], np.int64)
    values = int(now.sum())
    if not values:
        return None
    old, new = distances.shares(before), distances.shares(now)
    table = tables.chi_square(before, now)
    number = feature.cells.form is Form.NUMBER
    exact = number and sample is not None and numbers is not None and len(numbers) > 0
    ks, bound, moved, gap = None, 0.0, None, None
    test, p_value = "chi_square", table.p_value
    if exact:
        gap = samples.gap(sample, numbers)
        ks = gap.ks
        if not feature.cells.discrete:
            test, p_value = "ks", samples.ks_p_value(ks, len(sample), len(numbers))
    elif number:
        order = _ordered(feature.cells.regular)
        found = distances.grid_ks(old[order], new[order])
        ks, bound = float(found[0]), float(found[1])
    if number:
        moved = sketch.mean(values)
    rows = values + sum(sketch.counts[present:])
    regular = feature.cells.regular
    strange = float(now[regular:].sum()) / values
    return FeatureDrift(
        feature.name,
        feature.source,
        feature.role,
        feature.cells.form,
        values,
        float(distances.psi(distances.shares(before, 0.5), distances.shares(now, 0.5))),
        float(distances.js(old, new)),
        float(distances.total_variation(old, new)),
        table.statistic if np.isfinite(table.statistic) else None,
        ks,
        bound,
        gap.wasserstein if gap else None,
        gap.wasserstein / feature.scale if gap else None,
        moved,
        test,
        p_value,
        p_value,
        drifted=False,
        missing=sketch.counts[present] / rows,
        out_of_range=strange if number else 0.0,
        new_category=0.0 if number else strange,
        wrong_type=sketch.counts[present + 1] / rows,
        new_names=sketch.named,
        impact=impact(feature, sketch),
        before=tuple(old.tolist()),
        now=tuple(new.tolist()),
        labels=feature.cells.labels[:present],
    )


def _ordered(regular: int) -> NDArray[np.int64]:
    """Cells of numbers from below to above."""
    return np.array([regular, *range(regular), regular + 1], np.int64)
