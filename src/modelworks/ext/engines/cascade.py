"""Asks a small form first, and a large one for the rows that the small one is not sure of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelworks.core.errors import UNLOADED, InvalidError, UnavailableError
from modelworks.core.seams import EngineOptions, Session
from modelworks.core.tensor import Signature, Tensors
from modelworks.ext.engines.agreement import refuse_unknown
from modelworks.ext.engines.inner import opened
from modelworks.ext.formats.cascade import (
    CASCADE,
    LARGE,
    SMALL,
    Cascade,
    read_cascade,
    sureness,
)


class CascadeSession:
    """Both forms in memory; the arrays it takes and gives follow `core.seams.Session`.

    What a call costs depends on its values, so it never runs on the event loop.

    Args:
        small: asked for every row.
        large: asked for the others.
        cascade: which those are.
    """

    apart = True

    def __init__(self, small: Session, large: Session, cascade: Cascade) -> None:
        self.signature: Signature = small.signature
        self._sessions: tuple[Session, ...] = (small, large)
        self._threshold, self._logits = cascade.threshold, cascade.logits
        self._place = _place(small.signature, cascade.output)

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run the small one, and the large one where it is needed; see `core.seams.Session`."""
        sessions = self._sessions  # `close` may come in between
        if not sessions:
            raise UnavailableError(UNLOADED)
        small, large = sessions
        outputs = list(small.infer(inputs))
        sure = sureness(outputs[self._place], logits=self._logits)
        unsure = np.flatnonzero(~(sure >= self._threshold))  # NaN is unsure
        if not unsure.size:
            return outputs
        if unsure.size == len(sure):
            return large.infer(inputs)
        better = large.infer({name: array[unsure] for name, array in inputs.items()})
        for place, rows in enumerate(better):
            outputs[place] = np.array(outputs[place])  # an engine may keep what it gave
            outputs[place][unsure] = rows
        return outputs

    def close(self) -> None:
        """Close both."""
        sessions, self._sessions = self._sessions, ()
        for one in sessions:
            one.close()


def _place(signature: Signature, output: str) -> int:
    names = [spec.name for spec in signature.outputs]
    if output not in names:
        raise InvalidError(f"the small form has no output '{output[:80]}'", field="output")
    if not signature.batch_axis:
        raise InvalidError("a cascade is of models that answer row by row", field="path")
    return names.index(output)


class CascadeEngine:
    """The engine `cascade`. It has no settings of its own: the artifact has each form's."""

    name: ClassVar[str] = "cascade"
    formats: ClassVar[tuple[str, ...]] = (CASCADE,)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> CascadeSession:
        """Load both forms of the folder `path`; see `core.seams.Engine.load`."""
        refuse_unknown(self.name, options, ())
        cascade = read_cascade(path)
        small = opened(path / SMALL, cascade.small, SMALL, options, options.signature)
        try:
            large = opened(path / LARGE, cascade.large, LARGE, options, small.signature)
        except BaseException:
            small.close()
            raise
        try:
            return CascadeSession(small, large, cascade)
        except BaseException:
            small.close()
            large.close()
            raise
