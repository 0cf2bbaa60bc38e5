"""Large bodies, read by the kernel straight into the bytes that the handler gets.

Read the usual way, every byte of such a body is copied three times: out of the kernel, out of the
loop's own buffer, and when the pieces are joined. While large bodies come on a connection, the
transport asks a `LargeBodies` where to read to, and the last two copies fall away. A fourth one
falls away with tensors that lie as processors want them: see `aligned`.
"""

import asyncio
import ctypes
from typing import Final, Protocol, cast

from modelworks.edge.head import Head

LARGE: Final = 192 * 1024
"""Bytes of body from which it pays; measured: docs/decisions/0018-large-bodies.md."""

_WINDOW: Final = 4096  # the next request's head, and little of its body, is read apart
_WRITABLE: Final = 0x200  # PyBUF_WRITE
_JSON_LENGTH: Final = b"inference-header-content-length"
_ALIGNED: Final = 16  # so the C library's memory is, and with it the first byte of `bytes`
_DIGITS: Final = 10

# The C API's own way to bytes that are filled after they were made, and before anybody sees them:
# https://docs.python.org/3/c-api/bytes.html#c.PyBytes_FromStringAndSize
_new = ctypes.pythonapi.PyBytes_FromStringAndSize
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t)
_address = ctypes.pythonapi.PyBytes_AsString
_address.restype, _address.argtypes = ctypes.c_void_p, (ctypes.py_object,)
_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.restype, _view.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)


class Connection(Protocol):
    """What large bodies come on: a stream protocol, which can be told of bytes it did not see."""

    def body_grew(self) -> None:
        """The present body has more bytes than before; it may be complete."""
        ...

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`, and so of the others."""
        ...

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        ...

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        ...

    def pause_writing(self) -> None:
        """The client takes no more."""
        ...

    def resume_writing(self) -> None:
        """It does again."""
        ...


def aligned(head: Head) -> tuple[Head, int]:
    """Have the tensors behind a body's JSON begin at a multiple of 16 bytes.

    Spaces before JSON mean nothing, and we say how much there is to read: where a tensor would lie
    askew, the body is given some spaces more than the client sent.

    Returns:
        The head as the handler gets it, and how many spaces come before the body.
    """
    value = head.headers.get(_JSON_LENGTH, b"")
    if head.coding or not value.isdigit() or len(value) > _DIGITS:
        return head, 0
    json_length = int(value)
    spaces = -json_length % _ALIGNED
    if not spaces or not 0 < json_length <= head.length:
        return head, 0
    headers = {**head.headers, _JSON_LENGTH: b"%d" % (json_length + spaces)}
    return head.with_values(headers, head.length), spaces


class LargeBody:
    """Exactly `length` bytes, filled where they will stay; the counterpart of `SizedBody`.

    Args:
        length: of the body.
        spaces: that stand before it.

    Attributes:
        held: bytes received so far.

    Raises:
        MemoryError: there is not even the address space.
    """

    __slots__ = ("_length", "_space", "_whole", "held")

    def __init__(self, length: int, spaces: int = 0) -> None:
        """Address space is set aside; memory is, page by page, when bytes come."""
        self.held = 0
        self._length = length
        self._whole: bytes = _new(None, length + spaces)
        whole: memoryview = _view(_address(self._whole), length + spaces, _WRITABLE)
        whole[:spaces] = b" " * spaces
        self._space = whole[spaces:]

    @property
    def done(self) -> bool:
        """Whether the body is complete."""
        return self.held == self._length

    def feed(self, data: bytes, position: int) -> int:
        """Take from `data` at `position`; the position behind what was used."""
        stop = min(len(data), position + self._length - self.held)
        size = stop - position
        self._space[self.held : self.held + size] = memoryview(data)[position:stop]
        self.held += size
        return stop

    def space(self) -> memoryview:
        """Where the next bytes belong; whoever writes there tells `grow`.

        Not to be kept: it does not keep the body alive.
        """
        return self._space[self.held :]

    def grow(self, size: int) -> None:
        """So many bytes were written into `space`."""
        self.held += size

    def body(self) -> bytes:
        """The body; nothing is written to it from now on."""
        self._space = memoryview(b"")
        return self._whole


class LargeBodies(asyncio.BufferedProtocol):
    """Stands between a transport and its connection while large bodies come.

    Args:
        connection: is told everything, as if it were the transport's protocol itself.
        transport: of a socket; one of TLS has no bytes of its own to read into.
    """

    __slots__ = ("_body", "_connection", "_present", "_transport", "_window")

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._window = memoryview(bytearray(_WINDOW))
        self._body: LargeBody | None = None
        self._present = False  # the transport asks us

    def expect(self, body: LargeBody) -> None:
        """What is read from now on belongs to this body, to its end or to `forget`."""
        self._body = body
        if not self._present:
            self._present = True
            self._transport.set_protocol(self)

    def forget(self) -> None:
        """The body is complete, or given up."""
        self._body = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport reads to: never beyond the end of a body."""
        del sizehint
        return self._window if self._body is None else self._body.space()

    def buffer_updated(self, nbytes: int) -> None:
        """So much was read there."""
        body = self._body
        if body is not None:
            body.grow(nbytes)
            self._connection.body_grew()
            return
        # A client that sent one large body is likely to send another, so the transport stays here
        # until something else comes. Else of each body a quarter of a megabyte would be read the
        # usual way, together with its head.
        self._connection.data_received(bytes(self._window[:nbytes]))
        if self._body is None and not self._transport.is_closing():
            self._present = False
            self._transport.set_protocol(cast("asyncio.Protocol", self._connection))

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._connection.resume_writing()
