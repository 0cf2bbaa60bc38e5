"""What a model's requests leave for the records: noted after each engine call, packed by portions.

Nothing is decoded while a request is answered: a note holds on to the two bodies for some
milliseconds, and to nothing else of the request: its memory is used again while it is warm. Some
dozens are packed together, column by column. See docs/decisions/0025-records.md.
"""

from collections.abc import Callable, Sequence
from random import random
from time import perf_counter_ns
from typing import Any, Final

from modelworks.edge.exchange import Exchange, Headers
from modelworks.protocol.records.calls import CACHED, HEADERS, JSON_LENGTH, LEFT_OUT, pack_calls

PORTION: Final = 48
"""Notes that are packed at once. Packed together after 40 ms, two hundred stopped the loop for 0.3
ms, and that was the p99 at 5,000 requests a second; a few are packed while they are warm."""
ROWS: Final = 0
"""Status of an answer to plain rows; other answers say what HTTP says."""
_ANSWERED: Final = 200
_CALL: Final = 6  # numbers of a call


class Kept:
    """Stands where a call of the engine would, where a kept answer is given: see `Tap.within`."""

    __slots__ = ("inferred", "joined", "started")

    def __init__(self) -> None:
        self.started = self.joined = self.inferred = CACHED


KEPT: Final = Kept()


class Tap:
    """Of one loaded model; used on the loop's thread only.

    Args:
        begin: called at the first note after the messages were taken.
        room: bytes of messages that may be made now.
        number: of the model, as the logger knows it.
        sample: share of its requests.
        max_bytes: of a body; larger ones are left out.
        headers: names of those that the policy wants, lower case.

    Attributes:
        lost: requests that found no room.
        number: of the model.
    """

    __slots__ = (
        *("_begin", "_binary", "_bodies", "_call", "_calls", "_headers", "_heads", "_max_bytes"),
        *("_made", "_queued", "_received", "_room", "_sample", "_sent", "_size", "lost", "number"),
    )

    def __init__(
        self,
        begin: Callable[[], None],
        room: Callable[[], int],
        number: int,
        sample: float,
        max_bytes: int,
        headers: Sequence[bytes] = (),
    ) -> None:
        self._begin = begin
        self._room = room
        self._made: list[tuple[bytes, int]] = []
        self._size = 0  # bytes of them
        self._sample = sample
        self._max_bytes = max_bytes
        self._headers = (*HEADERS, JSON_LENGTH, *headers)
        self._call: Any = None  # that is being answered one by one
        self.number = number
        self.lost = 0
        self._clear()

    def answered(
        self, call: Any, members: Sequence[Any], bodies: Sequence[bytes], headers: Sequence[Headers]
    ) -> None:
        """A call's members were answered with these bodies; no headers = all is JSON."""
        place = len(self._bodies)
        count = len(bodies)
        if not (place or self._made):
            self._begin()
        if headers:
            self._binary.append((place, headers))
        now = perf_counter_ns()
        self._calls += (call.started, call.joined, call.inferred, now, _ANSWERED, count)
        exchanges = [member.exchange for member in members]
        self._received += [exchange.received_ns for exchange in exchanges]
        self._queued += [member.queued_ns for member in members]
        self._heads += [exchange.headers for exchange in exchanges]
        self._sent += [exchange.body for exchange in exchanges]
        self._bodies += bodies
        if place + count >= PORTION:
            self._pack()

    def within(self, answer: Callable[[Any], None], call: Any) -> None:
        """Answer a call's members one by one; `one` then knows of the call."""
        before, self._call = self._call, call
        try:
            answer(call)
        finally:
            self._call = before

    def one(self, member: Any, body: bytes, headers: Headers, status: int) -> None:
        """A member was answered alone, within a call where there is one."""
        if headers:
            self._binary.append((len(self._bodies), (headers,)))
        call = self._call
        times = (0, 0, 0) if call is None else (call.started, call.joined, call.inferred)
        self._note(member.exchange, member.queued_ns, body, times, status)

    def kept(self, exchange: Exchange, body: bytes, headers: Headers, status: int) -> None:
        """A request was given an answer that was kept, as it was."""
        if headers:
            self._binary.append((len(self._bodies), (headers,)))
        self._note(exchange, exchange.received_ns, body, (CACHED, CACHED, CACHED), status)

    def refused(self, exchange: Exchange, body: bytes, status: int) -> None:
        """A request was refused; refusals take half of the room at most."""
        if 2 * self._size > self._room():
            self.lost += 1
            return
        self._note(exchange, perf_counter_ns(), body, (0, 0, 0), status)

    def take(self) -> list[tuple[bytes, int]]:
        """What was noted since the last time: messages, and how many requests are in each."""
        if self._bodies:
            self._pack()
        made, self._made, self._size = self._made, [], 0
        return made

    def _pack(self) -> None:
        """What was noted as one message, where there is room for it, and begin anew."""
        received, queued, heads = self._received, self._queued, self._heads
        parts, bodies, calls, binary = self._sent, self._bodies, self._calls, self._binary
        self._clear()
        lengths = _json_lengths(binary, len(bodies)) if binary else None
        if self._sample < 1.0:
            kept = _chosen(calls, self._sample)
            received = [received[place] for place in kept]
            queued = [queued[place] for place in kept]
            heads = [heads[place] for place in kept]
            parts = [parts[place] for place in kept]
            bodies = [bodies[place] for place in kept]
            lengths = [lengths[place] for place in kept] if lengths else None
        count = len(bodies)
        if not count:
            return
        parts += bodies
        sizes = [*map(len, parts)]
        if max(sizes) > self._max_bytes:
            parts = [part if len(part) <= self._max_bytes else LEFT_OUT for part in parts]
            sizes = [*map(len, parts)]
        if self._size + sum(sizes) > self._room():
            self.lost += count
            return
        first = heads[0]
        # Connections that send the same headers share one dictionary: mostly this is all.
        if heads.count(first) == count:
            texts, places = [self._text(first)], None
        else:
            texts, places = self._texts(heads)
        columns = (received, queued, places or [0] * count, lengths or [0] * count)
        message = pack_calls(self.number, calls, columns, sizes, parts, texts)
        self._size += len(message)
        self._made.append((message, count))

    def _clear(self) -> None:
        self._received: list[int] = []
        self._queued: list[int] = []
        self._heads: list[dict[bytes, bytes]] = []
        self._sent: list[bytes] = []
        self._bodies: list[bytes] = []
        self._calls: list[int] = []
        self._binary: list[tuple[int, Sequence[Headers]]] = []

    def _note(
        self,
        exchange: Exchange,
        queued_ns: int,
        body: bytes,
        times: tuple[int, int, int],
        status: int,
    ) -> None:
        if not (self._bodies or self._made):
            self._begin()
        self._received.append(exchange.received_ns)
        self._queued.append(queued_ns)
        self._heads.append(exchange.headers)
        self._sent.append(exchange.body)
        self._bodies.append(body)
        self._calls += (*times, perf_counter_ns(), status, 1)
        if len(self._bodies) >= PORTION:
            self._pack()

    def _text(self, given: dict[bytes, bytes]) -> bytes:
        return b"\0".join([given.get(name, b"") for name in self._headers])

    def _texts(self, heads: Sequence[dict[bytes, bytes]]) -> tuple[list[bytes], list[int]]:
        """Each kind of headers once, and where each request's are among them."""
        known: dict[int, int] = {}
        texts: list[bytes] = []
        places: list[int] = []
        for given in heads:
            place = known.get(id(given), -1)
            if place < 0:
                place = known[id(given)] = len(texts)
                texts.append(self._text(given))
            places.append(place)
        return texts, places


def _chosen(calls: list[int], sample: float) -> list[int]:
    """The places of a random sample of the requests; the calls then have only those."""
    kept: list[int] = []
    place = 0
    for at in range(_CALL - 1, len(calls), _CALL):
        before = len(kept)
        for _ in range(calls[at]):
            if random() < sample:  # noqa: S311 - no secret
                kept.append(place)
            place += 1
        calls[at] = len(kept) - before
    return kept


def _json_lengths(binary: Sequence[tuple[int, Sequence[Headers]]], count: int) -> list[int]:
    """Of each answer the bytes of JSON before its raw tensors; 0 = all of it."""
    lengths = [0] * count
    for place, headers in binary:
        for further, each in enumerate(headers):
            for name, value in each:
                if name == b"Inference-Header-Content-Length":
                    lengths[place + further] = int(value)
    return lengths
