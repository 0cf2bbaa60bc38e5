"""The first generation of a model that was just loaded: one token shows that it works."""

import threading
from contextlib import suppress
from typing import Final

from modelworks.core.errors import CrashedError
from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.core.seams import Generating

_SECONDS: Final = 120.0
_TEXT: Final = "a"


def try_generating(session: Generating) -> None:
    """Have one token made; what a first call costs, no caller pays.

    Raises:
        CrashedError: it failed, or took longer than two minutes.
        ModelworksError: the session refuses the prompt.
    """
    last: list[Piece] = []
    ended = threading.Event()

    def tell(piece: Piece) -> None:
        if piece.finish is not None:
            last.append(piece)
            ended.set()

    stop = session.generate(Prompt(_TEXT), Sampling(max_tokens=1, temperature=0.0), tell)
    if not ended.wait(_SECONDS):
        with suppress(Exception):
            stop()
        raise CrashedError(f"the first token took longer than {_SECONDS:g} s")
    if last[0].finish is Finish.ERROR:
        raise CrashedError(f"the first token could not be made: {last[0].error}")
