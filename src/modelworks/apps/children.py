"""A child process that serves HTTP: start it, wait until it is ready, end it."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from modelworks.apps.last_words import last_words, plain
from modelworks.core.errors import (
    ConflictError,
    CrashedError,
    DeadlineError,
    InvalidError,
    ModelworksError,
)

READY_SECONDS = 60.0
DRAIN_SECONDS = 40.0
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Announced:
    """What a child says when it is ready: where it listens; a gateway also where it tells more."""

    url: str
    port: int
    admin: str = ""


def free(host: str, port: int) -> None:
    """Check that nobody listens there, before anything is started.

    Raises:
        ConflictError: somebody does.
        InvalidError: no address of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"port {port} on {host} is taken: choose another, or 0 for a free one",
                field="port",
            ) from error
        raise InvalidError(
            f"cannot listen on {host} port {port}: {error.strerror}", field="host"
        ) from error


class Child:
    """One `python -m modelworks.apps....` process.

    Args:
        what: how messages call it (`model server`).
        module: `modelworks.apps.server`.
        arguments: its command line; `--announce FILE` is added.
        log: file that takes its stdout and stderr; None = our stderr, from when it is ready.
        asked: whether somebody will wait until it is ready, and so ask where it listens.
        environ: variables on top of ours; what is secret goes here, for anybody may read a
            command line.
    """

    def __init__(
        self,
        what: str,
        module: str,
        arguments: Sequence[str],
        log: Path | None = None,
        *,
        asked: bool = True,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.what = what
        self.started = time.monotonic()
        self.drained = False
        self._log = log
        self._found: Announced | None = None
        # Gone as soon as it was read: a parent that is killed later leaves nothing behind.
        self._folder = tempfile.TemporaryDirectory(prefix="modelworks-") if asked else None
        command = [sys.executable, "-m", module, *arguments]
        if self._folder is not None:
            command += ["--announce", str(Path(self._folder.name) / "announce.json")]
        self._heard: list[str] = []
        self._loud = threading.Event()
        sink = log.open("ab") if log else None
        try:
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we drain it.
            self.process = subprocess.Popen(  # ended by stop()
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink or subprocess.PIPE,
                stderr=sink or subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **environ},
            )
        except BaseException:
            self._forget()
            raise
        finally:
            if sink is not None:
                sink.close()

        if log is None:
            self._pump = threading.Thread(target=self._listen, name="child output", daemon=True)
            self._pump.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self.process.poll()

    def wait_ready(self, seconds: float = READY_SECONDS) -> Announced:
        """Wait until it answers.

        Raises:
            CrashedError: it ended instead; the message carries its last words where we have them.
            DeadlineError: neither within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self._announced()
            if found is not None:
                self._speak()
                return found
            code = self.process.poll()
            if code is not None:
                raise self._failure(code)
            time.sleep(_POLL)
        raise DeadlineError(f"the {self.what} was not ready within {seconds:g} s{self._why()}")

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code once it ends, None after `seconds`."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, seconds: float = DRAIN_SECONDS) -> int:
        """Ask it to drain (SIGTERM), wait, and end it for good when it does not; its exit code."""
        self.drain()
        code = self.wait(seconds)
        if code is None:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout is not None:
            self._pump.join(timeout=5)
            if not self._pump.is_alive():  # else a grandchild holds the pipe, and it is read on
                self.process.stdout.close()
        self._forget()
        return code

    def drain(self) -> None:
        """Send SIGTERM and return at once; safe in a signal handler."""
        self.drained = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def _announced(self) -> Announced | None:
        if self._found is None and self._folder is not None:
            try:
                data = json.loads(Path(self._folder.name, "announce.json").read_bytes())
                self._found = Announced(str(data["url"]), int(data["port"]), data.get("admin", ""))
            except (FileNotFoundError, ValueError):
                return None  # not yet, or half written
            self._forget()
        return self._found

    def _forget(self) -> None:
        """Remove the folder of the announcement. Twice is quiet."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def _failure(self, code: int) -> ModelworksError:
        """Why it ended before it was ready, as the error that its exit code stands for."""
        message = f"the {self.what} did not start (exit code {code}){self._why()}"
        kinds = {2: InvalidError, 4: InvalidError, 6: ConflictError}
        return kinds.get(code, CrashedError)(message)

    def _why(self) -> str:
        """Its last words, behind a colon; empty where it said nothing."""
        if self._log is not None:
            words = last_words(self._log)
        else:
            self._pump.join(timeout=1)
            words = plain(self._heard[-1]) if self._heard else ""
        return f": {words}" if words else ""

    def _listen(self) -> None:
        """Take its output: kept until it is ready, passed on from then."""
        assert self.process.stdout is not None  # noqa: S101 - asked for where there is no log
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if self._loud.is_set():
                _write(line)
            else:
                self._heard = [*self._heard[-99:], line]

    def _speak(self) -> None:
        """Pass its output on from now; what it said so far first."""
        if self._log is None and not self._loud.is_set():
            self._loud.set()
            for line in self._heard:
                _write(line)


def _write(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody listens to us any more
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
