"""A gRPC client that is thinner than any server: frames made beforehand, answers only counted.

Each connection has one call under way, and sends the next when the last was answered. What differs
from call to call is the number of the stream: four bytes in two frames. grpcio's own client takes
ten times as long for a call as this one, and would measure itself.
"""

import asyncio
import struct
import time

import uvloop

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEAD = struct.Struct(">BHBBI")


def frame(kind, flags, stream, payload=b""):
    """One frame."""
    return HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def text(data):
    """A string of HPACK, not Huffman coded, below 127 bytes."""
    return bytes((len(data),)) + data


def header_block(path, authority):
    """What every generated client sends, by static indexes and literals that are not indexed."""
    return b"".join(
        (
            b"\x83\x86",  # POST, http
            b"\x04" + text(path),
            b"\x01" + text(authority),
            b"\x0f\x10" + text(b"application/grpc"),
            b"\x00" + text(b"te") + text(b"trailers"),
        )
    )


class Caller(asyncio.Protocol):
    """One connection.

    Args:
        block: headers of a call, encoded.
        message: of a call.
        over: tells whether to stop.
    """

    def __init__(self, block, message, over):
        self.head = frame(HEADERS, END_HEADERS, 0, block)[:5], block
        body = b"\x00" + struct.pack(">I", len(message)) + message
        self.body = frame(DATA, END_STREAM, 0, body)[:5], body
        self.over = over
        self.calls = 0
        self.failed = ""
        self.latencies = []
        self.ended = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.stream = -1
        self.answered = False

    def connection_made(self, transport):
        """Begin."""
        self.transport = transport
        settings = struct.pack(">HIHI", 2, 0, 4, 0x7FFFFFFF)  # no push, room for answers
        transport.write(
            PREFACE
            + frame(SETTINGS, 0, 0, settings)
            + frame(WINDOW, 0, 0, struct.pack(">I", 0x7FFF0000 - 65535))
        )
        self.ask()

    def ask(self):
        """The next call."""
        self.stream += 2
        number = struct.pack(">I", self.stream)
        self.answered = False
        self.began = time.perf_counter()
        (start, block), (begin, body) = self.head, self.body
        self.transport.write(b"".join((start, number, block, begin, number, body)))

    def data_received(self, data):
        """Look at the frames that are whole."""
        buffer = self.buffer + data if self.buffer else data
        at, end = 0, len(buffer)
        while end - at >= 9:
            high, low, kind, flags, stream = HEAD.unpack_from(buffer, at)
            size = (high << 16) + low
            if end - at - 9 < size:
                break
            start, at = at + 9, at + 9 + size
            if kind == DATA:
                self.answered = True
            if kind in {DATA, HEADERS}:
                if flags & END_STREAM and stream == self.stream:
                    self.told(buffer[start:at])
            elif not flags & ACK:
                self.beside(kind, stream, buffer[start:at])
        self.buffer = buffer[at:]

    def told(self, last):
        """The call under way has ended."""
        if not self.answered:
            self.stop(f"refused: {last!r}")
            return
        self.calls += 1
        self.latencies.append(time.perf_counter() - self.began)
        if self.over():
            self.stop("")
        else:
            self.ask()

    def beside(self, kind, stream, payload):
        """A frame of the connection's own."""
        if kind == SETTINGS:
            self.transport.write(frame(SETTINGS, ACK, 0))
        elif kind == PING:
            self.transport.write(frame(PING, ACK, 0, payload))
        elif kind in {RST, GOAWAY}:
            self.stop(f"frame {kind} of stream {stream}: {payload!r}")

    def stop(self, why):
        """No further call."""
        self.failed = self.failed or why
        self.transport.close()

    def connection_lost(self, error):
        """The end."""
        if error is not None:
            self.failed = self.failed or repr(error)
        if not self.ended.done():
            self.ended.set_result(None)


def load(port, path, message, connections, seconds):
    """Call for some seconds.

    Returns:
        Calls answered, seconds taken, latencies in ascending order.

    Raises:
        RuntimeError: a call was refused, or a connection ended.
    """

    async def run():
        loop = asyncio.get_running_loop()
        end = time.monotonic() + seconds
        block = header_block(path, b"127.0.0.1:%d" % port)
        callers = []
        began = time.perf_counter()
        for _ in range(connections):
            _, caller = await loop.create_connection(
                lambda: Caller(block, message, lambda: time.monotonic() >= end), "127.0.0.1", port
            )
            callers.append(caller)
        await asyncio.wait_for(asyncio.gather(*(c.ended for c in callers)), seconds + 60)
        taken = time.perf_counter() - began
        if failed := next((c.failed for c in callers if c.failed), ""):
            raise RuntimeError(failed)
        return (
            sum(c.calls for c in callers),
            taken,
            sorted(one for c in callers for one in c.latencies),
        )

    return uvloop.run(run())
