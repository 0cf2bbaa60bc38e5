"""What a report says, as points of series; their names stand in `core.series`."""

from collections.abc import Mapping, Sequence
from typing import Final

from modelworks.core.series import Series
from modelworks.monitor.drift.measured import FeatureDrift
from modelworks.monitor.drift.report import DriftReport
from modelworks.monitor.drift.watching import Evidence

_METHODS: Final = ("psi", "js", "ks", "wasserstein_scaled")
_SHARES: Final = ("missing", "out_of_range", "new_category", "wrong_type")
_TOGETHER: Final = "*"


def points(report: DriftReport, time: float, labels: Mapping[str, str]) -> list[Series]:
    """One point a series.

    Args:
        report: of a window.
        time: seconds since 1970, UTC: the window's end.
        labels: `model`, and `version` and `deployment` where they are known.
    """
    found = []
    for feature in report.features:
        found += _of_feature(feature, time, {**labels, "feature": feature.feature})
    for finding in report.findings:
        if finding.kind == "absent":
            found.append(_one("missing", 1.0, time, {**labels, "feature": finding.feature}))
    for block in report.together:
        own = {**labels, "feature": block.name}
        for method, value in (
            ("mmd", block.discrepancy),
            ("auc", block.auc),
            ("centroid", block.centroid),
        ):
            if value is not None:
                found.append(_one("drift", value, time, {**own, "method": method}))
        if block.impact is not None:
            found.append(_one("drift_loss", block.impact.change, time, own))
    return found


def evidence_points(
    evidence: Sequence[Evidence], time: float, labels: Mapping[str, str]
) -> list[Series]:
    """`drift` with the method `evidence`: 0 and more is an alarm, in powers of ten.

    A rule on it looks every hour, for years, within the chance that was given it.
    """
    found = [
        _one("drift", one.score, time, {**labels, "feature": one.feature, "method": "evidence"})
        for one in evidence
    ]
    if evidence:
        most = max(one.score for one in evidence)
        own = {**labels, "feature": _TOGETHER, "method": "evidence"}
        found.append(_one("drift", most, time, own))
    return found


def _of_feature(feature: FeatureDrift, time: float, labels: Mapping[str, str]) -> list[Series]:
    found = []
    for method in _METHODS:
        value = getattr(feature, method)
        if value is not None:
            found.append(_one("drift", value, time, {**labels, "method": method}))
    found += [_one(name, getattr(feature, name), time, labels) for name in _SHARES]
    if feature.impact is not None:
        found.append(_one("drift_loss", feature.impact.change, time, labels))
    return found


def _one(name: str, value: float, time: float, labels: Mapping[str, str]) -> Series:
    return Series(name, dict(labels), (time,), (float(value),))
