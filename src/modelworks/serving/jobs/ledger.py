"""The jobs' file of one worker: a thread, and what is asked of it meanwhile as its next commit.

Group commit as the batcher batches: an idle thread commits at once what waits, and while the disk
is busy the next group grows. Several workers open the same file; SQLite lets one write at a time.
"""

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from modelworks.core.errors import CrashedError, ModelworksError, UnavailableError
from modelworks.serving.jobs.schema import BUSY_S, connect, damaged
from modelworks.serving.jobs.turnstile import Turnstile

_log = logging.getLogger("modelworks.serving")
R = TypeVar("R")
Base: TypeAlias = sqlite3.Connection
Told: TypeAlias = Callable[[Any, ModelworksError | None], None]
MOST: Final = 8192
BYTES: Final = 256 << 20
_GROUP: Final = 1024
_END_S: Final = 15.0
_BUSY: Final = "SQLITE_BUSY"
_Question: TypeAlias = tuple[Callable[[Base], Any], Told, int, bool]


class Ledger:
    """Asked on one loop.

    Args:
        path: of the file; made where it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._questions: deque[_Question] = deque()
        self._bytes = 0
        self._wake = threading.Event()
        self._closing = False
        self._base: Base | None = None
        self._turnstile: Turnstile | None = None
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def ask(
        self, work: Callable[[Base], Any], told: Told, size: int = 0, *, writes: bool = True
    ) -> None:
        """Ask the file; `told` is called on the loop, when what was written is on the disk.

        Args:
            work: is given the file, on its thread.
            told: is given what `work` returned, or why it did not.
            size: bytes that the question holds.
            writes: False = it only looks.

        Raises:
            UnavailableError: too much waits already.
        """
        if self._closing:
            raise UnavailableError("the server is stopping: submit to another, or again later")
        if len(self._questions) >= MOST or self._bytes + size > BYTES:
            raise UnavailableError(
                f"{len(self._questions)} requests wait for the jobs' folder: its disk is slow; try "
                "again"
            )
        self._questions.append((work, told, size, writes))
        self._bytes += size
        self._wake.set()

    async def do(self, work: Callable[[Base], R], *, writes: bool = True) -> R:
        """`ask` for a coroutine.

        Raises:
            ModelworksError: what `work` raises; UnavailableError: the disk is full.
        """
        future: asyncio.Future[R] = self._loop.create_future()

        def told(found: R, error: ModelworksError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(found)

        self.ask(work, told, writes=writes)
        return await future

    async def close(self) -> None:
        """Answer what waits, and close the file."""
        self._closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, _END_S)

    # -- on the thread

    def _run(self) -> None:
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                while self._questions:
                    self._answer(self._next())
                if self._closing:
                    return
        except RuntimeError:  # the loop closed: nobody is left to tell
            return
        finally:
            if self._base is not None:
                self._base.close()
            if self._turnstile is not None:
                self._turnstile.close()

    def _next(self) -> list[_Question]:
        return [self._questions.popleft() for _ in range(min(_GROUP, len(self._questions)))]

    def _answer(self, group: list[_Question]) -> None:
        try:
            answers = self._together(group)
            if answers is None:  # one may be what the disk does not take: each by itself
                answers = [self._alone(question) for question in group]
        except Exception:  # noqa: BLE001 - whoever asked must get an answer, and the thread go on
            _log.exception("the jobs' file failed")
            answers = [(None, CrashedError("it failed: see the server's log"))] * len(group)
        size = sum(question[2] for question in group)
        self._loop.call_soon_threadsafe(self._tell, group, answers, size)

    def _tell(
        self, group: list[_Question], answers: list[tuple[Any, ModelworksError | None]], size: int
    ) -> None:
        self._bytes -= size
        for (_, told, _, _), (found, error) in zip(group, answers, strict=True):
            try:
                told(found, error)
            except Exception:  # noqa: BLE001 - one caller's trouble is not its neighbours'
                _log.exception("an answer about jobs could not be given")

    def _together(self, group: list[_Question]) -> list[tuple[Any, ModelworksError | None]] | None:
        """Answers of all in one transaction; None = it could not be written."""
        try:
            return self._transact(group)
        except sqlite3.Error as error:
            if len(group) > 1 and _name(error) != _BUSY:
                return None
            return [(None, self._trouble(error))] * len(group)
        except ModelworksError as error:  # the file cannot be opened
            return [(None, error)] * len(group)

    def _alone(self, question: _Question) -> tuple[Any, ModelworksError | None]:
        try:
            return self._transact([question])[0]
        except sqlite3.Error as error:
            return None, self._trouble(error)
        except ModelworksError as error:
            return None, error

    def _transact(self, group: list[_Question]) -> list[tuple[Any, ModelworksError | None]]:
        base, turnstile = self._opened()
        if any(question[3] for question in group):
            turnstile.begin(base)
        else:
            base.execute("BEGIN")
        try:
            answers = [_one(base, work) for work, _, _, _ in group]
            base.execute("COMMIT")
        except BaseException:
            if base.in_transaction:
                base.execute("ROLLBACK")
            raise
        return answers

    def _opened(self) -> tuple[Base, Turnstile]:
        if self._base is None or self._turnstile is None:
            self._base = self._base or connect(self._path)
            self._turnstile = Turnstile(self._path.with_suffix(".turn"), BUSY_S)
        return self._base, self._turnstile

    def _trouble(self, error: sqlite3.Error) -> ModelworksError:
        """What a caller is told of the file's trouble."""
        name = _name(error)
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            _log.error("%s", damaged(self._path, error).message)
            return damaged(self._path, error)
        why = {
            "SQLITE_FULL": "its disk is full: make room there",
            _BUSY: "another process holds it for too long",
            "SQLITE_READONLY": "it may not be written",
        }.get(name, f"{error}: is its disk full or broken?")
        told = f"the jobs' file {self._path} takes nothing now: {why}"
        _log.error("%s", told)
        return UnavailableError(told, retry_after=5)


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def _one(base: Base, work: Callable[[Base], Any]) -> tuple[Any, ModelworksError | None]:
    try:
        return work(base), None
    except ModelworksError as error:
        return None, error.with_traceback(None)
    except sqlite3.Error:
        raise
    except Exception:  # noqa: BLE001 - whoever asked must get an answer
        _log.exception("a question about jobs failed")
        return None, CrashedError("it failed: see the server's log")
