"""Starts processes from one thread that lives as long as this process does.

The kernel ends a child that asked for it when the *thread* that started it ends, not the process.
A model's process is started by a thread that only loads and is over then; so another one does it.
"""

import os
import subprocess
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue


@dataclass(frozen=True, slots=True)
class Start:
    """A process to start.

    Attributes:
        command: line.
        inherited: descriptors that it gets.
        environment: all of it.
        output: descriptor of its standard output and error.
    """

    command: list[str]
    inherited: tuple[int, ...]
    environment: dict[str, str]
    output: int


def start(wanted: Start) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own.

    Raises:
        OSError: it cannot be started.
    """
    return _starter().start(wanted)


class _Starter:
    """The thread; one a process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._wanted: SimpleQueue[tuple[Start, Future[subprocess.Popen[bytes]]]] = SimpleQueue()
        threading.Thread(target=self._work, name="starter", daemon=True).start()

    def start(self, wanted: Start) -> subprocess.Popen[bytes]:
        answer: Future[subprocess.Popen[bytes]] = Future()
        self._wanted.put((wanted, answer))
        return answer.result()

    def _work(self) -> None:
        while True:
            wanted, answer = self._wanted.get()
            try:
                process = subprocess.Popen(
                    wanted.command,
                    pass_fds=wanted.inherited,
                    env=wanted.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=wanted.output,
                    stderr=wanted.output,
                    start_new_session=True,
                )
            except BaseException as error:  # noqa: BLE001 - whoever asked gets it
                answer.set_exception(error)
            else:
                answer.set_result(process)


_lock = threading.Lock()
_only: list[_Starter] = []


def _starter() -> _Starter:
    with _lock:
        if not _only or _only[0].process != os.getpid():  # a fork has our memory, not our thread
            _only[:] = [_Starter()]
        return _only[0]
