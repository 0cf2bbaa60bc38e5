"""Opens an artifact as it is served: its engine, and the steps that stand before the model.

Sandbox, server and embedding open models here, so that none of them can leave a step out.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from modelworks.core.errors import InvalidError
from modelworks.core.seams import (
    Concurrent,
    Counting,
    Elsewhere,
    Engine,
    EngineOptions,
    OpenStep,
    Session,
    StepRunner,
    Watchable,
)
from modelworks.core.stepped import FRONT, MADE, read_stepped
from modelworks.core.steps import InputSteps
from modelworks.core.tensor import Signature, Tensors
from modelworks.plugins.load import load

_FRONT_ENGINE = "onnxruntime"


def open_model(engine: Engine, path: Path, options: EngineOptions) -> Session:
    """Load the model at `path`, with its steps where it has some.

    Args:
        engine: that runs the model's format.
        path: the artifact's folder, or a model file, which has no steps.
        options: the signature in them is what callers send; None = as the artifact says.

    Raises:
        InvalidError: as `Engine.load`, or the steps do not fit the signature.
        MissingExtraError: a step needs a library that is not there.
    """
    stepped = read_stepped(path)
    if stepped is None:
        if options.signature is not None and options.signature.steps:
            raise InvalidError(
                "the signature has steps and the artifact has none: import the model again",
                field="path",
            )
        return engine.load(path, options)
    outer = options.signature or stepped.outer
    if outer != stepped.outer:
        raise InvalidError(
            "the registered signature is not the one that the artifact's steps were made for",
            field="signature",
        )
    model = engine.load(path, replace(options, signature=stepped.model))
    if stepped.simple:
        return model
    try:
        runners = [_open(item, stepped.model, path) for item in outer.steps if not item.in_graph]
        front = None
        if stepped.front:
            first: Engine = load("engines", _FRONT_ENGINE)()
            front = first.load(path / FRONT, EngineOptions(threads=1))
        kind = WatchedSession if isinstance(model, Watchable) else SteppedSession
        if isinstance(model, Concurrent):
            return LanedSession(outer, model, front, runners, lanes=model.lanes)
        return kind(outer, model, front, runners)
    except BaseException:
        model.close()
        raise


def _open(item: InputSteps, model: Signature, folder: Path) -> OpenStep:
    runner: StepRunner = load("steps", next(n for n in item.names if n != "validate"))()
    return runner.open(item, model, folder)


class SteppedSession:
    """A session whose inputs are those that callers send; see `core.seams.Session`.

    Attributes:
        laps: of the last calls: each step's name, begin and end on `perf_counter_ns`'s clock. None
            = they are not noted.
    """

    def __init__(
        self,
        signature: Signature,
        model: Session,
        front: Session | None,
        runners: Sequence[OpenStep],
    ) -> None:
        self.signature = signature
        self.apart = bool(runners) or model.apart
        self.laps: deque[tuple[str, int, int]] | None = None
        self._model = model
        self._front = front
        self._runners = tuple(runners)
        self._made: tuple[str, ...] = ()
        self._sent: tuple[str, ...] = ()
        if front is not None:
            self._made = tuple(s.name.removeprefix(MADE) for s in front.signature.outputs)
            self._sent = tuple(spec.name for spec in front.signature.inputs)
        done = set(self._made).union(*(runner.outputs for runner in self._runners))
        names = (spec.name for spec in model.signature.inputs)
        self._plain = tuple(name for name in names if name not in done)

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run every step, then the model."""
        given, at = self._given(inputs)
        results = self._model.infer(given)
        self._lap("model", at)
        return results

    def _given(self, inputs: Tensors) -> tuple[dict[str, Any], int]:
        """What the model takes, and when that was made."""
        at = perf_counter_ns()
        given = {name: inputs[name] for name in self._plain}
        for runner in self._runners:
            given.update(runner.run(inputs))
            at = self._lap(" ".join(runner.outputs), at)
        if self._front is not None:
            sent = {name: inputs[name] for name in self._sent}
            given.update(zip(self._made, self._front.infer(sent), strict=True))
            at = self._lap(" ".join(self._made), at)
        return given, at

    def count_texts(self, texts: Sequence[str]) -> int:
        """See `core.seams.Counting`; 0 where no step makes tokens."""
        counting = (runner for runner in self._runners if isinstance(runner, Counting))
        return sum(runner.count_texts(texts) for runner in counting)

    def close(self) -> None:
        """Give the memory back. Twice is quiet."""
        self._model.close()
        if self._front is not None:
            self._front.close()

    def _lap(self, name: str, since: int) -> int:
        """Note what ended now; when that is."""
        now = perf_counter_ns()
        if self.laps is not None:
            self.laps.append((name, since, now))
        return now


class WatchedSession(SteppedSession):
    """The same before a model that lives elsewhere; see `core.seams.Watchable`."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """Be told of every change of the model."""
        if isinstance(self._model, Watchable):
            self._model.watch(changed)

    def processes(self) -> tuple[int, ...]:
        """See `core.seams.Elsewhere.processes`."""
        return self._model.processes() if isinstance(self._model, Elsewhere) else ()


class LanedSession(WatchedSession):
    """The same before a model that takes several calls at a time; see `core.seams.Concurrent`.

    Steps run one call after the other: none was made for two threads.
    """

    def __init__(
        self,
        signature: Signature,
        model: Session,
        front: Session | None,
        runners: Sequence[OpenStep],
        *,
        lanes: int,
    ) -> None:
        super().__init__(signature, model, front, runners)
        self.lanes = lanes
        self._one = threading.Lock()

    def _given(self, inputs: Tensors) -> tuple[dict[str, Any], int]:
        with self._one:
            return super()._given(inputs)

    def _lap(self, name: str, since: int) -> int:  # noqa: ARG002 - calls' laps could not be told apart
        return since
