"""Texts as tokens, on a thread with room for them.

For some vocabularies llama.cpp parts a text by a regular expression that calls itself once a
character: on an ordinary stack 30,000 letters end the process. It takes 310 to 540 bytes each.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from modelworks.ext.engines.language.texts import LONGEST_READ

STACK: Final = 640 * LONGEST_READ
"""Bytes of address space; only what a text needs is ever touched."""
Reads = Callable[[str], list[int]]


class Reader:
    """Reads on its own thread; one text at a time.

    Args:
        read: what reads; its exceptions go to the caller.
    """

    def __init__(self, read: Reads) -> None:
        self._read = read
        self._texts: SimpleQueue[str] = SimpleQueue()
        self._found: SimpleQueue[list[int] | Exception] = SimpleQueue()
        before = threading.stack_size(STACK)
        try:
            threading.Thread(target=self._run, name="language-reader", daemon=True).start()
        finally:
            threading.stack_size(before)

    def __call__(self, text: str) -> list[int]:
        """A text as tokens."""
        self._texts.put(text)
        found = self._found.get()
        if isinstance(found, Exception):
            raise found
        return found

    def _run(self) -> None:
        while True:
            text = self._texts.get()
            try:
                self._found.put(self._read(text))
            except Exception as error:  # noqa: BLE001 - the caller's
                self._found.put(error)
