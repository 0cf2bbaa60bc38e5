"""The bars, and what may be said of each: met, missed, or nothing where the noise is larger."""

from dataclasses import dataclass

from data_plane import OURS, OURS_BINARY, OURS_JSON

from modelworks.measure.compare import Ratio, Verdict, judge


@dataclass(frozen=True, slots=True)
class Bar:
    """One ratio that is wanted.

    Attributes:
        section: of the document.
        series: in it.
        side: whose ratio to the series' base.
        figure: of a round.
        bar: what it is held against.
        words: what the ratio is.
        at_least: met from above.
    """

    section: str
    series: str
    side: str
    figure: str
    bar: float
    words: str
    at_least: bool = True


BARS = (
    *(
        Bar("S", n, OURS, "rate", 0.85, f"of the sketch's rate, S, {n} connections")
        for n in ("8", "64")
    ),
    *(
        Bar("S", n, OURS, "p99_us", 1.5, f"x the sketch's p99, S, {n} connections", at_least=False)
        for n in ("8", "64")
    ),
    Bar("S", "1", OURS, "p50_us", 1.2, "x the sketch's p50, S, one connection", at_least=False),
    Bar(
        "S",
        "64, binary beside JSON",
        OURS_BINARY,
        "rate",
        1.0,
        "of JSON's rate: S, binary, 64 connections",
    ),
    *(
        Bar(key, n, OURS_BINARY, "rate", 0.92, f"of onnxruntime's own rate, {key}, {n} connections")
        for key in ("M", "T")
        for n in ("8", "64")
    ),
    Bar(
        "M",
        "1, JSON beside binary",
        OURS_JSON,
        "p50_us",
        2.0,
        "x binary's latency: M as JSON",
        at_least=False,
    ),
)
RESIDENT_MB, READY_S = 120, 1.5


@dataclass(frozen=True, slots=True)
class Judged:
    """A bar and what was found.

    Attributes:
        words: what was measured.
        found: the figure.
        low: of its 95 % interval.
        high: the same.
        bar: wanted.
        at_least: whether it is met from above.
        verdict: what may be said.
    """

    words: str
    found: float
    low: float
    high: float
    bar: float
    at_least: bool
    verdict: Verdict

    @property
    def sentence(self):
        """For humans."""
        limit = "at least" if self.at_least else "at most"
        between = f" ({self.low:.2f} to {self.high:.2f})" if self.low < self.high else ""
        return f"{self.found:.2f}{between} {self.words}, {limit} {self.bar:g}"


def verdicts(document):
    """Every bar that the document has figures for."""
    found = [judged for bar in BARS if (judged := _judged(bar, document)) is not None]
    if "S" in document:
        for words, key, bar in (
            ("MB resident after the load", "resident_mb", RESIDENT_MB),
            ("s to readiness", "ready_s", READY_S),
        ):
            figure = document["S"][key]
            found.append(_exact(words, figure, bar, at_least=False))
    failed = sum(
        one["failed"]
        for section in ("S", "M", "T")
        for series in document.get(section, {}).get("connections", {}).values()
        for results in series["rounds"].values()
        for one in results
    )
    found.append(_exact("failed requests", failed, 0, at_least=False))
    return found


def _judged(bar, document):
    series = document.get(bar.section, {}).get("connections", {}).get(bar.series)
    if series is None or bar.figure not in series["ratios"].get(bar.side, {}):
        return None
    found = Ratio(**series["ratios"][bar.side][bar.figure])
    noise = Ratio(**series["noise"][bar.figure]).noise
    verdict = judge(found, bar.bar, at_least=bar.at_least, noise=noise)
    return Judged(bar.words, found.ratio, found.low, found.high, bar.bar, bar.at_least, verdict)


def _exact(words, figure, bar, *, at_least):
    met = figure >= bar if at_least else figure <= bar
    return Judged(
        words, figure, figure, figure, bar, at_least, Verdict.MET if met else Verdict.MISSED
    )
