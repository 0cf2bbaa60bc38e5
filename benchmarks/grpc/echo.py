"""What the HTTP/2 edge costs a call, with a service that only answers.

    python -m benchmarks.grpc.echo                # CPU time of a call, without sockets
    python -m benchmarks.grpc.echo --sockets      # calls a second over a socket, on two cores

Without sockets, frames of unary calls are handed to a connection as a read of the socket would
hand them, and what it writes is thrown away: told is the least of many rounds, in microseconds of
CPU time a call. Requests of HTTP/1.1 are measured beside it in the same way. Over a socket, the
server runs on the first core and `load.py` on the second.
"""

import argparse
import asyncio
import multiprocessing
import os
import time

import psutil
import uvloop
from benchmarks.grpc.load import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    frame,
    header_block,
    load,
)

from modelworks.edge.connection import Connection
from modelworks.edge.http2.connection import Http2Connection
from modelworks.edge.hub import Hub
from modelworks.edge.limits import Limits
from modelworks.edge.listener import Listener, bind

PATH = b"/x.X/Echo"
MESSAGE = b"m" * 160
IMAGE = 602_112  # 3 x 224 x 224 of float32
ROUNDS = 300


class Nowhere(asyncio.Transport):
    """Takes everything."""

    def __init__(self):
        super().__init__()
        self.taken = 0

    def write(self, data):
        """Count it."""
        self.taken += len(data)

    def is_closing(self):
        """Never."""
        return False

    def set_write_buffer_limits(self, high=None, low=None):
        """There are none."""

    def get_write_buffer_size(self):
        """Nothing waits."""
        return 0


def answer(call, message):
    call.answer(message)


def begin(call):
    call.on_message = answer


def reply(exchange):
    exchange.reply(200, exchange.body, b"application/json")


def calls(first, count):
    """Frames of so many calls."""
    block = header_block(PATH, b"127.0.0.1:8000")
    body = b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE
    return b"".join(
        frame(HEADERS, END_HEADERS, number, block) + frame(DATA, END_STREAM, number, body)
        for number in range(first, first + 2 * count, 2)
    )


def least(feed, reads, count):
    """Microseconds of CPU a call."""
    best = float("inf")
    for read in reads:
        began = time.process_time_ns()
        feed(read)
        best = min(best, (time.process_time_ns() - began) / count / 1000)
    return best


async def bare(count):
    hub = Hub(reply, Limits(), asyncio.get_running_loop())
    hub.grpc = begin
    two, transport = Http2Connection(hub), Nowhere()
    two.connection_made(transport)
    two.data_received(PREFACE + frame(SETTINGS, 0, 0) + frame(8, 0, 0, b"\x7f\0\0\0"))
    reads = [calls(1 + 2 * count * i, count) for i in range(ROUNDS)]
    taken = least(two.data_received, reads, count)
    assert transport.taken > ROUNDS * count * len(MESSAGE)
    one = Connection(hub)
    one.connection_made(Nowhere())
    head = b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: %d\r\n\r\n"
    request = head % len(MESSAGE) + MESSAGE
    plain = least(one.data_received, [request * count] * ROUNDS, count)
    print(f"{count:3d} calls a read: gRPC {taken:.1f} us, HTTP/1.1 {plain:.1f} us")


async def large():
    """A message of an image's size, over many frames, as reads of 64 KiB bring it."""
    hub = Hub(reply, Limits(), asyncio.get_running_loop())
    hub.grpc = lambda call: setattr(call, "on_message", lambda call, _: call.answer(b""))
    two = Http2Connection(hub)
    two.connection_made(Nowhere())
    two.data_received(PREFACE + frame(SETTINGS, 0, 0))
    body = b"\0" + IMAGE.to_bytes(4, "big") + bytes(IMAGE)
    pieces = [body[i : i + 16384] for i in range(0, len(body), 16384)]
    best = float("inf")
    for number in range(1, 120, 2):
        sent = frame(HEADERS, END_HEADERS, number, header_block(PATH, b"127.0.0.1:8000"))
        for piece in pieces:
            sent += frame(DATA, END_STREAM if piece is pieces[-1] else 0, number, piece)
        reads = [sent[i : i + 65536] for i in range(0, len(sent), 65536)]
        began = time.process_time_ns()
        for read in reads:
            two.data_received(read)
        best = min(best, (time.process_time_ns() - began) / 1000)
    print(f"a message of {IMAGE:,} bytes: {best:.0f} us")


def serve(ready):
    async def run():
        listener = Listener(reply, Limits(), grpc=begin)
        sock = bind("127.0.0.1", 0)
        await listener.start(sock)
        ready.put(sock.getsockname()[1])
        await asyncio.Event().wait()

    os.sched_setaffinity(0, {0})
    uvloop.run(run())


def busy(process):
    """CPU seconds so far."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def over_sockets(seconds):
    ready = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(ready,), daemon=True)
    process.start()
    port = ready.get(timeout=30)
    os.sched_setaffinity(0, {1})
    try:
        for connections in (1, 8, 64):
            before = busy(process)
            count, taken, _ = load(port, PATH, MESSAGE, connections, seconds)
            cost = (busy(process) - before) / count * 1e6
            print(
                f"{connections:3d} connections: {count / taken:,.0f} calls/s, "
                f"{cost:.1f} us of the server's CPU time a call"
            )
    finally:
        process.terminate()
        process.join(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", action="store_true", help="over a socket, on two cores")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    if options.sockets:
        over_sockets(options.seconds)
    else:
        for count in (1, 8, 64):
            uvloop.run(bare(count))
        uvloop.run(large())


if __name__ == "__main__":
    main()
