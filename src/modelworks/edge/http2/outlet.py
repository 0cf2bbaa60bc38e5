"""What leaves on a connection of HTTP/2: frames, gathered for a turn of the loop; header blocks."""

import asyncio
from typing import Final

from modelworks.edge.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEADERS,
    frame,
)
from modelworks.edge.http2.hpack import Encoder, Field

_KEPT: Final = 256  # header blocks that are not written again
_TOGETHER: Final = 1 << 20  # bytes that are gathered; only the transport knows whether it is full


class Outlet:
    """Of one connection.

    Attributes:
        loop: whose turns they are.
        transport: of the connection.
        encoder: of all header blocks.
        frame_bytes: of one frame that we send, at most.
        gathering: what is written leaves later, together.
    """

    __slots__ = (
        *("_blocks", "_gathered", "_out", "encoder", "frame_bytes", "gathering", "loop"),
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        """Nothing waits."""
        self.loop = loop
        self.transport = transport
        self.encoder = Encoder()
        self.frame_bytes = FRAME_BYTES
        self.gathering = False
        self._out: list[bytes | memoryview] = []
        self._gathered = 0  # bytes of them
        self._blocks: dict[tuple[Field, ...], bytes] = {}

    def write(self, data: bytes | memoryview) -> None:
        """Send a frame or a part of one, together with what else is sent in this turn."""
        self._out.append(data)
        self._gathered += len(data)
        if self._gathered > _TOGETHER:
            self.flush()
        elif not self.gathering:
            self.gathering = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Let go what was gathered."""
        self.gathering = False
        self._gathered = 0
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            if not self.transport.is_closing():
                self.transport.write(data)

    def block(self, fields: tuple[Field, ...]) -> bytes:
        """The header block of fields that come often; to be sent at once."""
        known = self._blocks.get(fields)
        if known is None:
            known = self.encoder.write((), fields)
            if self.encoder.changed or len(self._blocks) >= _KEPT:
                self._blocks.clear()
            if not self.encoder.changed:
                self._blocks[fields] = known
        return known

    def headers(
        self, stream: int, often: tuple[Field, ...], fields: tuple[Field, ...], *, last: bool
    ) -> None:
        """Send a header block.

        Args:
            stream: its id.
            often: fields that come with many answers; they stand before the others.
            fields: the others.
            last: nothing follows on the stream.
        """
        block = self.block(often)
        if fields:
            block += self.encoder.write(fields)
        most, flags = self.frame_bytes, END_STREAM if last else 0
        if len(block) <= most:
            self.write(frame(HEADERS, flags | END_HEADERS, stream, block))
            return
        self.write(frame(HEADERS, flags, stream, block[:most]))
        for begin in range(most, len(block), most):
            ends = END_HEADERS if begin + most >= len(block) else 0
            self.write(frame(CONTINUATION, ends, stream, block[begin : begin + most]))

    def resize(self, limit: int) -> None:
        """The client's table has another size."""
        self._blocks.clear()
        self.encoder.resize(limit)
