"""A window against a reference: what moved, whether it matters, and what is wrong with the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from modelworks.monitor.drift import window as windows
from modelworks.monitor.drift.cells import Form
from modelworks.monitor.drift.measured import FeatureDrift, measure
from modelworks.monitor.drift.reference import Feature, Reference, Role
from modelworks.monitor.drift.together import BlockDrift, compare
from modelworks.monitor.drift.window import Window
from modelworks.stats import multiple, tables
from modelworks.stats.sketches import Sketch


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as drift.

    Attributes:
        alpha: share of false findings among those of one report.
        js: smallest Jensen-Shannon distance that is one, however sure it is: 0.05 is a normal
            feature that moves by about an eighth of its standard deviation.
        share: smallest rise of a share (missing, out of range ...) that is a finding.
    """

    alpha: float = 0.01
    js: float = 0.05
    share: float = 0.002


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the data that should not be.

    Attributes:
        feature: or column.
        kind: `missing`, `out_of_range`, `new_category`, `wrong_type`, `absent` (the column is not
            there at all).
        share: of the window's rows or values.
        before: of the reference's.
        adjusted: p-value for the number of features and kinds.
        detail: a sentence.
    """

    feature: str
    kind: str
    share: float
    before: float
    adjusted: float
    detail: str


@dataclass(frozen=True, slots=True)
class DriftReport:
    """A window against a reference.

    Attributes:
        rows: of the window.
        reference_rows: of the reference.
        features: those that drifted first; of them features before predictions, which follow from
            them; by estimated impact where the reference has a loss, else by distance.
        together: features that are looked at together, and vectors.
        findings: about the data.
        loss: what loss means; empty = the reference has none, the impact is unknown.
        mean_loss: of the reference.
        limits: what counted as drift.
    """

    rows: int
    reference_rows: int
    features: tuple[FeatureDrift, ...]
    together: tuple[BlockDrift, ...]
    findings: tuple[Finding, ...]
    loss: str
    mean_loss: float
    limits: Limits

    @property
    def drifted(self) -> tuple[FeatureDrift, ...]:
        """Those that drifted, the costliest first."""
        return tuple(feature for feature in self.features if feature.drifted)

    @property
    def moved(self) -> bool:
        """Whether anything drifted, alone or together."""
        together = any(block.p_value <= self.limits.alpha for block in self.together)
        return bool(self.drifted) or together


_USUAL: Final = Limits()


def report(
    reference: Reference,
    columns: Mapping[str, Any],
    limits: Limits = _USUAL,
    *,
    together: bool = True,
    seed: int = 0,
) -> DriftReport:
    """Compare data with a reference.

    Args:
        reference: of the model's version.
        columns: name -> values, rows in the first axis.
        limits: what counts as drift.
        together: look at all numbers together, too.
        seed: of the classifier's rows.

    Raises:
        InvalidError: columns of different lengths.
    """
    rows = windows.rows_of(columns)
    plain = reference.plain(columns)
    found, sketches = [], {}
    for feature in reference.features:
        if feature.name not in plain.columns:
            continue
        sketch, numbers = windows.of_column(feature, plain.columns[feature.name])
        sketches[feature.name] = sketch
        found.append(measure(feature, sketch, reference.samples.get(feature.name), numbers))
    blocks = [compare(block, plain, seed) for block in reference.blocks] if together else []
    return _report(reference, Window(rows, sketches), found, blocks, limits)


def report_of_window(reference: Reference, window: Window, limits: Limits = _USUAL) -> DriftReport:
    """Compare sketches with a reference: no Wasserstein distance, nothing together, KS by cells."""
    found = [
        measure(feature, window.sketches[feature.name])
        for feature in reference.features
        if feature.name in window.sketches
    ]
    return _report(reference, window, found, [], limits)


def _report(
    reference: Reference,
    window: Window,
    measured: Sequence[FeatureDrift | None],
    blocks: Sequence[BlockDrift | None],
    limits: Limits,
) -> DriftReport:
    found = [one for one in measured if one is not None]
    adjusted = multiple.benjamini_hochberg([one.p_value for one in found]).tolist()
    judged = [
        replace(one, adjusted=p, drifted=p <= limits.alpha and one.js >= limits.js)
        for one, p in zip(found, adjusted, strict=True)
    ]
    judged.sort(key=_rank)
    return DriftReport(
        window.rows,
        reference.rows,
        tuple(judged),
        tuple(block for block in blocks if block is not None),
        tuple(_findings(reference, window, limits)),
        reference.loss,
        reference.mean_loss,
        limits,
    )


def _rank(drift: FeatureDrift) -> tuple[bool, bool, float, float]:
    """Drifted ones first, causes before predictions, by their cost, then by how far they moved."""
    cost = drift.impact.change if drift.impact is not None else 0.0
    return not drift.drifted, drift.role is Role.PREDICTION, -cost, -drift.js


def _findings(reference: Reference, window: Window, limits: Limits) -> list[Finding]:
    found, tested = [], []
    names = {source.name for source in reference.sources}
    there = {f.source for f in reference.features if f.name in window.sketches}
    for name in sorted(names - there):
        detail = f"the window has no column '{name}'"
        found.append(Finding(name, "absent", 1.0, 0.0, 0.0, detail))
    for feature in reference.features:
        sketch = window.sketches.get(feature.name)
        if sketch is not None:
            tested += _shares(feature, sketch)
    p_values = [tables.two_shares(*numbers).p_value for _, _, numbers in tested]
    adjusted = multiple.benjamini_hochberg(p_values).tolist()
    for (feature, kind, numbers), p_value in zip(tested, adjusted, strict=True):
        before, of_before, now, of_now = numbers
        share, earlier = now / max(of_now, 1), before / max(of_before, 1)
        if p_value <= limits.alpha and share - earlier >= limits.share:
            named = window.sketches[feature.name].named if kind == "new_category" else ()
            detail = _detail(feature, kind, share, earlier, named)
            found.append(Finding(feature.name, kind, share, earlier, p_value, detail))
    return sorted(found, key=lambda one: (-one.share, one.feature))


def _shares(
    feature: Feature, sketch: Sketch
) -> list[tuple[Feature, str, tuple[int, int, int, int]]]:
    """(feature, kind, (before, of, now, of)) of what should be no more than it was."""
    present, regular = feature.cells.present, feature.cells.regular
    before, now = feature.counts, sketch.counts
    rows = sum(before), sum(now)
    values = sum(before[:present]), sum(now[:present])
    strange = "out_of_range" if feature.cells.form is Form.NUMBER else "new_category"
    kinds = {
        "missing": (before[present], rows[0], now[present], rows[1]),
        "wrong_type": (before[present + 1], rows[0], now[present + 1], rows[1]),
        strange: (sum(before[regular:present]), values[0], sum(now[regular:present]), values[1]),
    }
    return [(feature, kind, numbers) for kind, numbers in kinds.items() if numbers[2]]


def _detail(
    feature: Feature, kind: str, share: float, before: float, named: Sequence[tuple[str, int]]
) -> str:
    edges = feature.cells.edges
    texts = {
        "missing": "of the rows have no value",
        "wrong_type": "of the rows hold what is no "
        + ("number" if feature.cells.form is Form.NUMBER else "text"),
        "out_of_range": f"of the values lie outside {edges[0]:.6g} to {edges[-1]:.6g}"
        if edges
        else "",
        "new_category": "of the values are categories that the reference does not have",
    }
    examples = ", ".join(f"'{name}' ({count})" for name, count in named)
    such = f", such as {examples}" if examples else ""
    return f"{feature.name}: {share:.2%} {texts[kind]}{such}; {before:.2%} in the reference"
