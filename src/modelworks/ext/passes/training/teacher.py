"""A model that is asked: what it answers to rows is all that is known of it."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.seams import EngineOptions, Session
from modelworks.core.tensor import Signature
from modelworks.ext.formats.onnx_model import MODEL
from modelworks.ext.passes.training.graphs import Graph
from modelworks.ext.passes.training.rows import Array
from modelworks.plugins.load import load

_AT_ONCE: Final = 64  # rows of a call


class Teacher:
    """Asks a session in calls of bounded size.

    Args:
        session: of the model; its owner closes it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def answers(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Output name -> array over all rows.

        Raises:
            InvalidError: the model refuses a row, or does not answer row by row.
        """
        names = [spec.name for spec in self._session.signature.outputs]
        count = len(next(iter(inputs.values())))
        parts: list[list[Any]] = []
        for first in range(0, count, _AT_ONCE):
            some = {k: np.ascontiguousarray(v[first : first + _AT_ONCE]) for k, v in inputs.items()}
            parts.append([np.array(each) for each in self._session.infer(some)])
        whole = [np.concatenate(each) for each in zip(*parts, strict=True)]
        for name, array in zip(names, whole, strict=True):
            if len(array) != count:
                raise InvalidError(f"output '{name}' has {len(array)} rows for {count}")
        return dict(zip(names, whole, strict=True))


@contextmanager
def asked(
    source: Path, signature: Signature | None, threads: int, engine: str = "onnxruntime"
) -> Iterator[Teacher]:
    """A model of a folder, ready to be asked.

    Raises:
        InvalidError: the engine does not load it.
    """
    options = EngineOptions(threads=threads, signature=signature)
    session = load("engines", engine)().load(source, options)
    try:
        yield Teacher(session)
    finally:
        session.close()


@contextmanager
def asked_graph(graph: Graph, threads: int) -> Iterator[Teacher]:
    """The same for a graph in memory, with the outputs that it has by itself."""
    with tempfile.TemporaryDirectory(prefix="modelworks-graph-") as folder:
        (Path(folder) / MODEL).write_bytes(graph.model.SerializeToString())
        with asked(Path(folder), None, threads) as teacher:
            yield teacher
