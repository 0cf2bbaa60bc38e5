"""Contract suite for loaders: subclass `LoaderContract`, give it a model, run it by pytest.

Everything goes through the engine `native`, as a server does it: a process of the model's own.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    ModelworksError,
    RefusedError,
    UnavailableError,
)
from modelworks.core.native import read_native
from modelworks.core.seams import Engine, EngineOptions, Loader, Session
from modelworks.core.tensor import Tensors
from modelworks.plugins.load import load as plugin
from modelworks.testing.engines import one_line

_TRUSTED = EngineOptions(trusted=True, extra=(("spare", "off"),))


@dataclass(frozen=True)
class LoaderCase:
    """What a loader's test provides.

    Attributes:
        folder: an artifact with `native.json`.
        inputs: some rows, by input name, in the signature's datatypes; at least four.
        expected: what the framework itself answers for them, by output name.
        refused: inputs of the right shapes that the model must refuse; None = there are none.
        damaged: makes a copy of the artifact, in a new folder, whose model cannot be loaded.
    """

    folder: Path
    inputs: Tensors
    expected: Tensors
    refused: Tensors | None
    damaged: Callable[[Path], Path]


def trusted(folder: Path) -> Session:
    """The model in its process."""
    engine: Engine = plugin("engines", "native")()
    return engine.load(folder, _TRUSTED)


def gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


class LoaderContract:
    """Inherit, and provide the class-scoped fixture `case`."""

    @pytest.fixture(scope="class")
    @classmethod
    def session(cls, case: LoaderCase) -> Iterator[Session]:
        """One process for the tests that do not harm it."""
        session = trusted(case.folder)
        yield session
        session.close()

    def test_it_says_what_it_is(self, case: LoaderCase) -> None:
        loader: Loader = plugin("loaders", read_native(case.folder).loader)()
        assert loader.name == read_native(case.folder).loader
        assert loader.experimental in {True, False}

    def test_the_answers_are_the_frameworks_own(self, case: LoaderCase, session: Session) -> None:
        _same(session, session.infer(case.inputs), case.expected)

    def test_a_batch_of_n_is_n_batches_of_one(self, case: LoaderCase, session: Session) -> None:
        rows = len(next(iter(case.inputs.values())))
        for row in range(rows):
            one = {name: array[row : row + 1] for name, array in case.inputs.items()}
            wanted = {name: array[row : row + 1] for name, array in case.expected.items()}
            _same(session, session.infer(one), wanted)

    def test_its_process_is_another_and_behind_walls(self, session: Any) -> None:
        assert session.pid not in {0, os.getpid()}
        assert session.started.isolation.complete, session.started.isolation.reasons

    def test_garbage_is_refused_and_harms_nothing(self, case: LoaderCase, session: Any) -> None:
        before, pid = session.infer(case.inputs), session.pid
        name = next(iter(case.inputs))
        good = case.inputs[name]
        wrong: list[dict[str, Any]] = [
            {key: value for key, value in case.inputs.items() if key != name},
            {**case.inputs, "nobody": good},
            {**case.inputs, name: good.astype("c16") if good.dtype != object else good.shape},
            {**case.inputs, name: good[..., None, None]},
        ]
        wrong += [dict(case.refused)] if case.refused is not None else []
        for inputs in wrong:
            with pytest.raises(InvalidError) as caught:
                session.infer(inputs)
            assert one_line(caught.value)
        assert session.pid == pid
        for left, right in zip(before, session.infer(case.inputs), strict=True):
            np.testing.assert_array_equal(left, right)

    def test_outputs_are_our_own_memory(self, case: LoaderCase, session: Session) -> None:
        first = session.infer(case.inputs)
        kept = [array.copy() for array in first]
        session.infer({name: array[:1] for name, array in case.inputs.items()})
        for left, right in zip(first, kept, strict=True):
            np.testing.assert_array_equal(left, right)

    def test_two_at_once(self, case: LoaderCase, session: Session) -> None:
        with ThreadPoolExecutor(2) as pool:
            for outputs in pool.map(session.infer, [case.inputs] * 8):
                _same(session, outputs, case.expected)

    def test_nobody_runs_it_without_the_owners_word(self, case: LoaderCase) -> None:
        engine: Engine = plugin("engines", "native")()
        with pytest.raises(RefusedError, match="recorded word"):
            engine.load(case.folder, EngineOptions())

    def test_a_damaged_model_is_refused_in_one_line(self, case: LoaderCase, tmp_path: Path) -> None:
        folder = case.damaged(tmp_path / "damaged")
        with pytest.raises(InvalidError) as caught:
            trusted(folder)
        assert one_line(caught.value)
        assert str(folder) not in caught.value.message

    def test_killed_in_a_call_it_comes_back_and_close_ends_it(self, case: LoaderCase) -> None:
        session: Any = trusted(case.folder)
        pid = session.pid
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(_until_refused, session, case.inputs)
            time.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            error = running.result(30)
        assert isinstance(error, UnavailableError | CrashedError)
        assert one_line(error)
        end = time.monotonic() + 60
        while session.pid == pid and time.monotonic() < end:
            time.sleep(0.02)
        _same(session, _patiently(session, case.inputs), case.expected)
        last = session.pid
        session.close()
        session.close()
        assert gone(last)
        with pytest.raises(ModelworksError):
            session.infer(case.inputs)


def _until_refused(session: Session, inputs: Tensors) -> ModelworksError:
    while True:
        try:
            session.infer(inputs)
        except ModelworksError as error:
            return error


def _patiently(session: Session, inputs: Tensors) -> Any:
    for _ in range(2000):
        try:
            return session.infer(inputs)
        except UnavailableError:
            time.sleep(0.02)
    raise AssertionError("it did not come back")


def _same(session: Session, outputs: Any, expected: Tensors) -> None:
    for spec, array in zip(session.signature.outputs, outputs, strict=True):
        wanted = expected[spec.name]
        assert array.shape == np.shape(wanted), spec
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(array, wanted)
