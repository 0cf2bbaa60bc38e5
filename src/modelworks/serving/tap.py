"""What a model's requests leave for the records: noted after each engine call, packed later.

Nothing is decoded or copied while a request is answered: a note holds on to the two bodies for some
milliseconds, and to nothing else of the request: its memory is used again while it is warm. All
notes are packed together, column by column. See docs/decisions/0025-records.md.
"""

from collections.abc import Callable, Sequence
from random import random
from time import perf_counter_ns
from typing import Any, Final

from modelworks.edge.exchange import Exchange, Headers
from modelworks.protocol.records.calls import HEADERS, JSON_LENGTH, LEFT_OUT, pack_calls

BOUND: Final = 8192
"""Requests of a model that are noted and not yet packed; what comes beyond is counted, no more."""
ROWS: Final = 0
"""Status of an answer to plain rows; other answers say what HTTP says."""
_ANSWERED: Final = 200
_CALL: Final = 6  # numbers of a call


class Tap:
    """Of one loaded model; used on the loop's thread only.

    Args:
        begin: called at the first note after it was packed.
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
        *("_queued", "_received", "_sample", "_sent", "lost", "number"),
    )

    def __init__(
        self,
        begin: Callable[[], None],
        number: int,
        sample: float,
        max_bytes: int,
        headers: Sequence[bytes] = (),
    ) -> None:
        self._begin = begin
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
        if place + count > BOUND:
            self.lost += count
            return
        if not place:
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

    def within(self, answer: Callable[[Any], None], call: Any) -> None:
        """Answer a call's members one by one; `one` then knows of the call."""
        self._call = call
        answer(call)
        self._call = None

    def one(self, member: Any, body: bytes, headers: Headers, status: int) -> None:
        """A member was answered alone, within a call where there is one."""
        place = len(self._bodies)
        if place >= BOUND:
            self.lost += 1
            return
        if headers:
            self._binary.append((place, (headers,)))
        call = self._call
        times = (0, 0, 0) if call is None else (call.started, call.joined, call.inferred)
        self._note(member.exchange, member.queued_ns, body, times, status)

    def refused(self, exchange: Exchange, body: bytes, status: int) -> None:
        """A request was refused; refusals take half of the room at most."""
        if 2 * len(self._bodies) >= BOUND:
            self.lost += 1
            return
        self._note(exchange, perf_counter_ns(), body, (0, 0, 0), status)

    def pack(self, room: int) -> tuple[bytes, int]:
        """What was noted as one message, and begin anew.

        Args:
            room: bytes of bodies that may be packed; where there are more, all are counted as lost.

        Returns:
            The message, empty where there is nothing in it; how many requests are.
        """
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
            return b"", 0
        parts += bodies
        sizes = [*map(len, parts)]
        if max(sizes) > self._max_bytes:
            parts = [part if len(part) <= self._max_bytes else LEFT_OUT for part in parts]
            sizes = [*map(len, parts)]
        if sum(sizes) > room:
            self.lost += count
            return b"", 0
        first = heads[0]
        # Connections that send the same headers share one dictionary: mostly this is all.
        if heads.count(first) == count:
            texts, places = [self._text(first)], None
        else:
            texts, places = self._texts(heads)
        columns = (received, queued, places or [0] * count, lengths or [0] * count)
        return pack_calls(self.number, calls, columns, sizes, parts, texts), count

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
        if not self._bodies:
            self._begin()
        self._received.append(exchange.received_ns)
        self._queued.append(queued_ns)
        self._heads.append(exchange.headers)
        self._sent.append(exchange.body)
        self._bodies.append(body)
        self._calls += (*times, perf_counter_ns(), status, 1)

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
