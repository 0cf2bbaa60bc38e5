"""TLS between a socket and its connection: towards the loop a protocol, towards it a transport.

uvloop's own TLS gives no hand on handshakes (they cannot be counted, bounded or answered when the
client speaks plain HTTP) and knows no closing of one side, which is how a last answer survives a
client that still sends. This layer is as fast, and a connection cannot tell it from a socket.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from time import monotonic
from typing import Any, cast

from modelworks.edge.answer import HeadWriter, error_body
from modelworks.edge.tls_gate import TlsGate

_RECORD = 16384  # plain bytes of one TLS record at most
_HANDSHAKE = 22  # the first byte of a TLS connection
_WANTED = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsChannel(asyncio.Transport, asyncio.Protocol):
    """One accepted socket of a TLS port.

    Args:
        gate: the listener's.
        connection: is told of the connection when the handshake has ended well.

    Attributes:
        began: when the handshake did, `time.monotonic()`.
    """

    __slots__ = (
        "_closing",
        "_connection",
        "_ended",
        "_first",
        "_gate",
        "_incoming",
        "_open",
        "_outgoing",
        "_raw",
        "_tls",
        "began",
    )

    _raw: asyncio.Transport
    _tls: ssl.SSLObject

    def __init__(self, gate: TlsGate, connection: asyncio.Protocol) -> None:
        super().__init__()
        self._gate = gate
        self._connection = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._open = False  # the handshake has ended
        self._first = True  # no byte has come yet
        self._ended = False  # the client's close_notify came
        self._closing = False  # ours is sent: what comes is thrown away
        self.began = monotonic()

    # -- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._raw = cast("asyncio.Transport", transport)  # a stream server makes these
        context = self._gate.enter(self)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on to whom the connection was announced."""
        self._gate.leave(self)
        if self._open:
            self._connection.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of TLS records."""
        if self._closing:
            return
        self._incoming.write(data)
        if self._open:
            self._read()
            return
        if self._first:
            self._first = False
            if data[0] != _HANDSHAKE:
                self._answer_plain(data)
                return
        self._shake()

    def eof_received(self) -> bool:
        """The client sends no more."""
        if not self._open:
            return False
        if self._ended:
            return not self._closing
        return bool(self._connection.eof_received())

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self._open:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self._open:
            self._connection.resume_writing()

    # -- handshake and reading

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except _WANTED:
            self._flush()
            return
        except (ssl.SSLError, OSError, ValueError) as error:
            self._flush()  # the alert
            self._end_handshake(str(getattr(error, "reason", None) or error))
            return
        self._gate.leave(self)
        self._open = True
        self._flush()
        self._connection.connection_made(self)
        if self._incoming.pending or self._tls.pending():
            self._read()

    def _answer_plain(self, data: bytes) -> None:
        """Somebody speaks no TLS: say so in HTTP where it may be HTTP, and close."""
        if 65 <= data[0] <= 90:  # methods are upper-case letters
            body = error_body("this port speaks HTTPS: write https:// in the URL")
            head = HeadWriter().head(400, len(body), b"application/json", (), b"close")
            self._raw.write(head + body)
        self._end_handshake("the client speaks no TLS")

    def _end_handshake(self, reason: str) -> None:
        """Close our side; the gate's sweep cuts off whoever does not close the other one."""
        self._gate.failed(reason)
        self._closing = True
        if not self._raw.is_closing():
            self._raw.write_eof()

    def _read(self) -> None:
        """Hand over all that can be decrypted, as one piece: most requests are one."""
        tls, incoming = self._tls, self._incoming
        pieces: list[bytes] = []
        try:
            while True:
                piece = tls.read(_RECORD)
                if not piece:
                    self._ended = True
                    break
                pieces.append(piece)
                if not incoming.pending and not tls.pending():
                    break
        except _WANTED:
            pass
        except (ssl.SSLError, OSError):  # damaged or forged: nothing of it can be trusted
            self._flush()
            self._raw.abort()
            return
        if self._outgoing.pending:
            self._flush()
        if pieces:
            self._connection.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._ended and not self._closing and not self._connection.eof_received():
            self.close()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    # -- what the connection calls

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """From here on, what the connection hears goes to another one."""
        self._connection = cast("asyncio.Protocol", protocol)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._closing:
            return
        try:
            sent = self._tls.write(data)
            while sent < len(data):  # one record a call
                data = memoryview(data)[sent:]
                sent = self._tls.write(data)
        except (ssl.SSLError, OSError):
            self._raw.abort()
            return
        self._raw.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send the parts in turn."""
        for part in list_of_data:
            self.write(part)

    def write_eof(self) -> None:
        """Say `close_notify` and close our side; the other is still read, and thrown away."""
        self._notify()
        if not self._raw.is_closing():
            self._raw.write_eof()

    def can_write_eof(self) -> bool:
        """TLS itself cannot go on one way, but its socket can wait for the other side."""
        return True

    def close(self) -> None:
        """Say `close_notify`, send what is left, close."""
        self._notify()
        self._raw.close()

    def _notify(self) -> None:
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(ssl.SSLError, OSError, ValueError):
            self._tls.unwrap()  # ours is written; the other one may come or not
        self._flush()

    def cut(self) -> None:
        """Abort; called by the sweep on a handshake."""
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """Whether the socket is closing."""
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        """Read no more from the socket."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read from the socket again."""
        self._raw.resume_reading()

    def is_reading(self) -> bool:
        """Whether the socket is read."""
        return self._raw.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of the socket; in encrypted bytes."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that the socket has not taken: nothing else is kept back."""
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, or what the socket's transport knows."""
        if name == "ssl_object":
            return self._tls
        return self._raw.get_extra_info(name, default)
