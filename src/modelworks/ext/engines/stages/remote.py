"""A stage on another host: connections that are kept, noticed when they end, and made again."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, LifoQueue
from typing import Final

from modelworks.core.errors import (
    UNLOADED,
    CrashedError,
    DeadlineError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.ext.engines.stages.frames import BrokenError, Line, Word
from modelworks.ext.engines.stages.safety import Address, Certificates, context_of
from modelworks.ext.formats.stages import Stage
from modelworks.sandbox.relay import Buffer
from modelworks.sandbox.tensors import extent

_WIDTH: Final = 2  # one sends while the other's call is computed
_CONNECT_S: Final = 10.0
_WAITS: Final = (0.1, 0.5, 2.0, 8.0, 30.0)
_ALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class RemoteStage:
    """A stage elsewhere; fulfils `local.Running`.

    Args:
        address: of it.
        stage: what the artifact says of it: the other side must have the same.
        certificates: None on loopback alone.
        deadline_s: of one call, its way there and back too.
        most: bytes of an answer's tensors.

    Raises:
        InvalidError: it has another stage, or TLS was left out.
        UnavailableError: it cannot be reached.
    """

    def __init__(
        self,
        address: Address,
        stage: Stage,
        certificates: Certificates | None,
        deadline_s: float,
        most: int,
    ) -> None:
        self.signature = stage.signature
        self._address = address
        self._stage = stage
        self._tls = context_of(address, certificates, server=False)
        self._deadline_s = deadline_s
        self._most = most
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._changed: Callable[[str], None] = _nobody
        self._why = ""
        self._number = 0
        self._watched, self._free = self._connected()
        self._lines: list[Line] = [self._watched, *self._free.queue]
        self._keeping = threading.Thread(target=self._keep, name="stage-elsewhere", daemon=True)
        self._keeping.start()

    def run(self, source: Buffer, into: Buffer) -> None:
        """See `Running.run`."""
        if self._why:
            raise UnavailableError(self._why)
        until = time.monotonic() + self._deadline_s
        free = self._free  # another one after a reconnection: a line goes back to where it was
        try:
            line = free.get(timeout=self._deadline_s)
        except Empty:
            raise self._late() from None
        try:
            self._call(line, source, into, until)
        except TimeoutError as error:
            self._broken(line, free)
            raise self._late() from error
        except (OSError, EOFError, BrokenError) as error:
            self._broken(line, free)
            raise UnavailableError(self._told(error)) from error
        except BaseException:
            free.put(line)
            raise
        free.put(line)

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `Running.watch`."""
        with self._lock:
            self._changed = changed
            why = self._why
        if why:
            changed(why)

    def processes(self) -> tuple[int, ...]:
        """None of this machine's."""
        return ()

    def close(self) -> None:
        """Leave the stage alone; it serves others. Twice is quiet."""
        with self._lock:
            self._stop.set()
            self._why = UNLOADED
            self._changed = _nobody
        self._end_all()
        if threading.current_thread() is not self._keeping:
            self._keeping.join(_CONNECT_S)

    # -- one call

    def _call(self, line: Line, source: Buffer, into: Buffer, until: float) -> None:
        with self._lock:
            self._number = number = (self._number + 1) & 0xFFFFFFFF
        assert source.memory is not None  # noqa: S101 - something was written into it
        size = extent(source.memory, self.signature.inputs)
        line.give(Word.CALL, number, until, source, size)
        word, answered, size = line.head(until)
        if word is Word.ERROR:
            raise _allowed(line.error(size, until))
        if word is not Word.DONE or answered != number:
            raise BrokenError("it answers what nobody asked")
        if size > self._most or not into.hold(size):
            raise BrokenError(f"it gives {size} bytes, more than there is room for: buffers_mib")
        line.into(into, size, until)
        try:
            into.read(self.signature.outputs, own=False)
        except CrashedError as error:
            raise BrokenError(error.message.partition(": ")[2]) from error

    def _late(self) -> DeadlineError:
        return DeadlineError(
            f"{self._address} took longer than {self._deadline_s:g} s for this request"
        )

    def _told(self, error: BaseException) -> str:
        reason = str(error) or "it hung up"
        return f"{self._address}: {reason[:200]}; it is connected to again"

    # -- the connections

    def _connected(self) -> tuple[Line, "LifoQueue[Line]"]:
        """New lines: one that only tells of the end, and those for calls."""
        lines: list[Line] = []
        try:
            lines += [self._open() for _ in range(_WIDTH + 1)]
        except BaseException as error:
            for line in lines:
                line.close()
            if isinstance(error, ModelworksError):
                raise
            if isinstance(error, OSError | EOFError | BrokenError):
                raise UnavailableError(
                    f"no stage can be reached at {self._address}: {_reason(error)}; start it "
                    "there with `modelworks stage`"
                ) from error
            raise
        free: LifoQueue[Line] = LifoQueue()
        for line in lines[1:]:
            free.put(line)
        return lines[0], free

    def _open(self) -> Line:
        until = time.monotonic() + _CONNECT_S
        plain = socket.create_connection(self._address, timeout=_CONNECT_S)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _ALIVE:
                plain.setsockopt(socket.IPPROTO_TCP, option, value)
            if self._tls is not None:
                plain = self._tls.wrap_socket(plain, server_hostname=self._address.host)
            return self._greeted(Line(plain), until)
        except BaseException:
            plain.close()
            raise

    def _greeted(self, line: Line, until: float) -> Line:
        line.say(Word.HELLO, until, {"digest": self._stage.digest})
        word, _, size = line.head(until)
        if word is Word.ERROR:
            raise line.error(size, until)
        if word is not Word.WELCOME:
            raise BrokenError("it does not greet")
        line.data(size, until)
        return line

    def _broken(self, line: Line, free: "LifoQueue[Line]") -> None:
        """End them all; who waits for a line gets this one, and hears of the end by it."""
        line.close()
        self._end_all()
        free.put(line)

    def _end_all(self) -> None:
        """End every line: whoever waits on one hears of it, and the watching thread too."""
        for line in list(self._lines):
            with suppress(OSError):
                line.connection.shutdown(socket.SHUT_RDWR)

    def _keep(self) -> None:
        while not self._stop.is_set():
            reason = self._ended()
            for line in self._lines:
                line.close()
            if self._stop.is_set():
                return
            self._tell(self._told(reason))
            if not self._again():
                return
            self._tell("")

    def _ended(self) -> BaseException:
        """Wait for the end of the line that nothing is said on."""
        try:
            self._watched.connection.settimeout(None)
            self._watched.connection.recv(1)
        except OSError as error:
            return error
        return EOFError("it hung up")

    def _again(self) -> bool:
        for attempt in range(1 << 30):
            if self._stop.wait(_WAITS[min(attempt, len(_WAITS) - 1)]):
                break
            try:
                self._watched, self._free = self._connected()
            except ModelworksError as error:
                self._tell(error.message)
                continue
            self._lines = [self._watched, *self._free.queue]
            if not self._stop.is_set():
                return True
            self._end_all()
            for line in self._lines:
                line.close()
            break
        return False

    def _tell(self, why: str) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._why = why
            changed = self._changed
        changed(why)


def _allowed(error: ModelworksError) -> ModelworksError:
    """What another host may say of a call."""
    if isinstance(error, InvalidError | UnavailableError):
        return error
    return CrashedError(error.message, field=error.field)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, EOFError):
        return "it hung up"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _nobody(_why: str) -> None:
    """Who is told where nobody asked to be."""
