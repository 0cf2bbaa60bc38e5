"""Numbers as Prometheus and OpenMetrics write them: families of points, and two forms of text.

Prometheus' text format is version 0.0.4; OpenMetrics is 1.0.0
(https://prometheus.io/docs/specs/om/open_metrics_spec/).
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_UNITS: Final = ("seconds", "bytes", "ratio")
_VERSION: Final = re.compile(r"version=\"?([0-9.]+)\"?")
_QUALITY: Final = re.compile(r"\bq=([^;]*)")
_ASKED: Final = "application/openmetrics-text"
_KNOWN: Final = frozenset({"0.0.1", "1.0.0"})  # the same text; Prometheus asks for both


class Kind(StrEnum):
    """What a family's values are."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation that a bucket counts.

    Attributes:
        labels: that lead to it: `trace_id`.
        value: of it, in the family's unit.
        at: when, seconds since 1970.
    """

    labels: Mapping[str, str]
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Point:
    """One line.

    Attributes:
        suffix: behind the family's name: `_bucket`.
        labels: of it.
        value: of it.
        exemplar: that OpenMetrics shows; None = there is none.
    """

    suffix: str
    labels: Mapping[str, str]
    value: float
    exemplar: Exemplar | None = None


@dataclass(slots=True)
class Family:
    """One metric: what it is, and its points.

    Attributes:
        name: without `_total` and `_info`.
        kind: of its values.
        text: for people, one sentence.
        bare: a counter whose name others have fixed without `_total`: OpenMetrics has none of it.
        groups: lines that belong together: those of one histogram, else one.
    """

    name: str
    kind: Kind
    text: str
    bare: bool = False
    groups: list[tuple[Point, ...]] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """The name that Prometheus shows."""
        if self.kind is Kind.COUNTER and not self.bare:
            return f"{self.name}_total"
        return f"{self.name}_info" if self.kind is Kind.INFO else self.name

    def add(self, value: float, labels: Mapping[str, str] | None = None) -> None:
        """One value."""
        suffix = self.shown.removeprefix(self.name)
        self.groups.append((Point(suffix, labels or {}, value),))

    def spread(
        self,
        labels: Mapping[str, str],
        bounds: Iterable[tuple[str, int]],
        count: int,
        total: float,
        exemplars: Mapping[str, Exemplar] | None = None,
    ) -> None:
        """One histogram.

        Args:
            labels: of it.
            bounds: each upper bound as it is written, and how many lie at or under it.
            count: of all.
            total: sum of all.
            exemplars: by bound, `+Inf` for those above all others.
        """
        found = exemplars or {}
        points = [
            Point("_bucket", {**labels, "le": bound}, cumulated, found.get(bound))
            for bound, cumulated in (*bounds, ("+Inf", count))
        ]
        points += [Point("_sum", labels, total), Point("_count", labels, count)]
        self.groups.append(tuple(points))

    def summed(self, labels: Mapping[str, str], count: int, total: float) -> None:
        """One summary without quantiles."""
        self.groups.append((Point("_count", labels, count), Point("_sum", labels, total)))


def escape(value: str) -> str:
    """A label's value: backslash, quote and line feed escaped."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def labels(pairs: Mapping[str, str]) -> str:
    """`{model="m",version="1"}`; empty without any."""
    if not pairs:
        return ""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in pairs.items()) + "}"


def write_text(families: Iterable[Family]) -> bytes:
    """Prometheus' own format."""
    lines: list[str] = []
    for family in families:
        kind = Kind.GAUGE if family.kind is Kind.INFO else family.kind
        name, base = family.shown, family.name
        lines += (f"# HELP {name} {_said(family.text)}", f"# TYPE {name} {kind}")
        for group in family.groups:
            lines += [
                f"{base}{point.suffix}{labels(point.labels)} {_number(point.value)}"
                for point in group
            ]
    lines.append("")
    return "\n".join(lines).encode()


def write_openmetrics(families: Iterable[Family], created: float) -> bytes:
    """OpenMetrics 1.0.

    Args:
        families: none is `bare`.
        created: when everything that is counted began at 0, seconds since 1970.
    """
    lines: list[str] = []
    for family in families:
        name = family.name
        lines += (f"# HELP {name} {escape(family.text)}", f"# TYPE {name} {family.kind}")
        unit = next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")
        if unit:
            lines.append(f"# UNIT {name} {unit}")
        counted = family.kind in {Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY}
        for group in family.groups:
            lines += [
                f"{name}{point.suffix}{labels(point.labels)} {_number(point.value)}"
                + _shown(point.exemplar)
                for point in group
            ]
            if counted:
                lines.append(f"{name}_created{labels(group[-1].labels)} {_number(created)}")
    lines.append("# EOF\n")
    return "\n".join(lines).encode()


def wants_openmetrics(accept: str) -> bool:
    """Whether an `Accept` header prefers OpenMetrics to plain text."""
    best = {True: 0.0, False: 0.0}
    for part in accept.lower().split(","):
        kind, *rest = (piece.strip() for piece in part.split(";"))
        told = ";".join(rest)
        version = _VERSION.search(told)
        if kind == _ASKED and (version is None or version[1] in _KNOWN):
            ours = True
        elif kind in {"text/plain", "text/*", "*/*"}:
            ours = False
        else:
            continue
        best[ours] = max(best[ours], _quality(told))
    return best[True] > 0 and best[True] >= best[False]


def _quality(told: str) -> float:
    match = _QUALITY.search(told)
    try:
        return float(match[1]) if match else 1.0
    except ValueError:
        return 0.0


def bound(value: float) -> str:
    """A bucket's upper bound, the same in both formats: a whole number has a `.0`."""
    return f"{value:.3g}" if value < 1 or value != int(value) else f"{int(value)}.0"


def _said(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _shown(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    told = labels(exemplar.labels) or "{}"
    return f" # {told} {_number(exemplar.value)} {exemplar.at:.3f}"


def placed(value: float, bounds: Sequence[float]) -> int:
    """The place of the first bound that is not below `value`; `len(bounds)` where all are."""
    return next((place for place, at in enumerate(bounds) if value <= at), len(bounds))
