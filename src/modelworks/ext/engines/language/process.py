"""The parent's side of a language model's process: starts it, says and hears, notices its end."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    MissingExtraError,
    ModelworksError,
    UnavailableError,
)
from modelworks.ext.engines.language.lines import Lines
from modelworks.ext.engines.language.opened import Wish
from modelworks.sandbox.isolate import Isolation
from modelworks.sandbox.launch import launched
from modelworks.sandbox.limits import Limits
from modelworks.sandbox.report import rebuild
from modelworks.sandbox.start import how
from modelworks.sandbox.vigil import Watched

_CHILD: Final = "modelworks.ext.engines.language.child"
_JOIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the process is to be.

    Attributes:
        by: name of the engine.
        extra: of ours that brings its library.
        wish: how the model is opened.
        limits: of the process.
        start_s: that it may take to become ready.
    """

    by: str
    extra: str
    wish: Wish
    limits: Limits
    start_s: float


@dataclass(frozen=True, slots=True)
class Ready:
    """What a process says of itself and its model.

    Attributes:
        isolation: the walls that stand around it.
        context: tokens that a prompt and its answer may have together.
        adapters: names.
        widest: characters that a token stands for at most, where the process reads texts; 0 = it
            does not.
    """

    isolation: Isolation
    context: int
    adapters: tuple[str, ...]
    widest: int


class Process:
    """One, loaded and ready when it is made.

    Args:
        plan: what it is to be.
        heard: gets every message, from a thread of ours, in order.
        ended: called once, from a thread of ours, when it ended unasked, after the last message:
            why, in words that follow "the model's process".

    Attributes:
        ready: what it said when it was.

    Raises:
        ModelworksError: it does not load; nothing is left behind.
    """

    def __init__(
        self, plan: Plan, heard: Callable[[Any], None], ended: Callable[[str], None]
    ) -> None:
        self._heard = heard
        self._ended = ended
        self._out: SimpleQueue[Any] = SimpleQueue()
        self._closed = False
        try:
            self._control, theirs = socket.socketpair()
            with theirs:
                self._vigil = launched(
                    how(), _CHILD, theirs, plan.limits, plan.wish.threads, _nothing
                )
        except OSError as error:
            raise UnavailableError(
                f"the model's process cannot be started: {error.strerror or error}"
            ) from error
        lines = Lines(self._control)
        try:
            lines.send(_setup(plan, self._watched.work))
            self.ready = self._begun(plan, lines)
        except BaseException:
            self._closed = True
            self._watched.dismiss()
            self._control.close()
            self._vigil.join(_JOIN_S)
            raise
        self._ready_at = time.monotonic()
        self._control.settimeout(None)
        name = f"language-{self.pid}"
        self._reading = threading.Thread(
            target=self._read, args=(lines,), name=f"{name}-in", daemon=True
        )
        self._writing = threading.Thread(
            target=self._write, args=(lines,), name=f"{name}-out", daemon=True
        )
        self._reading.start()
        self._writing.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._watched.pid

    @property
    def age_s(self) -> float:
        """Since it became ready."""
        return time.monotonic() - self._ready_at

    def say(self, message: Any) -> None:
        """Send, at once or a little later; quiet when it is gone."""
        self._out.put(message)

    def end(self, why: str) -> None:
        """Kill it for a reason: `ended` is told."""
        self._watched.end(why)

    def close(self) -> None:
        """End it, and give everything back. Twice is quiet."""
        if self._closed:
            return
        self._closed = True
        self._watched.dismiss()
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._out.put(None)
        for thread in (self._reading, self._writing):
            if thread is not threading.current_thread():
                thread.join(_JOIN_S)
        self._vigil.join(_JOIN_S)
        self._control.close()

    @property
    def _watched(self) -> Watched:
        return self._vigil.watched

    def _begun(self, plan: Plan, lines: Lines) -> Ready:
        self._control.settimeout(plan.start_s)
        try:
            came = lines.read()
        except TimeoutError as error:
            raise UnavailableError(
                f"the model took longer than {plan.start_s:g} s to load; its process was ended"
            ) from error
        except (OSError, ValueError):
            came = None
        if not came or not isinstance(came[0], dict):
            self._watched.hung_up()
            self._watched.ended.wait(_JOIN_S)
            raise CrashedError(f"the model's process {self._watched.reason or 'does not answer'}")
        if "error" in came[0]:
            raise _judged(came[0]["error"])
        return codec.decode(Ready, came[0].get("ready"))

    def _read(self, lines: Lines) -> None:
        why = ""
        try:
            while (came := lines.read()) is not None:
                for message in came:
                    self._heard(message)
        except OSError:
            pass  # it is gone, or we closed it
        except Exception as error:  # noqa: BLE001 - what it says is no protocol of ours
            why = f"broke its protocol: {type(error).__name__}"
        watched = self._watched
        if why:
            watched.end(why)
        if self._closed:
            return
        watched.hung_up()
        watched.ended.wait(_JOIN_S)
        self._out.put(None)
        if not self._closed:
            self._ended(watched.reason or "does not answer")

    def _write(self, lines: Lines) -> None:
        with suppress(OSError):
            while (message := self._out.get()) is not None:
                lines.send(message)


def _setup(plan: Plan, work: Path) -> dict[str, Any]:
    """The first message: what the process has to know before it loads."""
    folder = plan.wish.folder.resolve()
    return {
        "by": plan.by,
        "extra": plan.extra,
        "wish": codec.encode(replace(plan.wish, folder=folder)),
        "work": str(work),
        "reads": [str(folder), *(str(path) for path in how().reads)],
        "limits": codec.encode(plan.limits),
    }


def _nothing(_reason: str) -> None:
    """Whoever reads notices the end: after the last message."""


def _judged(data: Any) -> ModelworksError:
    error = rebuild(data if isinstance(data, dict) else {})
    if isinstance(error, InvalidError | MissingExtraError):
        return error
    return CrashedError(error.message, field=error.field)
