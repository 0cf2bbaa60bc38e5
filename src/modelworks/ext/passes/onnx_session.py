"""ONNX Runtime as a tool of passes: graphs that it has optimized, and its libraries kept quiet."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import onnx
import onnxruntime as ort

from modelworks.core.errors import UnavailableError, UnsupportedError
from modelworks.ext.formats.onnx_model import MODEL, read_model, short

_LEVELS: Final = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
LEVELS: Final = tuple(_LEVELS)
_QUIET: Final = 4


def settings(level: str, threads: int) -> ort.SessionOptions:
    """Of a session that says nothing and leaves other threads alone."""
    found = ort.SessionOptions()
    found.log_severity_level = _QUIET
    found.intra_op_num_threads = threads
    found.inter_op_num_threads = 1
    found.graph_optimization_level = _LEVELS[level]
    found.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return found


def optimized(model: onnx.ModelProto, level: str, threads: int) -> onnx.ModelProto:
    """The graph as ONNX Runtime would run it.

    Args:
        model: a graph with its weights.
        level: `basic` = standard operators only: constants folded, normalisations joined;
            `extended` = its own operators too; `all` = and the layout of this processor.
        threads: that it may use.

    Raises:
        UnsupportedError: it cannot load the graph.
        UnavailableError: the temporary folder takes no file of that size.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = settings(level, threads)
        options.optimized_model_filepath = str(Path(folder, MODEL))
        try:
            ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no base of its own
            if "serialization failed" in str(error):
                raise UnavailableError(
                    "the temporary folder takes no file of that size: the disk is full, or the "
                    "size of files is limited"
                ) from error
            raise UnsupportedError(f"onnxruntime cannot load the graph: {short(error)}") from error
        return read_model(Path(folder))


@contextmanager
def quiet() -> Iterator[None]:
    """Within, libraries that warn through the root logger say nothing."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
