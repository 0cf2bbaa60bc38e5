"""Years of windows without drift, and drifts of stated size: how often and how soon it is told.

    python tests/drift_weeks.py [--years 20] [--features 200] [--rows 1000]

What is drawn are the counts of the sketches themselves, from the true probability of each cell of a
reference that is a sample itself; they are judged by the product's own code.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from modelworks.monitor.drift.cells import Cells, number_cells
from modelworks.stats.distances import shares
from modelworks.stats.sequential import (
    SPANS,
    TOLERANCE,
    Spending,
    log_ceiling,
    log_evidence,
    reference_radius,
)

HOURS = 168
MONTH = 672
REFERENCE = 20_000
MISSING = 0.005
MOST_HOURS = 4 * MONTH


@dataclass(frozen=True)
class Planted:
    """A drift of one feature.

    Attributes:
        name: of it.
        mean: in standard deviations.
        deviation: 1 = as it was.
        missing: share.
        strange: share of values that the reference has none like (below its least, a new category).
    """

    name: str
    mean: float = 0.0
    deviation: float = 1.0
    missing: float = MISSING
    strange: float = 0.0


PLANTED = (
    Planted("mean + 0.2 sd", mean=0.2),
    Planted("mean + 0.3 sd", mean=0.3),
    Planted("mean + 0.5 sd", mean=0.5),
    Planted("mean + 1 sd", mean=1.0),
    Planted("sd x 1.25", deviation=1.25),
    Planted("sd x 1.5", deviation=1.5),
    Planted("missing 2 %", missing=0.02),
    Planted("missing 5 %", missing=0.05),
    Planted("never seen 2 %", strange=0.02),
    Planted("never seen 5 %", strange=0.05),
)
CALM = Planted("none")


@dataclass(frozen=True)
class Calm:
    """Weeks without drift.

    Attributes:
        weeks: of all features together.
        alarmed: those in which any feature gave an alarm.
    """

    weeks: int
    alarmed: int


def _cells(rng: np.random.Generator) -> tuple[Cells, np.ndarray]:
    """Cells of a reference that was drawn, and its shares."""
    present = REFERENCE - rng.binomial(REFERENCE, MISSING)
    values = rng.normal(size=present)
    cells = number_cells(values)
    inner = np.searchsorted(np.asarray(cells.edges[1:-1]), values, "right")
    bins = np.bincount(inner, minlength=cells.regular)
    return cells, shares([*bins, 0, 0, REFERENCE - present, 0])


def _truth(cells: Cells, planted: Planted) -> np.ndarray:
    """The true probability of every cell."""
    law: Callable = norm(planted.mean, planted.deviation).cdf
    edges = law(np.array([-np.inf, *cells.edges, np.inf]))
    masses = np.diff(edges)
    below, bins, above = masses[0], masses[1:-1], masses[-1]
    values = np.array([*bins, below, above]) * (1 - planted.strange)
    values[-1] += planted.strange
    return np.array([*(values * (1 - planted.missing)), planted.missing, 0.0])


def _radius(features: int, cells: int) -> float:
    return max(TOLERANCE, reference_radius(REFERENCE, cells, 1e-3 / features))


def _summed(counts: np.ndarray, hours: int) -> np.ndarray:
    """Hourly counts (features x hours x cells) added up since each span's beginning."""
    shape = counts.shape
    parts = counts.reshape(shape[0], -1, hours, shape[2])
    return np.cumsum(parts, axis=2).reshape(shape)


def calm(features: int, weeks: int, rows: int, seed: int) -> Calm:
    """Watch features that do not drift, hour by hour, four weeks at a time."""
    rng = np.random.default_rng(seed)
    drawn = [_cells(rng) for _ in range(features)]
    seen = np.array([found for _, found in drawn])[:, None, :]
    truth = np.array([_truth(cells, CALM) for cells, _ in drawn])[:, None, :]
    radius = np.full((features, 1), _radius(features, seen.shape[-1]))
    spending = Spending(features)
    alarmed = done = 0
    while done < weeks:
        counts = rng.multinomial(rows, truth, size=(features, MONTH))
        alarms = np.zeros(MONTH, bool)
        for span in SPANS:
            summed = _summed(counts, span.hours)
            threshold = spending.log_threshold(span)
            feature, hour = np.nonzero(log_ceiling(summed, seen, radius) >= threshold)
            given, reference = summed[feature, hour], seen[feature, 0]
            evidence = log_evidence(given, reference, radius[feature, 0])
            alarms[hour[evidence >= threshold]] = True
        alarmed += int(alarms.reshape(-1, HOURS).any(1)[: weeks - done].sum())
        done += min(weeks - done, MONTH // HOURS)
    return Calm(done, alarmed)


def delays(planted: Planted, rows: int, features: int, trials: int, seed: int) -> list[float]:
    """Hours from the first that drifted to the alarm; infinite = none within sixteen weeks."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        cells, seen = _cells(rng)
        start = int(rng.integers(0, MONTH))
        before = rng.multinomial(rows, _truth(cells, CALM), size=start)
        after = rng.multinomial(rows, _truth(cells, planted), size=MOST_HOURS + MONTH - start)
        counts = np.concatenate([before, after])[None]
        radius = _radius(features, len(seen))
        alarms = np.zeros(counts.shape[1], bool)
        for span in SPANS:
            summed = _summed(counts, span.hours)[0]
            threshold = Spending(features).log_threshold(span)
            likely = np.flatnonzero(log_ceiling(summed, seen, radius) >= threshold)
            likely = likely[likely >= start]
            for part in np.array_split(likely, max(1, len(likely) // 64)):
                if len(part):
                    alarms[part] |= log_evidence(summed[part], seen, radius) >= threshold
                    if alarms.any():
                        break
        first = np.flatnonzero(alarms)
        found.append(float(first[0] - start + 1) if len(first) else np.inf)
    return found


def row(planted: Planted, rows: int, features: int, trials: int, seed: int = 0) -> str:
    """A line of the table: median and 95th percentile of the delay in hours."""
    found = np.sort(delays(planted, rows, features, trials, seed))
    median, late = found[len(found) // 2], found[int(len(found) * 0.95)]
    shown = [f"{hours:.0f}" if np.isfinite(hours) else "> 2688" for hours in (median, late)]
    return f"| {planted.name} | {rows} | {shown[0]} | {shown[1]} |"


def table(features: int, trials: int) -> str:
    """What was planted, and when it was found."""
    lines = [
        "| drift | rows an hour | median hours | 95 % within hours |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        row(planted, rows, features, trials) for rows in (100, 1000, 10_000) for planted in PLANTED
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the table and the weeks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--years", type=float, default=20)
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=100)
    asked = parser.parse_args()
    sys.stdout.write(f"{table(asked.features, asked.trials)}\n\n")
    sys.stdout.flush()
    weeks = round(asked.years * 365.25 / 7)
    found = calm(asked.features, weeks, asked.rows, 1)
    sys.stdout.write(
        f"{found.weeks} weeks of {asked.features} features, {asked.rows} rows an hour: "
        f"{found.alarmed} weeks with a false alarm\n"
    )
    return 0 if found.alarmed <= 0.05 * found.weeks else 1


if __name__ == "__main__":
    sys.exit(main())
