"""What would make a model's answers faster or cheaper, in words, from a latency document. Pure."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from modelworks.serving.curve import Curve, Point
from modelworks.serving.decisions import Step
from modelworks.serving.execute import Cut
from modelworks.serving.statistics import Outcome, Stage

_ENOUGH: Final = 30  # requests; fewer say nothing
_MUCH: Final = 0.3  # of a request's time
_MOST: Final = 0.5
_BUSY: Final = 0.7  # of the time
_OFTEN: Final = 0.25  # of the calls
_CHEAPER: Final = 0.8  # a row, in a larger batch: worth having
_NO_CHEAPER: Final = 0.95
_LONG_NS: Final = 200_000  # of decoding and encoding: worth another wire format
_REFUSED: Final = 0.01


class Advice(NamedTuple):
    """One finding.

    Attributes:
        finding: what the numbers say.
        help: what would help; `nothing` where nothing would.
    """

    finding: str
    help: str


class _Facts:
    """The numbers that the rules ask for."""

    def __init__(self, document: dict[str, Any]) -> None:
        rows = {row["stage"]: row for row in document["waterfall"]}
        self.document = document
        self.share = {name: row["share"] for name, row in rows.items()}
        self.mean_ns = {name: row["mean_ns"] for name, row in rows.items()}
        self.requests = document["stages"][Stage.TOTAL]["count"]
        self.batching = document["batching"]
        self.rows = self.batching["rows_per_call"]
        self.busy = self.batching["engine_busy"]
        self.cuts = {row["cut"]: row["share"] for row in document["why_cut"]}
        self.settings = document["settings"]
        self.workers = document["workers"]
        self.size = max((w["max_batch_size"] for w in self.workers), default=1)
        self.delay = max((w["max_delay_ms"] for w in self.workers), default=0.0)
        self.curve = _curve(document)

    def per_row(self, rows: float) -> float:
        """Engine time of a row in a batch of `rows`; 0 = not known."""
        known = self.curve.points
        if not known:
            return 0.0
        whole = max(1, min(round(rows), known[-1].rows))
        return self.curve.call_ns(whole) / whole


def verdict(document: dict[str, Any]) -> list[dict[str, str]]:
    """Findings with what would help, the weightiest first; never empty."""
    facts = _Facts(document)
    if facts.requests < _ENOUGH:
        found = Advice(
            f"{facts.requests} requests were answered: too few to say anything",
            "send requests, and watch again",
        )
        return [found._asdict()]
    rules = (_goal, _refused, _queue, _wait, _wire, _flat, _steep, _shapes, _unbatched)
    advice = [one for rule in rules for one in rule(facts)]
    return [one._asdict() for one in advice or [_nothing(facts)]]


def _goal(facts: _Facts) -> Iterator[Advice]:
    learning = facts.document["learning"]
    if learning is not None and learning["missed"]:
        why = [
            one["reason"] for one in learning["decisions"] if one["step"] == Step.IMPOSSIBLE
        ] or ["long ago"]
        yield Advice(
            f"the goal of {facts.settings['latency_goal_ms']:g} ms is missed: {why[-1]}",
            "more workers or cores, a smaller or quantized model, or a goal that can be met",
        )


def _refused(facts: _Facts) -> Iterator[Advice]:
    outcomes = facts.document["outcomes"]
    rejected, expired = outcomes[Outcome.REJECTED], outcomes[Outcome.EXPIRED]
    if rejected + expired > _REFUSED * facts.requests:
        yield Advice(
            f"{rejected} requests found no room and {expired} ran out of time beside "
            f"{facts.requests} that were answered",
            "more workers or cores, a smaller model, or fewer requests",
        )


def _queue(facts: _Facts) -> Iterator[Advice]:
    if facts.share[Stage.QUEUE] < _MUCH:
        return
    share = f"{facts.share[Stage.QUEUE]:.0%} of a request's time is waiting for the engine"
    own = facts.batching["own_busy"]
    if facts.busy < _BUSY <= facts.busy + own:
        yield Advice(
            f"{share}; it is busy {facts.busy:.0%} of the time, and {own:.0%} goes into reading "
            "and writing tensors",
            "more workers; binary tensors, where callers send JSON",
        )
        return
    if facts.busy < _BUSY:
        yield Advice(
            f"{share}, which is busy {facts.busy:.0%} of the time: requests come in bursts",
            "more workers, or callers that spread their requests",
        )
        return
    helps = ["more workers or cores", "a smaller or quantized model"]
    full = facts.cuts.get(Cut.FULL, 0.0)
    if full > _OFTEN and _larger_pays(facts):
        helps.insert(0, f"a max_batch_size above {facts.size}: {full:.0%} of the batches were full")
    yield Advice(f"{share}, which is busy {facts.busy:.0%} of it", "; or ".join(helps))


def _larger_pays(facts: _Facts) -> bool:
    """Whether the limit given, and not what was measured, keeps batches small."""
    known = facts.curve.points
    return bool(
        facts.settings["batched"]
        and facts.size == facts.settings["max_batch_size"]
        and len(known) > 1
        and known[-1].per_row < _NO_CHEAPER * known[-2].per_row
    )


def _wait(facts: _Facts) -> Iterator[Advice]:
    share = facts.share.get(Stage.WAIT, 0.0)
    if share < _MUCH:
        return
    gain = facts.per_row(facts.rows) / (facts.per_row(1) or 1.0)
    told = f"{share:.0%} of a request's time is waiting for company, {facts.rows:.1f} rows a call"
    if facts.rows < 1.5 or gain > _NO_CHEAPER:
        yield Advice(f"{told}: it saves nothing", "max_delay_ms 0")
        return
    yield Advice(
        f"{told}: a row takes {gain:.0%} of what it takes alone",
        "a shorter max_delay_ms answers sooner and costs more work; nothing, if the work counts",
    )


def _wire(facts: _Facts) -> Iterator[Advice]:
    stages = (Stage.DECODE, Stage.GATHER, Stage.ENCODE)
    share = sum(facts.share[stage] for stage in stages)
    mean = sum(facts.mean_ns[stage] for stage in stages)
    if share > _MUCH and mean > _LONG_NS:
        yield Advice(
            f"reading and writing tensors is {share:.0%} of a request's time: {mean / 1000:.0f} us",
            "binary tensors, where callers send JSON",
        )


def _flat(facts: _Facts) -> Iterator[Advice]:
    """Batches that make rows no cheaper only make everybody wait for all."""
    seen = [row for row in facts.batching["sizes"] if row["calls"] >= _ENOUGH]
    single = next((row for row in seen if row["rows"] == 1), None)
    if single is None or len(seen) < 2:
        return
    largest = seen[-1]
    if largest["share"] > _REFUSED and largest["ns_per_row"] > _NO_CHEAPER * single["ns_per_row"]:
        alone, together = single["ns_per_row"] / 1000, largest["ns_per_row"] / 1000
        yield Advice(
            f"a row takes {together:.0f} us in batches of {largest['rows']} and {alone:.0f} alone",
            "a smaller max_batch_size answers sooner for the same work",
        )


def _steep(facts: _Facts) -> Iterator[Advice]:
    """Larger batches would be cheaper, and nobody is there to fill them."""
    if facts.delay or not facts.settings["batched"] or facts.share[Stage.COMPUTE] < _MUCH:
        return
    known = facts.curve.points
    now = facts.per_row(facts.rows)
    best = min((point for point in known if point.rows <= facts.size), key=_row_ns, default=None)
    if best is None or _row_ns(best) > _CHEAPER * now or facts.rows > best.rows / 2:
        return
    yield Advice(
        f"a call has {facts.rows:.1f} rows; in a call of {best.rows} a row takes "
        f"{_row_ns(best) / now:.0%} of the engine's time",
        "more requests at the same time, several rows a request, or, where latency may grow, "
        "max_delay_ms or latency_goal_ms",
    )


def _row_ns(point: Point) -> float:
    return point.ns / point.rows


def _shapes(facts: _Facts) -> Iterator[Advice]:
    if facts.cuts.get(Cut.SHAPE, 0.0) > _OFTEN:
        yield Advice(
            f"{facts.cuts[Cut.SHAPE]:.0%} of the batches ended where inputs of another shape began",
            "inputs of few different lengths, or a signature that allows padding",
        )


def _unbatched(facts: _Facts) -> Iterator[Advice]:
    if facts.settings["unbatched"] and facts.share[Stage.QUEUE] >= _MUCH:
        yield Advice(
            f"every request is a call of its own: {facts.settings['unbatched']}",
            "export the model with a dynamic first axis, where it was given a fixed one",
        )


def _nothing(facts: _Facts) -> Advice:
    computed = facts.share[Stage.COMPUTE]
    if computed > _MOST:
        return Advice(
            f"{computed:.0%} of a request's time is the model's own computing",
            "nothing in the server; a smaller, quantized or differently threaded model",
        )
    total = facts.mean_ns[Stage.TOTAL] / 1000
    return Advice(f"a request takes {total:.0f} us here, and no stage stands out", "nothing")


def _curve(document: dict[str, Any]) -> Curve:
    """What was measured at load, moved to what was seen since."""
    points = tuple(Point(p["rows"], float(p["ns"])) for p in document["sizing"]["curve"])
    seen = [
        (row["size"], row["calls"], row["infer_ns"])
        for row in document["batches"]
        if row["calls"] >= _ENOUGH
    ]
    return Curve(points).learnt(seen, weight=1.0)
