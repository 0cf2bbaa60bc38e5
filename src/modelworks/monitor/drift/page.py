"""A drift report as one HTML file that needs nothing else, and its lines for a terminal."""

from collections.abc import Sequence
from typing import Final

from modelworks.measure.charts import Chart, Curve
from modelworks.measure.page import page
from modelworks.monitor.drift.cells import Form
from modelworks.monitor.drift.losses import Impact
from modelworks.monitor.drift.measured import FeatureDrift
from modelworks.monitor.drift.report import DriftReport
from modelworks.monitor.drift.together import BlockDrift

HEAD: Final = ("feature", "drift", "cost", "js", "psi", "ks", "moved", "p adjusted", "missing")
TOGETHER: Final = ("together", "drift", "cost", "auc", "mmd", "p", "by")
FINDINGS: Final = ("feature", "finding", "detail")
_MOST_CHARTS: Final = 24


def feature_rows(report: DriftReport) -> list[list[str]]:
    """A line a feature, in the report's order, below `HEAD`."""
    return [
        [
            one.feature,
            "yes" if one.drifted else "no",
            cost(one.impact),
            f"{one.js:.3f}",
            f"{one.psi:.3f}",
            "-" if one.ks is None else f"{one.ks:.3f}",
            "-" if one.moved is None else f"{one.moved:+.2f} sd",
            f"{one.adjusted:.2g}",
            f"{one.missing:.1%}",
        ]
        for one in report.features
    ]


def together_rows(report: DriftReport) -> list[list[str]]:
    """A line a block, below `TOGETHER`."""
    return [
        [
            "all numbers" if block.name == "*" else block.name,
            "yes" if block.p_value <= report.limits.alpha else "no",
            cost(block.impact),
            f"{block.auc:.3f}",
            f"{block.discrepancy:.2g}",
            f"{block.p_value:.2g}",
            _by(block),
        ]
        for block in report.together
    ]


def finding_rows(report: DriftReport) -> list[list[str]]:
    """A line a finding, below `FINDINGS`."""
    return [[one.feature, one.kind.replace("_", " "), one.detail] for one in report.findings]


def cost(impact: Impact | None) -> str:
    """`+0.0123 (0.0101 to 0.0145)`; unknown where no loss is."""
    if impact is None:
        return "unknown"
    return f"{impact.change:+.4f} ({impact.low:+.4f} to {impact.high:+.4f})"


def sentence(report: DriftReport) -> str:
    """The report in one sentence."""
    count, many = len(report.drifted), len(report.features)
    if not count:
        if report.moved:
            return f"no feature of {many} drifted alone; together they did"
        return f"no feature of {many} drifted"
    first = report.drifted[0]
    loss = f", which costs {cost(first.impact)} {report.loss}" if first.impact else ""
    return f"{count} of {many} features drifted, first {first.feature}{loss}"


def html(report: DriftReport, title: str) -> str:
    """The page."""
    facts = [
        sentence(report),
        f"{report.rows} rows against a reference of {report.reference_rows}",
        _about_loss(report),
    ]
    tables: list[tuple[Sequence[str], Sequence[Sequence[str]]]] = [(HEAD, feature_rows(report))]
    if report.together:
        tables.append((TOGETHER, together_rows(report)))
    if report.findings:
        tables.append((FINDINGS, finding_rows(report)))
    limits = report.limits
    remarks = [
        f"drift: adjusted p-value (Benjamini and Hochberg) of at most {limits.alpha:g}, and",
        f"a Jensen-Shannon distance of at least {limits.js:g}",
        "cost: estimated change of the mean loss, with a 95 % interval, if this feature's values",
        "shift as they did and the rest follows as in the reference",
    ]
    remarks = [" ".join(remarks[:2]), " ".join(remarks[2:])]
    charts = [_chart(one) for one in report.features[:_MOST_CHARTS]]
    return page(title, facts, tables, remarks, charts)


def _about_loss(report: DriftReport) -> str:
    if report.loss:
        return f"loss: {report.loss}, {report.mean_loss:.4g} on average in the reference"
    return "the reference has no loss, so what a shift costs is unknown: ranked by distance"


def _chart(one: FeatureDrift) -> Chart:
    order = list(range(len(one.labels)))
    if one.form is Form.NUMBER:  # below comes first
        order = [order[-2], *order[:-2], order[-1]]
    step = max(1, len(order) // 4)
    ticks = tuple(
        (float(place), one.labels[cell][:18])
        for place, cell in enumerate(order)
        if not place % step
    )
    curves = tuple(
        Curve(name, tuple((float(place), shares[cell]) for place, cell in enumerate(order)))
        for name, shares in (("reference", one.before), ("now", one.now))
    )
    return Chart(one.feature, "value", "share", curves, ticks=ticks)


def _by(block: BlockDrift) -> str:
    if block.features:
        return ", ".join(block.features[:3])
    return "-" if block.centroid is None else f"centroid {block.centroid:.3f}"
