"""Open streams: how long after the engine made a token its bytes are at the client.

    python benchmarks/streaming/streams.py [STREAMS] [TOKENS_PER_SECOND] [SECONDS]

The server has core 0, the clients core 1. First: one stream at a time, from the engine's first
token to the first byte of the body. Then STREAMS at once, which begin within a second, each with
its tokens at an even pace.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import uvloop

HERE = Path(__file__).parent


class Client(asyncio.Protocol):
    """One stream; `delays` are those of its tokens, nanoseconds."""

    def __init__(self, tokens: int, over: asyncio.Future) -> None:
        body = json.dumps({"text_input": "a", "max_tokens": tokens}).encode()
        head = b"POST /v2/models/m/generate_stream HTTP/1.1\r\nHost: a\r\nContent-Length: "
        self._ask = head + b"%d\r\n\r\n" % len(body) + body
        self._over = over
        self.delays: list[int] = []

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Ask."""
        self._transport = transport
        transport.write(self._ask)

    def data_received(self, data: bytes) -> None:
        """Tokens."""
        now = time.monotonic_ns()
        parts = data.split(b'"text_output":"')
        self.delays += [now - int(part[: part.index(b'"')]) for part in parts[1:]]
        if data.endswith(b"0\r\n\r\n"):
            self._transport.close()
            self._over.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It may have broken off."""
        if not self._over.done():
            self._over.set_exception(exc or ConnectionError("it broke off"))


async def stream(port: int, tokens: int, after: float = 0.0) -> list[int]:
    """The delays of one stream that begins so many seconds from now."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(after)
    over = loop.create_future()
    client = Client(tokens, over)
    await loop.create_connection(lambda: client, "127.0.0.1", port)
    await over
    return client.delays


def ms(delays: list[int], share: float) -> float:
    """A quantile in milliseconds."""
    return sorted(delays)[min(len(delays) - 1, int(share * len(delays)))] / 1e6


async def main() -> None:
    """Print the figures."""
    streams, rate, seconds = 500, 20.0, 10.0
    given = [float(word) for word in sys.argv[1:4]]
    streams, rate, seconds = [*given, *(streams, rate, seconds)[len(given) :]]
    os.sched_setaffinity(0, {os.cpu_count() - 1})
    command = ["taskset", "-c", "0", sys.executable, str(HERE / "paced.py"), str(rate)]
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else is under way
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        port = int(server.stdout.readline())
        process = psutil.Process(server.pid)
        first = [(await stream(port, 1))[0] for _ in range(1000)]
        told = f"p50 {ms(first, 0.5):.2f} p99 {ms(first, 0.99):.2f} ms"
        print(f"first byte, one stream at a time: {told}")
        before, memory = sum(process.cpu_times()[:2]), process.memory_info().rss
        began = time.monotonic()
        tokens = int(rate * seconds)
        count = int(streams)
        many = await asyncio.gather(*(stream(port, tokens, n / count) for n in range(count)))
        took = time.monotonic() - began
        cpu = sum(process.cpu_times()[:2]) - before
        grown = (process.memory_info().rss - memory) / 2**20
        delays = [delay for one in many for delay in one]
        assert all(len(one) == tokens for one in many)
        firsts = [one[0] for one in many]
        print(
            f"{len(many)} streams of {rate:g} tokens/s: {len(delays) / took:,.0f} tokens/s, "
            f"first p50 {ms(firsts, 0.5):.2f} p99 {ms(firsts, 0.99):.2f} ms, "
            f"every p50 {ms(delays, 0.5):.2f} p99 {ms(delays, 0.99):.2f} ms, "
            f"{1e6 * cpu / len(delays):.1f} us CPU a token (engine included), +{grown:.1f} MB"
        )
        server.stdin.close()


if __name__ == "__main__":
    uvloop.run(main())
