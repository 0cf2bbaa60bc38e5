"""From a line of the served list to a session that has run: slow work, done off the loop."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError
from modelworks.core.seams import Engine, EngineOptions, Session
from modelworks.core.served import Batching, ServedModel
from modelworks.plugins import load as plugins
from modelworks.plugins.opening import open_model
from modelworks.serving.cost import Cost
from modelworks.serving.warmup import batch_problem, made_up, warm_up

_log = logging.getLogger("modelworks.serving")
_SLOW_NS: Final = 5_000_000  # calls over this are worth measuring at several batch sizes
_CURVE: Final = (2, 4, 8)
_GAIN: Final = 0.9
_CURVE_LIMIT_NS: Final = 500_000_000  # the whole measurement of a curve


@dataclass(frozen=True, slots=True)
class Loaded:
    """A session that has answered its first inference, or refused every input made up for it.

    Attributes:
        session: ready to infer.
        batching: the limits; `max_batch_size` is 1 where requests cannot share a call.
        unbatched: why not; empty = they can.
        cost: what calls took.
    """

    session: Session
    batching: Batching
    unbatched: str
    cost: Cost


def load_model(served: ServedModel, threads: int) -> Loaded:
    """Load, warm up, check and measure.

    Raises:
        ModelworksError: why this model cannot be served, in one line.
    """
    engine = _engine(served)
    options = EngineOptions(
        threads=threads,
        signature=served.signature,
        trusted=served.trusted,
        interpreter=served.interpreter,
    )
    try:
        session = open_model(engine, Path(served.path), options)
    except ModelworksError:
        raise
    except Exception as error:
        _log.exception("engine '%s' failed on %s", served.engine, served.name)
        raise CrashedError(f"engine '{served.engine}' failed: {type(error).__name__}") from error
    try:
        return _prepared(session, served)
    except BaseException:
        session.close()
        raise


def _engine(served: ServedModel) -> Engine:
    engine: Engine = plugins.load("engines", served.engine)()
    if served.format not in engine.formats:
        raise InvalidError(
            f"engine '{served.engine}' runs {', '.join(engine.formats)}, not {served.format}",
            field="format",
        )
    return engine


def _prepared(session: Session, served: ServedModel) -> Loaded:
    batching = served.batching
    try:
        free = warm_up(session)
    except InvalidError as error:
        # An input that says where to cut or how often to repeat suits few values, and none that
        # are made up: what a call takes is then known from calls alone.
        _log.warning("%s %s: %s; it is served as it is", served.name, served.version, error.message)
        problem = f"no made-up input suits the model, so nothing is known of its batches: {error}"
        return Loaded(session, replace(batching, max_batch_size=1), problem, Cost(by_rows=False))
    free_axes = any(None in spec.shape[1:] for spec in session.signature.inputs)
    cost = Cost(by_rows=not free_axes and not session.apart)
    problem = batch_problem(session, free)
    if batching.max_batch_size <= 1:
        problem = problem or "max_batch_size is 1"
    _measure(session, cost, 1, free)
    _measure(session, cost, 1, free)
    if problem:
        return Loaded(session, replace(batching, max_batch_size=1), problem, cost)
    best = _best_size(session, cost, free, batching.max_batch_size)
    return Loaded(session, replace(batching, max_batch_size=best), "", cost)


def _measure(session: Session, cost: Cost, rows: int, free: int) -> int:
    inputs: Any = made_up(session.signature, rows, free)
    began = perf_counter_ns()
    session.infer(inputs)
    taken = perf_counter_ns() - began
    cost.learn(rows, taken)
    return taken


def _best_size(session: Session, cost: Cost, free: int, largest: int) -> int:
    """The batch size worth waiting for: a slow network may gain nothing, and cost much memory.

    Fast models keep the limit they were given; for slow ones the curve is measured up to 8, and
    batches stop growing where a row gets no cheaper by a tenth.
    """
    single = cost.predict(1)
    if single < _SLOW_NS:
        return largest
    best, cheapest, spent = 1, single, 0
    for rows in _CURVE:
        if rows > largest or spent + 2 * single * rows > _CURVE_LIMIT_NS:
            return best
        taken = [_measure(session, cost, rows, free) for _ in range(2)]
        spent += sum(taken)
        if min(taken) / rows > _GAIN * cheapest:
            return best
        best, cheapest = rows, min(taken) / rows
    return largest
