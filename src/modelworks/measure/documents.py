"""What was measured as JSON values: the `--json` of the command, and what result files hold."""

from dataclasses import asdict
from typing import Any

from modelworks.measure.duel import Compared
from modelworks.measure.histogram import RESOLUTION
from modelworks.measure.load import Loaded
from modelworks.measure.observe import Point
from modelworks.measure.sweep import Swept


def loaded_document(loaded: Loaded, *, histogram: bool = True) -> dict[str, Any]:
    """One run; durations in seconds, the histogram's edges in nanoseconds."""
    return {
        "generator": loaded.generator,
        "loop": "closed" if loaded.rate is None else "open",
        "connections": loaded.connections,
        "rate": loaded.rate,
        "seconds": loaded.seconds,
        "answered": loaded.answered,
        "requests_s": loaded.throughput,
        "predictions_s": loaded.predictions,
        "goodput_s": loaded.goodput,
        "latency": asdict(loaded.latency.latency()),
        "service": asdict(loaded.service.latency()),
        "lag": asdict(loaded.lag.latency()),
        "refused": asdict(loaded.refused.latency()),
        "resolution": RESOLUTION if loaded.generator == "own" else 1e-6,
        "statuses": {str(status): count for status, count in loaded.statuses.items()},
        "failures": loaded.failures,
        "failed": loaded.failed,
        "unsent": loaded.unsent,
        "waited": loaded.waited,
        "reconnects": loaded.reconnects,
        "generator_cpu": loaded.cpu,
        "generator_starved": loaded.starved,
        "bottleneck": loaded.bottleneck,
        "interrupted": loaded.interrupted,
        "series": [list(pair) for pair in loaded.series],
        **({"histogram": loaded.latency.document()} if histogram else {}),
    }


def point_document(point: Point, *, histogram: bool = True) -> dict[str, Any]:
    """One point: the run, the server's CPU and batches, the machine."""
    return {
        **loaded_document(point.loaded, histogram=histogram),
        "cpu_us_a_prediction": point.cpu_us,
        "batches": None if point.batches is None else asdict(point.batches),
        "machine": {**asdict(point.machine), "noisy": list(point.machine.noisy)},
    }


def swept_document(swept: Swept) -> dict[str, Any]:
    """A sweep, its knee and its saturation."""
    points = [point_document(point) for point in swept.points]
    knee = points[swept.knee.place] if swept.knee.place >= 0 else None
    return {
        "axis": swept.axis.value,
        "points": points,
        "knee": None if knee is None else knee[swept.axis.value],
        "knee_why": swept.knee.why,
        "saturation_requests_s": swept.knee.saturation,
    }


def compared_document(found: Compared) -> dict[str, Any]:
    """A comparison: every round, the ratios, the noise, the verdict."""
    return {
        "rounds": {
            name: [point_document(point, histogram=False) for point in points]
            for name, points in found.points.items()
        },
        "ratios": {name: asdict(ratio) for name, ratio in found.ratios.items()},
        "again": {name: asdict(ratio) for name, ratio in found.noise.items()},
        "noise": {name: ratio.noise for name, ratio in found.noise.items()},
        "judged": found.judged,
        "bar": found.bar,
        "verdict": found.verdict.name.lower(),
        "why": found.why,
    }
