"""`GET /v2/models/{m}/latency`: all that explains a model's latency, as one JSON document.

Counts are of all workers; what was measured at load, where calls run and what was learnt are of the
worker that answers. `waterfall` reads the document; two of them subtracted are a window.
"""

import time
from dataclasses import asdict
from typing import Any, Final

import orjson

from modelworks.core.errors import UnsupportedError
from modelworks.serving import waterfall
from modelworks.serving.block import Block
from modelworks.serving.cost import INLINE_NS
from modelworks.serving.learning import Learning, Noted
from modelworks.serving.live import Live
from modelworks.serving.statistics import Cell, Numbers, read

SCHEMA: Final = 1
_SHOWN: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def latency(live: Live, block: Block, version: str, started: float) -> bytes:
    """The document, with the waterfall and the verdict since the server's start.

    Args:
        live: the model.
        block: the counters of all workers.
        version: of Modelworks.
        started: Unix time of the server's start.

    Raises:
        UnsupportedError: the model has no counters of its own.
    """
    place = block.models().get((live.name, live.version))
    if place is None:
        raise UnsupportedError(
            f"model '{live.name}' {live.version} is counted together with others: the server has "
            "seen too many models, or its name is too long; start the server anew"
        )
    numbers = read(block, place)
    document = {
        "schema": SCHEMA,
        "server": {"name": "modelworks", "version": version},
        "model": live.name,
        "version": live.version,
        "at_ms": int(time.time() * 1000),
        "seconds": time.time() - started,
        "settings": _settings(live),
        "sizing": _sizing(live),
        "placement": _placement(live),
        "answered_by": block.slot,
        "workers": _workers(block, place),
        **_counted(numbers),
        "learning": None if live.learning is None else _learning(live.learning),
    }
    return orjson.dumps({**document, **waterfall.explained(document)})


def _settings(live: Live) -> dict[str, Any]:
    return {
        **asdict(live.served.batching),
        "batched": live.batched,
        "unbatched": live.unbatched,
    }


def _sizing(live: Live) -> dict[str, Any]:
    loaded = live.loaded
    return {
        "max_batch_size": loaded.batching.max_batch_size,
        "reason": loaded.sizing,
        "grown": "" if live.growing is None else live.growing.growth.reason,
        "curve": [{"rows": p.rows, "ns": round(p.ns)} for p in loaded.curve.points],
        "stopped": loaded.curve.stopped,
        "assumed_length": loaded.curve.length,
    }


def _placement(live: Live) -> dict[str, Any]:
    """Where calls run by what they are expected to take now, and why."""
    cost, largest = live.loaded.cost, live.batcher.limits.max_batch_size
    sizes = sorted({*(size for size in _SHOWN if size <= largest), largest})
    calls = [{"rows": rows, "place": _place(live, rows)} for rows in sizes]
    for call, rows in zip(calls, sizes, strict=True):
        expected = cost.predict(rows)
        call["expected_ns"] = None if expected == float("inf") else round(expected)
    limit = f"{INLINE_NS / 1e6:g} ms"
    places = {call["place"] for call in calls}
    if live.loaded.session.apart:
        reason = "the model runs in a process of its own: its calls are waited for on a thread"
    elif not live.one_shape:
        reason = "inputs have free axes: rows do not say how long a call takes"
    elif places == {"loop"}:
        reason = f"calls take less than {limit}: handing them over would cost more"
    elif places == {"thread"}:
        reason = f"calls take {limit} or more: the event loop goes on reading meanwhile"
    else:
        reason = f"calls under {limit} run on the event loop, longer ones on the engine's thread"
    return {"reason": reason, "limit_ns": INLINE_NS, "calls": calls}


def _place(live: Live, rows: int) -> str:
    return "loop" if live.loaded.cost.inline(rows) else "thread"


def _workers(block: Block, place: int) -> list[dict[str, Any]]:
    """The limits in force, a worker: with a latency goal each learns its own."""
    each = block.each(place)
    return [
        {
            "worker": slot,
            "pid": pid,
            "max_batch_size": int(each[slot, Cell.LIMIT]),
            "max_delay_ms": int(each[slot, Cell.DELAY_US]) / 1000,
            "waiting": int(each[slot, Cell.WAITING]),
            "calls": int(each[slot, Cell.CALLS]),
        }
        for slot, pid in enumerate(block.pids())
        if pid
    ]


def _counted(numbers: Numbers) -> dict[str, Any]:
    return {
        "outcomes": {outcome.value: count for outcome, count in numbers.outcomes.items()},
        "rows": numbers.items,
        "calls": numbers.calls,
        "waiting": numbers.waiting,
        "output_ns": numbers.output_ns,
        "stages": {stage.value: waterfall.shown(one) for stage, one in numbers.stages.items()},
        "batches": [asdict(row) for row in numbers.batches],
        "cuts": {cut.value: count for cut, count in numbers.cuts.items()},
    }


def _learning(learning: Learning) -> dict[str, Any]:
    learner = learning.learner
    points = learner.curve.points
    return {
        "setting": asdict(learner.setting),
        "missed": learner.missed,
        "curve": [{"rows": point.rows, "ns": round(point.ns)} for point in points],
        "decisions": [_decision(noted) for noted in learning.history],
    }


def _decision(noted: Noted) -> dict[str, Any]:
    decision = noted.decision
    seen = decision.seen
    return {
        "at_ms": noted.at_ms,
        "step": decision.step.value,
        "setting": asdict(decision.setting),
        "before": asdict(decision.before),
        "reason": decision.reason,
        "seen": None if seen is None else {**asdict(seen), "rate": seen.rate},
    }
