"""What was measured as lines for people."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from modelworks.measure.duel import Compared
from modelworks.measure.histogram import RESOLUTION, Histogram
from modelworks.measure.observe import Point
from modelworks.measure.sweep import Axis, Swept

_FEW: Final = 10
_WORDS: Final = {
    "throughput": "of its throughput",
    "p50": "x its p50",
    "p99": "x its p99",
    "cpu": "x its CPU a prediction",
}


def columns(axis: Axis, deadline_s: float = 0.0) -> list[str]:
    """The head of a sweep's table."""
    first = "connections" if axis is Axis.CONNECTIONS else "rate/s"
    good = [f"in {deadline_s * 1000:g} ms/s"] if deadline_s else []
    figures = ["p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]
    service = [] if axis is Axis.CONNECTIONS else ["sent p99 ms"]
    return [first, "req/s", *good, *figures, *service, "CPU us/pred", "batch", "failed"]


def row(point: Point, axis: Axis, deadline_s: float = 0.0) -> list[str]:
    """A point's line of it."""
    loaded = point.loaded
    figures = loaded.latency.latency()
    spans = (figures.p50, figures.p90, figures.p99, figures.p999, figures.max)
    service = [] if axis is Axis.CONNECTIONS else [_ms(loaded.service.latency().p99)]
    return [
        f"{loaded.connections if loaded.rate is None else loaded.rate:,.6g}",
        _rate(loaded.throughput),
        *([_rate(loaded.goodput)] if deadline_s else []),
        *map(_ms, spans),
        *service,
        "-" if point.cpu_us is None else f"{point.cpu_us:.1f}",
        "-" if point.batches is None else f"{point.batches.mean:.1f}",
        str(loaded.failed),
    ]


def remarks(swept: Swept) -> list[str]:
    """What is to be known beside the table."""
    lines = [f"saturation: {swept.knee.saturation:,.0f} requests/s"]
    if len(swept.points) > 1:
        lines.append(f"knee: {swept.knee.why}")
    said: dict[str, list[tuple[str, str]]] = {}
    for point in swept.points:
        for kind, words in _of_point(point):
            said.setdefault(kind, []).append((_where(point), words))
    for kind, found in said.items():
        places = ", ".join(where for where, _ in found)
        lines.append(f"{kind} at {places}: {found[-1][1]}")
    lines.append(_resolution(swept.points))
    return lines


def medians(found: Compared) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a comparison's table: the median round of every side."""
    head = ["side", "rounds", "pred/s", "p50 ms", "p99 ms", "CPU us/pred", "batch", "failed"]
    rows = []
    for name, points in found.points.items():
        latencies = [point.loaded.latency.latency() for point in points]
        cpu = [point.cpu_us for point in points if point.cpu_us is not None]
        sizes = [point.batches.mean for point in points if point.batches is not None]
        rows.append(
            [
                name,
                str(len(points)),
                f"{median(point.loaded.predictions for point in points):,.0f}",
                _ms(median(one.p50 for one in latencies)),
                _ms(median(one.p99 for one in latencies)),
                f"{median(cpu):.1f}" if cpu else "-",
                f"{median(sizes):.1f}" if sizes else "-",
                str(sum(point.loaded.failed for point in points)),
            ]
        )
    return head, rows


def ratio_lines(found: Compared) -> list[str]:
    """A comparison's ratios, each with its interval, and the verdict."""
    lines = []
    for name, ratio in found.ratios.items():
        again = found.noise[name]
        lines.append(
            f"{ratio.ratio:.3f} {_WORDS[name]} ({ratio.low:.3f} to {ratio.high:.3f}); "
            f"A/A {again.ratio:.3f} ({again.low:.3f} to {again.high:.3f})"
        )
    sense = "at least" if found.judged == "throughput" else "at most"
    return [*lines, f"{found.judged} {sense} {found.bar:g} x: {found.verdict.value} ({found.why})"]


def histogram_lines(found: Histogram, width: int = 40, most: int = 16) -> list[str]:
    """A histogram as bars of text, its buckets joined to a few.

    Args:
        found: the durations.
        width: of the longest bar.
        most: lines.
    """
    buckets = found.buckets()
    if not buckets:
        return []
    low, high = buckets[0][0], buckets[-1][0]
    growth = max((high / max(low, 1)) ** (1 / most), 1.0001)
    edges = [low * growth ** (number + 1) for number in range(most)]
    counts = [0] * most
    place = 0
    for edge, count in buckets:
        while place < most - 1 and edge > edges[place]:
            place += 1
        counts[place] += count
    top = max(counts)
    lines = []
    for edge, count in zip(edges, counts, strict=True):
        bar = "#" * max(round(count / top * width), 1 if count else 0)
        lines.append(f"<= {edge / 1e6:9.3f} ms  {bar:{width}} {count}")
    return lines


def _of_point(point: Point) -> list[tuple[str, str]]:
    """(kind, words) of what disturbs a point; of one kind the last point's words are shown."""
    loaded, lines = point.loaded, []
    if loaded.bottleneck:
        lines.append(("the generator was the bottleneck", loaded.bottleneck))
    if loaded.rate is not None and (loaded.unsent or loaded.waited):
        words = f"{loaded.waited} requests waited for a connection, {loaded.unsent} got none"
        lines.append(("the server was behind, or --connections too low,", words))
    bad = {k: v for k, v in loaded.statuses.items() if not 200 <= k < 300} | loaded.failures
    if bad:
        said = ", ".join(f"{count} x {kind}" for kind, count in bad.items())
        lines.append((f"failed ({said})", f"{loaded.failed} in all"))
    lines += [("noisy", words) for words in point.machine.noisy]
    if loaded.interrupted:
        lines.append(("interrupted", "what was measured until then"))
    return lines


def _where(point: Point) -> str:
    loaded = point.loaded
    if loaded.rate is None:
        return f"{loaded.connections} connections"
    return f"{loaded.rate:g}/s"


def _resolution(points: Sequence[Point]) -> str:
    if any(point.loaded.generator == "wrk" for point in points):
        return (
            "latencies are wrk's: whole microseconds, answers of every status, and for a stall "
            "what wrk supposes that it hid"
        )
    words = f"latencies are at most {RESOLUTION:.1%} too high"
    thin = [point for point in points if point.loaded.latency.latency().beyond_p999 < _FEW]
    if thin:
        words += "; p99.9 rests on fewer than ten answers at " + ", ".join(map(_where, thin))
    return words


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f}" if seconds < 0.1 else f"{seconds * 1000:.0f}"
