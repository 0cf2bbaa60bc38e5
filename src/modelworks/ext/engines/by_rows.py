"""Runs several forms of one model: a call takes one by its number of rows."""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from modelworks.core.by_rows import BY_ROWS, read_by_rows
from modelworks.core.errors import UNLOADED, UnavailableError
from modelworks.core.seams import EngineOptions, Reusable, Session
from modelworks.core.tensor import Signature, Tensors
from modelworks.ext.engines.agreement import refuse_unknown
from modelworks.ext.engines.inner import opened


class ByRowsSession:
    """All parts in memory; the arrays it takes and gives follow `core.seams.Session`.

    Args:
        sessions: of the parts, of the same signature.
        rows: up to so many the part of the same place is taken; the last part has none.
        signature: of each.
    """

    def __init__(
        self, sessions: Sequence[Session], rows: Sequence[int], signature: Signature
    ) -> None:
        self.signature = signature
        self.apart = any(one.apart for one in sessions)
        self._sessions, self._rows = tuple(sessions), tuple(rows)
        self._calls = tuple(one.infer for one in sessions)
        self._first = signature.inputs[0].name

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run the part for so many rows; see `core.seams.Session.infer`."""
        calls = self._calls  # `close` may come in between
        if not calls:
            raise UnavailableError(UNLOADED)
        try:
            rows = len(inputs[self._first])
        except (KeyError, TypeError):  # missing, or no rows: a part says it better
            rows = 0
        return calls[bisect_left(self._rows, rows)](inputs)

    def reusing(self) -> Session:
        """See `core.seams.Reusable`."""
        parts = [one.reusing() if isinstance(one, Reusable) else one for one in self._sessions]
        return ByRowsSession(parts, self._rows, self.signature) if parts else self

    def close(self) -> None:
        """Close every part."""
        self._calls = ()
        for one in self._sessions:
            one.close()
        self._sessions = ()


class ByRowsEngine:
    """The engine `by_rows`. It has no settings of its own: the artifact has each part's."""

    name: ClassVar[str] = "by_rows"
    formats: ClassVar[tuple[str, ...]] = (BY_ROWS,)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> Session:
        """Load every part of the folder `path`; see `core.seams.Engine.load`.

        Without a registered signature the first part's own one is all parts' signature.
        """
        refuse_unknown("by_rows", options, ())
        parts = read_by_rows(path).parts
        sessions: list[Session] = []
        signature = options.signature
        try:
            for place, part in enumerate(parts):
                inside = path / part.folder
                sessions.append(opened(inside, part, f"part {place}", options, signature))
                signature = signature or sessions[0].signature
        except BaseException:
            for one in sessions:
                one.close()
            raise
        if len(sessions) == 1:  # nothing to choose
            return sessions[0]
        return ByRowsSession(sessions, [part.rows for part in parts[:-1]], sessions[0].signature)
