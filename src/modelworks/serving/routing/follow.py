"""Follows the file of routes: read and made ready on a thread, put in force on the loop."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Final

from modelworks.core.errors import InvalidError, ModelworksError, NotFoundError
from modelworks.core.files import Mark, mark_of, replace_text
from modelworks.protocol.routes.reading import MOST_BYTES
from modelworks.serving.routing.book import Book

_log = logging.getLogger("modelworks.serving")
_PERIOD_S: Final = 0.25


class RouteWatch:
    """One file of routes.

    What was good is kept beside the file, `.NAME.good`: a worker that is started while the file is
    broken goes by that.

    Args:
        path: of the file.
        opener: makes a book of its bytes.
        found: called on the loop with each new book.
        broken: called on the loop with the reason why a new file is none.
    """

    def __init__(
        self,
        path: Path,
        opener: Callable[[bytes], Book],
        found: Callable[[Book], None],
        broken: Callable[[str], None],
    ) -> None:
        self._path = path.absolute()
        self._good = self._path.with_name(f".{path.name}.good")
        self._opener = opener
        self._found = found
        self._broken = broken
        self._mark: Mark | None = None
        self._book: Book | None = None
        self._stop = Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def first(self) -> tuple[Book, str]:
        """What to begin with, and what is wrong with the file; empty = nothing is.

        Raises:
            ModelworksError: neither the file nor what was good before can be used.
        """
        self._mark = mark_of(self._path)
        try:
            self._book = self._open()
        except ModelworksError as error:
            try:
                self._book = self._opener(_bytes(self._good))
            except ModelworksError:
                raise error from None
            return self._book, error.message
        return self._book, ""

    def start(self) -> None:
        """Begin to watch."""
        self._loop = asyncio.get_running_loop()
        Thread(target=self._watch, name="routes", daemon=True).start()

    def stop(self) -> None:
        """Stop watching; at most one period later the thread is gone."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            mark = mark_of(self._path)
            if mark == self._mark:
                continue
            try:
                book = self._open()
            except ModelworksError as error:
                if mark == mark_of(self._path):
                    self._mark = mark
                    self._tell(self._broken, error.message)
                continue
            self._mark = mark
            before, self._book = self._book, book
            self._tell(self._found, book)
            self._stop.wait(_PERIOD_S)
            del before  # the loop has let it go: its thousands of parts are given back here

    def _open(self) -> Book:
        text = _bytes(self._path)
        book = self._opener(text)
        try:
            if not self._good.exists() or _bytes(self._good) != text:
                replace_text(self._good, text.decode())
        except (OSError, ModelworksError) as error:  # it costs the copy, not the routes
            _log.warning("no copy of the routes is kept beside them: %s", error)
        return book

    def _tell(self, what: Callable[..., None], value: object) -> None:
        if self._loop is not None and not self._stop.is_set():
            try:
                self._loop.call_soon_threadsafe(what, value)
            except RuntimeError:  # the loop closed meanwhile: nobody is left to tell
                self._stop.set()


def _bytes(path: Path) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - opened by number
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file of routes {path}", field="routes") from error
    except OSError as error:
        raise InvalidError(
            f"the file of routes {path} cannot be read: {error.strerror}", field="routes"
        ) from error
    return data or b""
