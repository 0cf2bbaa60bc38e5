"""A server's pieces without what the budget counts: what stands in for a line switched off."""

import asyncio

import numpy as np
import orjson

from modelworks.edge.head import parse_head
from modelworks.edge.hub import Hub
from modelworks.edge.request import Request
from modelworks.protocol.oip.templates import RequestReader
from modelworks.serving.execute import execute
from modelworks.serving.infer import answer, gather
from modelworks.serving.live import Live


class Transport(asyncio.Transport):
    """Takes what is written and counts it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.last = b""

    def write(self, data) -> None:
        """Take an answer."""
        self.writes += 1
        self.last = data

    def writelines(self, parts) -> None:
        """Take an answer in parts."""
        self.write(b"".join(parts))

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        """Any will do: nothing waits here."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def is_closing(self) -> bool:
        """Never."""
        return False

    def pause_reading(self) -> None:
        """A batch is smaller than what a connection may have open."""
        raise RuntimeError("nothing here may press back")

    def abort(self) -> None:
        """Nobody has a reason to."""
        raise RuntimeError("the connection was refused")

    close = abort


class BareConnection(asyncio.Protocol):
    """A connection without any limit, order of answers, pipelining or partial request."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._writer = hub.writer
        self._starts: dict[bytes, bytes] = {}
        self._transport = Transport()

    def connection_made(self, transport) -> None:
        """As asyncio calls it."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """One whole request, always."""
        hub = self._hub
        end = data.find(b"\r\n\r\n") + 4
        raw = data[:end]
        head = hub.heads.get(raw)
        if head is None:
            head = hub.heads[raw] = parse_head(raw, hub.limits)
        hub.handler(Request(self, head, data[end:]))

    def answered(self, request, status, body, content_type, headers) -> None:
        """Write, whoever came first."""
        del request, headers
        start = self._starts.get(content_type)
        if start is None:
            whole = self._writer.head(status, 0, content_type, (), b"")
            start = self._starts[content_type] = whole[: whole.rindex(b"0")]
        self._transport.write(b"%b%d\r\n\r\n%b" % (start, len(body), body))


class TrustingTemplate:
    """Takes it that every request has the numbers that the first one had, so many."""

    def __init__(self, like) -> None:
        self.request, self.rows, self.form = like.request, like.rows, like.form
        self._dtype = np.dtype("<f4")

    def read(self, varying):
        """Decode; nothing is counted or compared."""
        numbers = orjson.loads(b"[[%b]]" % b"],[".join(varying))
        return {"X": np.array(numbers, self._dtype)}


class TrustingReader:
    """Takes the numbers out of a body that it believes to be like the first one."""

    def __init__(self, signature, body: bytes) -> None:
        reader = RequestReader(signature)
        reader.read(body, None)
        known = reader.recognise(body, None)
        self._template = TrustingTemplate(known[0])
        self._start = body.find(b"[", body.find(b'"data"')) + 1
        self._stop = body.find(b"]", self._start) - len(body)

    def recognise(self, body: bytes, header_length):
        """What stands where the numbers stood."""
        del header_length
        return self._template, body[self._start : self._stop]


class SilentRecorder:
    """Counts nothing."""

    def call(self, call) -> bool:
        """See `Recorder.call`."""
        del call
        return False

    def settle(self) -> None:
        """See `Recorder.settle`."""

    def limits(self, size, delay_ms) -> None:
        """See `Recorder.limits`."""

    def read(self):
        """See `Recorder.read`."""

    def waiting(self, items) -> None:
        """See `Recorder.waiting`."""

    def ended(self, outcome, taken_ns) -> None:
        """See `Recorder.ended`."""


class OpenBatcher:
    """Everything that waits is the next batch; no bound, deadline, shape or size is looked at."""

    def __init__(self, live: Live, session) -> None:
        self._live = live
        self._session = session
        self._waiting: list = []
        self._call_soon = asyncio.get_running_loop().call_soon
        self.items = 0

    def submit(self, member) -> None:
        """Queue."""
        if not self._waiting:
            self._call_soon(self._turn)
        self._waiting.append(member)

    def cancel(self, member) -> None:
        """Nobody leaves here."""

    def _turn(self) -> None:
        batch, self._waiting = self._waiting, []
        for call in execute(self._session, batch, gather):
            answer(self._live, call)
            self._live.recorder.call(call)


class OneModel:
    """The table as an application asks it: one model."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def names(self):
        """What answers."""
        return [(self._live.name, self._live)]

    def revive(self, served) -> None:
        """Nothing has left."""

    def entries(self):
        """Versions have no paths here."""
        return []
