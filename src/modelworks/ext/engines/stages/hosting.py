"""Offers one stage to pipelines of other hosts."""

import logging
import math
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelworks.core.errors import (
    ConflictError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.seams import Engine, EngineOptions
from modelworks.ext.engines.stages.frames import BrokenError, Line, Word, crashed
from modelworks.ext.engines.stages.safety import (
    Address,
    Certificates,
    address_of,
    context_of,
)
from modelworks.ext.formats.stages import Stage, digest_of
from modelworks.plugins.load import load
from modelworks.sandbox.relay import Buffer, Pool

_log = logging.getLogger("modelworks.stages")
_GREETING_S: Final = 10.0
_FRAME_S: Final = 60.0  # of a frame that has begun
_LINES: Final = 64
_MOST: Final = 1 << 30  # bytes of the tensors of one call
_JOIN_S: Final = 5.0


class Host:
    """A stage that listens.

    Args:
        folder: of the artifact.
        stage: of it.
        listen: `HOST:PORT`.
        options: of its engine.
        certificates: None on loopback alone.

    Attributes:
        address: where it listens.

    Raises:
        InvalidError: the folder holds another stage, or TLS was left out.
        ConflictError: the port is taken.
    """

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        listen: str,
        options: EngineOptions,
        certificates: Certificates | None,
    ) -> None:
        wanted = address_of(listen, "listen")
        self._tls = context_of(wanted, certificates, server=True)
        place = folder / stage.folder
        if stage.digest and digest_of(place) != stage.digest:
            raise InvalidError(
                f"the files of '{stage.folder}' are not those that stages.json names", field="path"
            )
        engine: Engine = load("engines", stage.engine)()
        self._digest = stage.digest
        self._signature = stage.signature
        self._session = engine.load(
            place,
            EngineOptions(threads=options.threads, signature=stage.signature, extra=stage.options),
        )
        self._compute = threading.Lock()
        self._stop = threading.Event()
        self._lines: set[Line] = set()
        self._pool = Pool(2 * _MOST)
        self._changing = threading.Lock()
        try:
            self._listener = _listening(wanted)
        except BaseException:
            self._session.close()
            raise
        self.address = Address(wanted.host, int(self._listener.getsockname()[1]))

    def run(self) -> None:
        """Answer until `close`."""
        self._listener.settimeout(0.5)
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                break
            with self._changing:
                full = len(self._lines) >= _LINES
                line = Line(connection)
                if not full:
                    self._lines.add(line)
            if full:
                line.close()
                continue
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def close(self) -> None:
        """Hang up, and give the memory back. Twice is quiet."""
        self._stop.set()
        self._listener.close()
        with self._changing:
            lines = list(self._lines)
        for line in lines:
            with suppress(OSError):
                line.connection.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + _JOIN_S
        while self._lines and time.monotonic() < until:
            time.sleep(0.01)
        with self._compute:
            self._session.close()

    def _serve(self, line: Line) -> None:
        plain = line
        number = id(line)
        buffers = (Buffer(number, self._pool), Buffer(number + 1, self._pool))
        try:
            line = self._greeted(line)
            while not self._stop.is_set():
                self._answer(line, *buffers)
        except (EOFError, TimeoutError):
            pass
        except (OSError, BrokenError, ModelworksError) as error:
            _log.warning("a pipeline's connection was ended: %s", error)
        finally:
            line.close()
            for buffer in buffers:
                buffer.close()
            with self._changing:
                self._lines.discard(plain)

    def _greeted(self, line: Line) -> Line:
        until = time.monotonic() + _GREETING_S
        connection = line.connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._tls is not None:
            connection.settimeout(_GREETING_S)
            try:
                line.connection = self._tls.wrap_socket(connection, server_side=True)
            except ssl.SSLError as error:
                raise BrokenError(f"no TLS that knows both sides: {error.reason}") from error
        word, _, size = line.head(until)
        if word is not Word.HELLO:
            raise BrokenError("it does not greet")
        wanted = line.data(size, until).get("digest")
        if wanted != self._digest:
            told = InvalidError(
                "the stage here is another one: its files differ from those that the pipeline has",
                field="hosts",
            )
            line.tell(told, until)
            raise told
        line.say(Word.WELCOME, until, {"digest": self._digest})
        return line

    def _answer(self, line: Line, source: Buffer, into: Buffer) -> None:
        """One call; nothing is said on the line that tells a pipeline of the end."""
        word, number, size = line.head(math.inf)
        until = time.monotonic() + _FRAME_S
        if word is not Word.CALL:
            raise BrokenError("it says what it may not say")
        if size > _MOST or not source.hold(size):
            line.tell(UnavailableError(f"there is no room for {size} bytes of tensors"), until)
            raise BrokenError(f"it sent {size} bytes, more than there is room for")
        line.into(source, size, until)
        try:
            used = self._computed(source, into)
        except Exception as error:  # noqa: BLE001 - whoever asked is told whatever it was
            line.tell(crashed(error), time.monotonic() + _FRAME_S)
            return
        finally:
            source.rest()
        line.give(Word.DONE, number, time.monotonic() + _FRAME_S, into, used)
        into.rest()

    def _computed(self, source: Buffer, into: Buffer) -> int:
        inputs = self._signature.inputs
        arrays = source.read(inputs, own=False)
        with self._compute:
            given = {spec.name: array for spec, array in zip(inputs, arrays, strict=True)}
            outputs = self._session.infer(given)
            return into.put(outputs)


def _listening(address: Address) -> socket.socket:
    try:
        return socket.create_server(
            address, family=socket.AF_INET6 if ":" in address.host else socket.AF_INET
        )
    except OSError as error:
        raise ConflictError(f"{address} cannot be listened on: {error.strerror}") from error
