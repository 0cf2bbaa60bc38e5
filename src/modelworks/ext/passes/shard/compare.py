"""Whether stages answer exactly as the whole does, and what each step of the whole takes."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.seams import Engine, EngineOptions, Session
from modelworks.core.tensor import Signature, Tensors
from modelworks.ext.formats.onnx_model import MODEL, model_files
from modelworks.ext.passes.shard.graph import Graph
from modelworks.plugins.load import load
from modelworks.protocol.made_up import made_up_array

_FREE: Final = (8, 16, 32, 64, 224, 1)
"""Tried for free axes other than the rows': not every network takes a 1 x 1 image."""

_ROWS: Final = 3
_RUNS: Final = 5
_TEXTS: Final = (b"0", b"1")


class Whole:
    """The model as it was, asked once.

    Args:
        source: folder of the artifact.
        threads: of the engine: another number may round in another way.

    Attributes:
        inputs: made up.
        answers: what it says to them.

    Raises:
        UnsupportedError: it takes nothing that can be made up.
    """

    def __init__(self, source: Path, threads: int) -> None:
        self._threads = threads
        session = self._open(source)
        try:
            self.inputs, self.answers = _asked(session)
        finally:
            session.close()

    def same(self, folders: Sequence[Path]) -> bool:
        """Whether stages give the same bits, one after the other."""
        names = list(self.inputs)
        values: Sequence[Any] = list(self.inputs.values())
        for folder in folders:
            session = self._open(folder)
            try:
                takes = [spec.name for spec in session.signature.inputs]
                first = folder is folders[0]
                given = dict(zip(names if first else takes, values, strict=True))
                values = session.infer(given)
            finally:
                session.close()
        return all(map(_equal, values, self.answers))

    def _open(self, folder: Path) -> Session:
        engine: Engine = load("engines", "onnxruntime")()
        return engine.load(folder, EngineOptions(threads=self._threads))


def _asked(session: Session) -> tuple[dict[str, Any], Sequence[Any]]:
    reason = ""
    for free in _FREE:
        inputs = _made_up(session.signature, free)
        try:
            return inputs, [np.array(one) for one in session.infer(inputs)]
        except InvalidError as error:
            reason = error.message
    raise UnsupportedError(f"the model refuses every input that was made up for it: {reason}")


def _made_up(signature: Signature, free: int) -> dict[str, Any]:
    generator = np.random.default_rng(7)
    return {
        spec.name: made_up_array(spec, _ROWS, free, _TEXTS, generator) for spec in signature.inputs
    }


def _equal(left: Any, right: Any) -> bool:
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))


def measured(graph: Graph, source: Path, inputs: Tensors, threads: int) -> list[float]:
    """Microseconds of each step of `graph.work`, operator by operator, nothing joined.

    Raises:
        UnsupportedError: ONNX Runtime does not say what its nodes take.
    """
    names = {graph.model.graph.node[place].name: step for step, place in enumerate(graph.work)}
    took = [0.0] * len(graph.work)
    with tempfile.TemporaryDirectory(prefix="modelworks-shard-") as folder:
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = threads
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder, "profile"))
        run, end = _profiled(graph, source, Path(folder), settings)
        for _ in range(_RUNS):
            run(inputs)
        events = json.loads(Path(end()).read_bytes())
    for event in events:
        name = str(event.get("name", ""))
        step = names.get(name.removesuffix("_kernel_time"))
        if name.endswith("_kernel_time") and step is not None:
            took[step] += float(event["dur"]) / _RUNS
    if not any(took):
        raise UnsupportedError("ONNX Runtime does not say what this graph's nodes take: by=bytes")
    return took


def _profiled(
    graph: Graph, source: Path, folder: Path, settings: ort.SessionOptions
) -> tuple[Callable[[Tensors], Any], Callable[[], str]]:
    """The model with our names of its nodes, beside the files that its weights lie in."""
    for name in model_files(source) - {MODEL}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    (folder / MODEL).write_bytes(graph.model.SerializeToString())
    found = ort.InferenceSession(str(folder / MODEL), settings, providers=["CPUExecutionProvider"])
    names = [one.name for one in found.get_outputs()]
    return lambda inputs: found.run(names, inputs), found.end_profiling
