"""The logger's process: started when a worker wants it, again when it ends; let go at the end."""

import logging
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Final

_log = logging.getLogger("modelworks.serving")
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 30.0
_HEALTHY_S: Final = 10.0  # one that lived so long starts again at once


class LoggerProcess:
    """Keeps a logger alive while it is wanted; a thread of its own waits for it.

    Args:
        command: its command line, given the descriptor of its end of the door.
        at_once: the first one is started before anybody wants it: it takes half a second to begin.

    Attributes:
        door: where workers hand it their connections; what waits there waits for the next logger
            when one ends.
    """

    def __init__(self, command: Callable[[int], list[str]], *, at_once: bool = False) -> None:
        self._command = command
        self._at_once = at_once
        self.door, self._theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._over = threading.Event()
        self._wake, self._wakened = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="logger", daemon=True)

    @property
    def pid(self) -> int:
        """Of the logger that runs now; 0 = none does."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    def start(self) -> None:
        """Wait for the first worker that wants it."""
        self._thread.start()

    def close(self, within: float) -> None:
        """Let it write what it has, `within` seconds; it ends by itself, then or later."""
        self._over.set()
        self._wake.send(b"\0")
        self.door.close()
        self._thread.join(within)
        for end in (self._theirs, self._wake, self._wakened):
            end.close()

    def _run(self) -> None:
        wait = _FIRST_WAIT_S
        while self._at_once or self._knocked():
            self._at_once = False
            born = time.monotonic()
            code = self._live()
            if self._over.is_set():
                return
            wait = _FIRST_WAIT_S if time.monotonic() - born > _HEALTHY_S else wait * 4
            wait = min(wait, _LONGEST_WAIT_S)
            _log.warning("the logger of records ended with %s and is started again", code)
            self._over.wait(wait)

    def _knocked(self) -> bool:
        """Wait until a worker is at the door; False at the end."""
        select.select([self._theirs, self._wakened], [], [])
        return not self._over.is_set()

    def _live(self) -> int | str:
        fd = self._theirs.fileno()
        try:
            self._process = subprocess.Popen(self._command(fd), pass_fds=(fd,))
        except OSError as error:
            return str(error)
        return self._process.wait()
