"""From a line of the served list to a session that has run: slow work, done off the loop."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError, UnsupportedError
from modelworks.core.graphs import GRAPH
from modelworks.core.native import NATIVE
from modelworks.core.seams import Engine, EngineOptions, Generating, Session
from modelworks.core.served import Batching, Isolation, ServedModel
from modelworks.plugins import load as plugins
from modelworks.plugins.opening import open_model
from modelworks.serving import instances
from modelworks.serving.cache.sameness import same_problem
from modelworks.serving.cost import Cost
from modelworks.serving.curve import Curve, measure, worthwhile
from modelworks.serving.generating.trying import try_generating
from modelworks.serving.ragged import padding_of, text_problem
from modelworks.serving.sequences.states import States, remembering
from modelworks.serving.shapes import Padder
from modelworks.serving.warmup import batch_problem, warm_up

_APART: Final = "isolated"
_OWN_PROCESSES: Final = (NATIVE, "stages", "genai", "gguf", "decoder")  # formats
_GENERATES: Final = "it generates: its engine sees to how generations share the model"
_BOTH: Final = "a model that keeps sequences answers the same question otherwise: leave cache out"
_UNKNOWN: Final = Curve()
_log = logging.getLogger("modelworks.serving")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A session that has answered its first inference, or refused every input made up for it.

    Attributes:
        session: ready to infer.
        batching: the limits; `max_batch_size` is 1 where requests cannot share a call.
        unbatched: why not; empty = they can.
        cost: what calls took.
        curve: what calls of several sizes took.
        sizing: why `max_batch_size` is what it is.
        padder: lets requests of different lengths share a call; None = they do not.
        unpadded: why not, where they were meant to.
        uncached: why no answers are kept, where they were meant to be.
        states: what it remembers of a sequence; None = nothing.
    """

    session: Session
    batching: Batching
    unbatched: str
    cost: Cost
    curve: Curve = _UNKNOWN
    sizing: str = "nothing was measured at load"
    padder: Padder | None = None
    unpadded: str = ""
    uncached: str = ""
    states: States | None = None


def load_model(served: ServedModel, threads: int) -> Loaded:
    """Load, warm up, check and measure.

    Raises:
        ModelworksError: why this model cannot be served, in one line.
    """
    if served.format == GRAPH:
        raise UnsupportedError(
            "a graph is served beside its models, by `modelworks up` and `modelworks serve`",
            field="format",
        )
    engine, settings = _engine(served)
    # What has a process of its own runs its steps there too.
    opened = engine.load if engine.name == _APART else partial(open_model, engine)

    def one(extra: instances.Settings) -> Session:
        options = EngineOptions(
            threads=threads,
            signature=served.signature,
            extra=extra,
            trusted=served.trusted,
            interpreter=served.interpreter,
        )
        return opened(Path(served.path), options)

    try:
        session = instances.opened(served.instances, settings, one)
    except ModelworksError:
        raise
    except Exception as error:
        _log.exception("engine '%s' failed on %s", served.engine, served.name)
        raise CrashedError(f"engine '{served.engine}' failed: {type(error).__name__}") from error
    try:
        if served.sequences is None:
            return _prepared(session, served)
        return _remembering(session, served)
    except BaseException as error:
        session.close()
        if isinstance(error, ModelworksError) or not isinstance(error, Exception):
            raise
        # Whoever waits for the model waits for an answer: this one would leave it loading for ever.
        _log.exception("%s %s could not be measured", served.name, served.version)
        raise CrashedError(
            f"its first inferences failed: {type(error).__name__}; the server's log says where"
        ) from error


def _engine(served: ServedModel) -> tuple[Engine, tuple[tuple[str, str], ...]]:
    """What opens the model here, and its settings."""
    own = tuple(sorted(served.engine_options.items()))
    if served.isolation is Isolation.PROCESS and served.format not in _OWN_PROCESSES:
        apart: Engine = plugins.load("engines", _APART)()
        return apart, (*own, ("engine", served.engine), ("format", served.format))
    engine: Engine = plugins.load("engines", served.engine)()
    if served.format not in engine.formats:
        raise InvalidError(
            f"engine '{served.engine}' runs {', '.join(engine.formats)}, not {served.format}",
            field="format",
        )
    return engine, own


def _uncached(session: Session, served: ServedModel, free: int) -> str:
    """Why no answers are kept that were meant to be."""
    if served.cache is None:
        return ""
    if served.cache.shared and not served.digest:
        return "nobody knows the digest of a file without a registry, so others cannot share them"
    return same_problem(session, free)


def _remembering(session: Session, served: ServedModel) -> Loaded:
    if served.cache is not None:
        raise InvalidError(_BOTH, field="cache")
    session, states = remembering(session, served)
    return replace(_prepared(session, served), states=states, padder=None, unpadded="")


def _prepared(session: Session, served: ServedModel) -> Loaded:
    batching = served.batching
    if isinstance(session, Generating):
        try_generating(session)
        limits = replace(batching, max_batch_size=1)
        none = Cost(by_rows=False)
        uncached = "it generates" if served.cache is not None else ""
        return Loaded(session, limits, _GENERATES, none, sizing=_GENERATES, uncached=uncached)
    try:
        free = warm_up(session)
    except InvalidError as error:
        # An input that says where to cut or how often to repeat suits few values, and none that
        # are made up: what a call takes is then known from calls alone.
        _log.warning("%s %s: %s; it is served as it is", served.name, served.version, error.message)
        problem = f"no made-up input suits the model, so nothing is known of its batches: {error}"
        one, none = replace(batching, max_batch_size=1), Cost(by_rows=False)
        uncached = problem if served.cache is not None else ""
        return Loaded(session, one, problem, none, uncached=uncached)
    free_axes = any(None in spec.shape[1:] for spec in session.signature.inputs)
    cost = Cost(by_rows=not free_axes and not session.apart)
    problem = batch_problem(session, free) or text_problem(session)
    if batching.max_batch_size <= 1:
        problem = problem or "max_batch_size is 1"
    largest = 1 if problem else batching.max_batch_size
    curve = measure(session, free, largest, cost.learn)
    best, sizing = worthwhile(curve, largest)
    limits = replace(batching, max_batch_size=best)
    padder, unpadded = None, ""
    if best > 1:
        ragged = served.ragged or session.signature.ragged
        padder, unpadded = padding_of(session, ragged, curve, best)
    uncached = _uncached(session, served, free)
    if uncached:
        _log.warning("%s %s: no answers are kept: %s", served.name, served.version, uncached)
    told = problem or sizing
    return Loaded(session, limits, problem, cost, curve, told, padder, unpadded, uncached)
