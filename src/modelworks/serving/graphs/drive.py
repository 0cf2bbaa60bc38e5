"""Hands members on from one model's call to the next model's queue without a turn of the loop.

What one call answered belongs together in the next one: its members are put into the next model's
queue one by one, and that queue's turn is taken when the last of them is there, before the loop
does anything else. A call that is not short goes to its engine's thread, as ever.
"""

import logging
from typing import Any

from modelworks.serving.batcher import Batcher, Member

_log = logging.getLogger("modelworks.serving")


class Drive:
    """Of all graphs of one worker; on the loop's thread only."""

    __slots__ = ("_active", "_held")

    def __init__(self) -> None:
        self._held: list[Batcher] = []
        self._active = False

    def put(self, batcher: Any, member: Member) -> None:
        """Queue a member; its model's turn comes with the end of the call that is being answered.

        Raises:
            ModelworksError: as `Batcher.submit`.
        """
        if type(batcher) is Batcher and batcher.hold():
            self._held.append(batcher)
        batcher.submit(member)

    def flush(self, _: object = None) -> None:
        """A call's members were all answered: let those run whom they were handed to."""
        held = self._held
        if not held or self._active:
            return
        self._active = True
        try:
            while held:
                held.pop(0).release()
        finally:
            self._active = False
