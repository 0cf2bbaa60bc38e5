"""The contract of `Engine`: what every engine must do, whatever it runs.

A plug-in's test file is a fixture:

    class TestMyEngine(EngineContract):
        @pytest.fixture
        def case(self, tmp_path): ...
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.seams import Engine, EngineOptions
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing.fresh import told

LONGEST_MESSAGE = 500
# The small model first: what the engine's library keeps for good is there before the weights come.
_ROUNDS = """
import gc, json, os, sys
from pathlib import Path
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load
from modelworks.sandbox.vigil import resident

def once(path):
    session = engine.load(Path(path), EngineOptions())
    held = resident(os.getpid())
    session.close()
    gc.collect()
    return held

name, small, weighty = sys.argv[1:]
engine = load("engines", name)()
once(small)
before = resident(os.getpid())
held = [once(weighty) for _ in range(5)]
print(json.dumps([before, held, resident(os.getpid())]))
"""


@dataclass(frozen=True)
class EngineCase:
    """What an engine's test provides.

    Attributes:
        engine: under test.
        model: a file whose model has a dynamic first axis everywhere and numeric inputs.
        inputs: makes inputs of so many rows.
        broken: files that must be refused, by what is wrong with them.
        weighty: a file, or a folder, of at least 20 MB of weights.
    """

    engine: Engine
    model: Path
    inputs: Callable[[int], dict[str, Any]]
    broken: dict[str, Path]
    weighty: Path


def one_line(error: ModelworksError) -> bool:
    """Whether a message is one short line."""
    return "\n" not in error.message and len(error.message) <= LONGEST_MESSAGE


class EngineContract:
    """Inherit, and provide `case`."""

    def test_it_says_what_it_is(self, case: EngineCase) -> None:
        assert case.engine.name
        assert case.engine.formats

    def test_a_batch_of_n_is_n_batches_of_one(self, case: EngineCase) -> None:
        session = case.engine.load(case.model, EngineOptions())
        try:
            inputs = case.inputs(5)
            together = session.infer(inputs)
            for row in range(5):
                one = {name: array[row : row + 1] for name, array in inputs.items()}
                for whole, single in zip(together, session.infer(one), strict=True):
                    np.testing.assert_allclose(whole[row : row + 1], single, rtol=1e-5)
        finally:
            session.close()

    def test_the_same_input_gives_the_same_output(self, case: EngineCase) -> None:
        session = case.engine.load(case.model, EngineOptions())
        first, second = (session.infer(case.inputs(3)) for _ in range(2))
        for left, right in zip(first, second, strict=True):
            np.testing.assert_array_equal(left, right)
        session.close()

    def test_outputs_follow_the_signature(self, case: EngineCase) -> None:
        session = case.engine.load(case.model, EngineOptions())
        outputs = session.infer(case.inputs(2))
        assert len(outputs) == len(session.signature.outputs)
        for spec, array in zip(session.signature.outputs, outputs, strict=True):
            assert len(array.shape) == len(spec.shape)
            assert all(s in {None, a} for s, a in zip(spec.shape, array.shape, strict=True))
        session.close()

    def test_a_registered_signature_is_kept(self, case: EngineCase) -> None:
        own = case.engine.load(case.model, EngineOptions()).signature
        session = case.engine.load(case.model, EngineOptions(signature=own))
        assert session.signature is own
        session.close()

    def test_a_signature_of_another_model_is_refused(self, case: EngineCase) -> None:
        own = case.engine.load(case.model, EngineOptions()).signature
        foreign = Signature((TensorSpec("nobody", Datatype.FP32, (None,)),), own.outputs)
        with pytest.raises(InvalidError) as caught:
            case.engine.load(case.model, EngineOptions(signature=foreign))
        assert caught.value.field
        assert one_line(caught.value)

    def test_an_unknown_option_is_refused(self, case: EngineCase) -> None:
        with pytest.raises(InvalidError) as caught:
            case.engine.load(case.model, EngineOptions(extra=(("no_such_option", "1"),)))
        assert "no_such_option" in caught.value.message

    def test_wrong_inputs_are_refused_and_harm_nothing(self, case: EngineCase) -> None:
        session = case.engine.load(case.model, EngineOptions())
        good = case.inputs(2)
        before = session.infer(good)
        name = next(iter(good))
        wrong: list[dict[str, Any]] = [
            {key: value for key, value in good.items() if key != name},
            good | {"nobody": good[name]},
            good | {name: good[name].astype("c16")},
            good | {name: good[name][..., None, None]},
        ]
        for inputs in wrong:
            with pytest.raises(InvalidError) as caught:
                session.infer(inputs)
            assert one_line(caught.value)
        for left, right in zip(before, session.infer(good), strict=True):
            np.testing.assert_array_equal(left, right)
        session.close()

    def test_broken_files_are_refused_in_one_line(self, case: EngineCase) -> None:
        assert {"empty", "truncated", "foreign", "missing"} <= case.broken.keys()
        for what, path in case.broken.items():
            with pytest.raises(InvalidError) as caught:
                case.engine.load(path, EngineOptions())
            assert one_line(caught.value), what

    def test_closing_twice_is_quiet_and_using_it_then_is_an_error(self, case: EngineCase) -> None:
        session = case.engine.load(case.model, EngineOptions())
        session.close()
        session.close()
        with pytest.raises(ModelworksError):
            session.infer(case.inputs(1))

    def test_close_gives_the_memory_back(self, case: EngineCase) -> None:
        """In a process of its own, where the entry point of the engine's name is loaded."""
        before, held, after = told(_ROUNDS, case.engine.name, case.model, case.weighty)
        files = [case.weighty, *case.weighty.rglob("*")]
        size = sum(file.stat().st_size for file in files if file.is_file())
        assert min(held) - before > size / 2
        assert after - before < size / 2
