"""Reads a latency document: where the time goes, why batches were cut, what would help. Pure.

The same code explains a server's whole life (in the server) and a window of it (in the command
line, from two documents subtracted).
"""

from typing import Any, Final, TypeAlias

from modelworks.core.errors import UnavailableError
from modelworks.serving.execute import Cut
from modelworks.serving.histograms import BOUNDS_NS, Histogram
from modelworks.serving.statistics import Stage
from modelworks.serving.verdict import verdict

Document: TypeAlias = dict[str, Any]
METHOD: Final = "p50 and p99 are interpolated within a histogram's bucket, which is 14 to 25 % wide"
UNMEASURED: Final = (
    "not measured here: the network, the socket's buffer, the reading of a body that comes in "
    "pieces; `modelworks bench` measures from outside"
)
OTHERS: Final = "others"
"""The stage in which a request's answer is written and those of its batch are not; a mean alone."""
MEANINGS: Final = {
    Stage.DECODE: "bytes to tensors, checks",
    Stage.QUEUE: "the engine was busy with others",
    Stage.WAIT: "the engine was free and waited for company",
    Stage.GATHER: "the batch's inputs were read and joined",
    Stage.COMPUTE: "the engine's call",
    Stage.ENCODE: "its share of writing the batch's answers",
    OTHERS: "the answers of the others in its batch were written",
    Stage.TOTAL: "from the last byte of the request to the last answer of its batch",
}
CUTS: Final[dict[str, str]] = {
    Cut.IDLE: "nobody else waited, and no delay was asked for",
    Cut.DELAY: "the delay was over",
    Cut.ALONE: "there was a delay, and nobody else was expected within it",
    Cut.FULL: "the batch had its greatest size",
    Cut.ROOM: "the next request's rows did not fit in behind the others",
    Cut.SHAPE: "those who waited had inputs of other shapes",
    Cut.PRIORITY: "those who waited were of a lower priority",
    Cut.DEADLINE: "waiting longer would have missed a member's deadline",
    Cut.SINGLE: "the model is not batched, or its limit is a batch of one",
    Cut.RETRY: "the batch had failed: each of its members ran alone",
}
_PLACE: Final = {bound: place for place, bound in enumerate(BOUNDS_NS)}


def since(after: Document, before: Document) -> Document:
    """What happened between two documents of one server.

    Raises:
        UnavailableError: the server, or one of its workers, began anew in between.
    """
    numbers = ("rows", "calls", "output_ns")
    if any(after[name] < before[name] for name in numbers):
        raise UnavailableError("the server's counters began anew within the window; watch again")
    batches = {row["size"]: row for row in before["batches"]}
    found = {
        **after,
        "seconds": (after["at_ms"] - before["at_ms"]) / 1000,
        **{name: after[name] - before[name] for name in numbers},
        "outcomes": _less(after["outcomes"], before["outcomes"]),
        "cuts": _less(after["cuts"], before["cuts"]),
        "stages": {
            name: shown(_histogram(one).since(_histogram(before["stages"][name])))
            for name, one in after["stages"].items()
        },
        "batches": [
            {**_less(row, batches.get(row["size"], {})), "size": row["size"]}
            for row in after["batches"]
            if row["calls"] > batches.get(row["size"], {"calls": 0})["calls"]
        ],
    }
    return {**found, **explained(found)}


def explained(document: Document) -> Document:
    """What follows from a document: `waterfall`, `batching`, `why_cut`, `verdict`."""
    found = {
        "waterfall": _waterfall(document),
        "method": METHOD,
        "unmeasured": UNMEASURED,
        "batching": _batching(document),
        "why_cut": _why_cut(document),
    }
    return {**found, "verdict": verdict({**document, **found})}


def _less(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: value - before.get(name, 0) for name, value in after.items()}


def _histogram(shown: Document) -> Histogram:
    buckets = [0] * (len(BOUNDS_NS) + 1)
    for _, below, count in shown["buckets"]:
        buckets[-1 if below is None else _PLACE[below]] = count
    return Histogram(tuple(buckets), shown["sum_ns"])


def shown(found: Histogram) -> Document:
    """Count, sum and buckets `[from, below, count]` in nanoseconds, those that are not empty."""
    edges = (0, *BOUNDS_NS, None)
    buckets = [
        [edges[place], edges[place + 1], count]
        for place, count in enumerate(found.buckets)
        if count
    ]
    return {"count": found.count, "sum_ns": found.sum_ns, "buckets": buckets}


def _waterfall(document: Document) -> list[Document]:
    """The stages of a request in their order, and the total."""
    stages = {name: _histogram(one) for name, one in document["stages"].items()}
    total = stages[Stage.TOTAL]
    rows = [
        _row(stage, stages[stage], total)
        for stage in Stage
        if stage is not Stage.TOTAL and (stage is not Stage.WAIT or stages[stage].count)
    ]
    others = max(0, document["output_ns"] - stages[Stage.ENCODE].sum_ns)
    if others:
        count = max(1, total.count)
        rows.append(
            {
                "stage": OTHERS,
                "meaning": MEANINGS[OTHERS],
                "mean_ns": others / count,
                "share": others / max(1, total.sum_ns),
                "p50": None,
                "p99": None,
            }
        )
    return [*rows, _row(Stage.TOTAL, total, total)]


def _row(stage: Stage, found: Histogram, total: Histogram) -> Document:
    return {
        "stage": stage.value,
        "meaning": MEANINGS[stage],
        "mean_ns": found.mean_ns,
        "share": found.sum_ns / max(1, total.sum_ns),
        "p50": _quantile(found, 0.5),
        "p99": _quantile(found, 0.99),
    }


def _quantile(found: Histogram, share: float) -> Document | None:
    quantile = found.quantile(share)
    if quantile is None:
        return None
    return {"ns": round(quantile.estimate), "from_ns": quantile.low, "below_ns": quantile.high}


def _batching(document: Document) -> Document:
    """How large calls were, and what a row of each size took."""
    calls = max(1, document["calls"])
    ran = sum(row["calls"] for row in document["batches"])
    spent = sum(row["input_ns"] + row["infer_ns"] for row in document["batches"])
    rows = sum(row["calls"] * row["size"] for row in document["batches"])
    own = sum(document["stages"][stage]["sum_ns"] for stage in (Stage.DECODE, Stage.ENCODE))
    return {
        "rows_per_call": rows / max(1, ran),
        "requests_per_call": document["stages"][Stage.TOTAL]["count"] / calls,
        "engine_ns_per_row": spent / max(1, rows),
        "own_busy": own / (1e9 * max(document["seconds"], 1e-9) * _alive(document)),
        "engine_busy": spent / (1e9 * max(document["seconds"], 1e-9) * _alive(document)),
        "sizes": [
            {
                "rows": row["size"],
                "calls": row["calls"],
                "share": row["calls"] / max(1, ran),
                "ns_per_call": (row["input_ns"] + row["infer_ns"]) / row["calls"],
                "ns_per_row": (row["input_ns"] + row["infer_ns"]) / row["calls"] / row["size"],
            }
            for row in document["batches"]
        ],
    }


def _alive(document: Document) -> int:
    return max(1, len(document["workers"]))


def _why_cut(document: Document) -> list[Document]:
    """Why batches were not larger, the most frequent first."""
    counted = {name: count for name, count in document["cuts"].items() if count}
    calls = max(1, sum(counted.values()))
    return [
        {"cut": name, "calls": count, "share": count / calls, "meaning": CUTS.get(name, name)}
        for name, count in sorted(counted.items(), key=lambda pair: -pair[1])
    ]
