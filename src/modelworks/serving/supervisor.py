"""Several workers on one port: starts them, starts them again, passes acts on, drains them all.

The supervisor serves nothing and loads no model; it is a loop over sockets, without threads.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from modelworks.core.errors import CrashedError, UnavailableError
from modelworks.serving.wire import ACT_DEADLINE_S, Lines, Message, line, pack_error

_log = logging.getLogger("modelworks.supervisor")
_TICK_S: Final = 0.25
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 30.0
_HEALTHY_S: Final = 10.0  # a worker that lived so long starts again at once
_GRACE_S: Final = 2.0  # after the drain's own deadline, before the kill


@dataclass(frozen=True, slots=True)
class Start:
    """What a new worker is told.

    Attributes:
        slot: its place in the block of counters.
        link: descriptor of its end of the socket pair.
        patient: others serve already: listen only when the models are loaded.
        overrides: acts since the start: (model, `load` or `unload`).
    """

    slot: int
    link: int
    patient: bool
    overrides: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Worker:
    slot: int
    process: subprocess.Popen[bytes] | None = None
    link: socket.socket | None = None
    lines: Lines = field(default_factory=Lines)
    ready: bool = False
    born: float = 0.0
    wait: float = _FIRST_WAIT_S
    again: float = 0.0  # when to start it; 0 = it runs


@dataclass(slots=True)
class _Act:
    origin: int
    number: int
    verb: str
    model: str
    until: float
    waiting: set[int]
    error: Message | None = None


class Supervisor:
    """Keeps `count` workers alive until a signal.

    Args:
        count: of workers.
        command: the command line of a worker.
        inherited: descriptors that every worker gets.
        drain_s: seconds that a worker's drain may take.
        ready: called once, when every worker has loaded its models.
        parent: id of the parent process: end when it does; 0 = do not look.
        reopens: SIGHUP is passed on to the workers: they open their access log anew.
        ended: called with the slot of every worker that has ended.
        leaving: called once, as the end begins.
    """

    def __init__(  # noqa: PLR0913 - one caller, and it names what it gives
        self,
        count: int,
        command: Callable[[Start], list[str]],
        inherited: Sequence[int],
        drain_s: float,
        ready: Callable[[], None],
        *,
        parent: int = 0,
        reopens: bool = False,
        ended: Callable[[int], None] = lambda _: None,
        leaving: Callable[[], None] = lambda: None,
    ) -> None:
        self._reopens = reopens
        self._leaving = leaving
        self._told_end = ended
        self._command = command
        self._inherited = tuple(inherited)
        self._drain_s = drain_s
        self._announce = ready
        self._parent = parent
        self._workers = [_Worker(slot) for slot in range(count)]
        self._selector = selectors.DefaultSelector()
        self._acts: dict[int, _Act] = {}
        self._next = 0
        self._overrides: dict[str, str] = {}
        self._announced = False
        self._stopping = 0.0  # when it began
        self._code = 0

    def run(self) -> int:
        """Until all workers have ended; the exit code."""
        wake, wakened = socket.socketpair()
        for end in (wake, wakened):
            end.setblocking(False)  # noqa: FBT003 - the library's signature
        signal.set_wakeup_fd(wakened.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, lambda *_: self._hang_up())
        self._selector.register(wake, selectors.EVENT_READ, None)
        for worker in self._workers:
            self._start(worker)
        try:
            while any(worker.process or not self._stopping for worker in self._workers):
                self._turn(wake)
        finally:
            self._leaving()
            for worker in self._workers:
                if worker.process is not None:
                    worker.process.kill()
                    worker.process.wait()
        return self._code

    def _turn(self, wake: socket.socket) -> None:
        for key, _ in self._selector.select(_TICK_S if not self._due() else _FIRST_WAIT_S / 2):
            if key.fileobj is wake:
                with contextlib.suppress(BlockingIOError):
                    wake.recv(4096)
            else:
                self._hear(key.data)
        now = time.monotonic()
        self._tend(now)
        for number in [n for n, act in self._acts.items() if now > act.until]:
            self._late(number)
        if self._parent and os.getppid() != self._parent:
            _log.warning("the parent process is gone: stopping")
            self._parent = 0
            self._stop()
        if self._stopping and now > self._stopping + self._drain_s + _GRACE_S:
            for worker in self._workers:
                if worker.process is not None:
                    _log.error("worker %d did not end in time and is killed", worker.slot)
                    worker.process.kill()

    def _tend(self, now: float) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is not None:
                self._ended(worker, now)
            elif worker.process is None and not self._stopping and now >= worker.again:
                self._start(worker)

    def _due(self) -> bool:
        return not self._stopping and any(worker.process is None for worker in self._workers)

    # -- processes

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the library's signature
        start = Start(
            worker.slot,
            theirs.fileno(),
            patient=self._announced,
            overrides=tuple(self._overrides.items()),
        )
        try:
            worker.process = subprocess.Popen(
                self._command(start), pass_fds=(*self._inherited, theirs.fileno())
            )
        finally:
            theirs.close()
        worker.link, worker.lines = ours, Lines()
        worker.ready, worker.born, worker.again = False, time.monotonic(), 0.0
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _ended(self, worker: _Worker, now: float) -> None:
        assert worker.process is not None  # noqa: S101 - the caller saw it end
        code = worker.process.returncode
        worker.process = None
        self._told_end(worker.slot)
        self._unlink(worker)
        for number, act in list(self._acts.items()):
            act.waiting.discard(worker.slot)
            self._settle(number)
        if self._stopping:
            return
        if not self._announced and code > 0:
            self._code = code  # it said why: a bad list, or a port that is taken
            self._stop()
            return
        _log.warning("worker %d ended with %d and is started again", worker.slot, code)
        lived = now - worker.born
        worker.wait = _FIRST_WAIT_S if lived > _HEALTHY_S or worker.ready else worker.wait * 4
        worker.wait = min(worker.wait, _LONGEST_WAIT_S)
        worker.again = now + worker.wait
        worker.ready = False

    def _unlink(self, worker: _Worker) -> None:
        if worker.link is not None:
            self._selector.unregister(worker.link)
            worker.link.close()
            worker.link = None

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = time.monotonic()
        self._leaving()
        self._signal(signal.SIGTERM)

    def _hang_up(self) -> None:
        """Pass it on where it has a meaning; else it is the end, as everywhere."""
        if self._reopens:
            self._signal(signal.SIGHUP)
        else:
            self._stop()

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.send_signal(number)

    # -- messages

    def _hear(self, worker: _Worker) -> None:
        if worker.link is None:
            return
        try:
            data = worker.link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._unlink(worker)
            return
        for message in worker.lines.feed(data):
            self._take(worker, message)

    def _take(self, worker: _Worker, message: Message) -> None:
        kind = message["type"]
        if kind == "ready":
            worker.ready = True
            if not self._announced and all(w.ready for w in self._workers):
                self._announced = True
                self._announce()
        elif kind == "ask":
            self._begin(worker, message)
        elif kind == "done" and message["act"] in self._acts:
            act = self._acts[message["act"]]
            act.waiting.discard(worker.slot)
            act.error = act.error or message["error"]
            self._settle(message["act"])

    def _begin(self, origin: _Worker, message: Message) -> None:
        self._next += 1
        number = self._next
        verb, model = message["verb"], message["model"]
        workers = [worker for worker in self._workers if worker.link is not None]
        self._acts[number] = _Act(
            origin=origin.slot,
            number=message["id"],
            verb=verb,
            model=model,
            until=time.monotonic() + ACT_DEADLINE_S,
            waiting={worker.slot for worker in workers},
        )
        for worker in workers:
            self._say(worker, {"type": "act", "act": number, "verb": verb, "model": model})

    def _settle(self, number: int) -> None:
        act = self._acts[number]
        if act.waiting:
            return
        del self._acts[number]
        if act.error is None:
            self._overrides[act.model] = act.verb
        answer = {"type": "answer", "id": act.number, "error": act.error}
        self._say(self._workers[act.origin], answer)

    def _late(self, number: int) -> None:
        act = self._acts[number]
        slots = ", ".join(str(slot) for slot in sorted(act.waiting))
        late = UnavailableError(f"{act.verb} of '{act.model}': worker {slots} did not answer")
        act.error, act.waiting = act.error or pack_error(late), set()
        self._settle(number)

    def _say(self, worker: _Worker, message: Message) -> None:
        if worker.link is None:
            return
        try:
            worker.link.sendall(line(message))
        except OSError as error:  # full or closed: it does not read, so it is not alive
            _log.warning("worker %d cannot be told: %s", worker.slot, CrashedError(str(error)))
            self._unlink(worker)
