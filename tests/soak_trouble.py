"""What happens to the server of the soak: bad clients, killed processes; and what it holds."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from soak_client import Score, post

ALLOWED = {400, 404, 408, 411, 413, 414, 415, 417, 431, 501, 505}
GOOD = post("/v2/models/a/infer", {"inputs": []})
FULL = post(
    "/v2/models/a/infer",
    {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]},
)


def children_of(pid: int) -> list[int]:
    """Its direct children, oldest first."""
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found]
    return []


def descendants_of(pid: int) -> list[int]:
    """All below it."""
    found = children_of(pid)
    return found + [child for each in found for child in descendants_of(each)]


@dataclass(frozen=True)
class Held:
    """What one process holds."""

    resident: int
    files: int
    threads: int


def held_by(pid: int) -> Held | None:
    """None when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return Held(int(status["VmRSS"].split()[0]) * 1024, files, int(status["Threads"]))
    except (OSError, KeyError):
        return None


@dataclass
class Watch:
    """Samples of processes that are never killed."""

    pids: list[int]
    samples: dict[int, list[tuple[int, Held]]] = field(default_factory=dict)

    def look(self, answered: int) -> None:
        """One sample of each."""
        for pid in self.pids:
            if (held := held_by(pid)) is not None:
                self.samples.setdefault(pid, []).append((answered, held))

    def growth(self, pid: int, warm: float = 0.4) -> tuple[float, float]:
        """Bytes that memory grew by after the warm-up, by a straight line through the samples;
        and where that line begins."""
        every = self.samples[pid]
        start = every[-1][0] * warm
        points = [(at - start, held.resident) for at, held in every if at >= start]
        count = len(points)
        middle_x = sum(x for x, _ in points) / count
        middle_y = sum(y for _, y in points) / count
        spread = sum((x - middle_x) ** 2 for x, _ in points) or 1.0
        slope = sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
        span = points[-1][0] - points[0][0]
        return slope * span, middle_y - slope * span / 2


class BadClients:
    """Connections that do what they must not; answers other than refusals are noted."""

    def __init__(self, address: tuple[str, int], score: Score, generator: random.Random) -> None:
        self._address = address
        self._score = score
        self._random = generator
        self.done: Counter[str] = Counter()
        self._kinds = {
            "garbage": self._garbage,
            "half, closed": self._half,
            "half, reset": self._half_reset,
            "gone before the answer": self._gone,
            "large header": self._large_header,
            "large body": self._large_body,
            "slow": self._slow,
            "bad JSON": self._bad_json,
            "bad chunks": self._bad_chunks,
            "does not read": self._does_not_read,
        }

    async def one(self) -> None:
        """One of them, at random; bounded in time."""
        name, kind = self._random.choice(list(self._kinds.items()))
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(*self._address), 20)
        except (OSError, TimeoutError):
            return  # a worker was killed just then; the good clients say when that is wrong
        try:
            await asyncio.wait_for(kind(name, reader, writer), 30)
            self.done[name] += 1
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            self.done[name] += 1  # the server closed on it
        except TimeoutError:
            if not self._score.excused:
                self._score.note(f"bad client '{name}': no answer within 30 s")
        finally:
            with contextlib.suppress(OSError, RuntimeError):
                writer.transport.abort()

    async def _refused(self, name: str, reader: asyncio.StreamReader) -> None:
        """Read to the end: a refusal, or nothing."""
        data = await reader.read(1 << 16)
        if data and not (data[:9] == b"HTTP/1.1 " and int(data[9:12]) in ALLOWED):
            self._score.note(f"bad client '{name}' was answered {data[:200]!r}")

    async def _garbage(self, name, reader, writer) -> None:
        writer.write(self._random.randbytes(self._random.randrange(1, 4000)) + b"\r\n\r\n")
        await self._refused(name, reader)

    async def _half(self, name, reader, writer) -> None:
        writer.write(FULL[: self._random.randrange(1, len(FULL) - 1)])
        writer.write_eof()
        await self._refused(name, reader)

    async def _half_reset(self, name, reader, writer) -> None:
        del name, reader
        writer.write(FULL[: self._random.randrange(1, len(FULL))])
        await asyncio.sleep(self._random.random() * 0.01)
        _reset(writer)

    async def _gone(self, name, reader, writer) -> None:
        del name, reader
        writer.write(FULL * self._random.randrange(1, 30))
        await asyncio.sleep(self._random.random() * 0.005)
        _reset(writer)

    async def _large_header(self, name, reader, writer) -> None:
        writer.write(b"POST /v2 HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n")
        await self._refused(name, reader)

    async def _large_body(self, name, reader, writer) -> None:
        writer.write(
            b"POST /v2/models/a/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
        )
        await self._refused(name, reader)

    async def _slow(self, name, reader, writer) -> None:
        del name, reader
        for byte in FULL[: self._random.randrange(5, 40)]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    async def _bad_json(self, name, reader, writer) -> None:
        body = self._random.choice((b"{", b"[1,2", b"nul", b'{"inputs": [{"name": "x"}]}', b"\xff"))
        writer.write(
            b"POST /v2/models/a/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        await self._refused(name, reader)

    async def _bad_chunks(self, name, reader, writer) -> None:
        writer.write(
            b"POST /v2/models/a/infer HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        await self._refused(name, reader)

    async def _does_not_read(self, name, reader, writer) -> None:
        del name, reader
        writer.transport.pause_reading()
        writer.write(FULL * 300)
        await asyncio.sleep(0.2)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is None:  # the server has ended it already
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def kill(pid: int) -> None:
    """End a process of ours at once; it may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
