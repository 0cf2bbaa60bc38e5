"""What a model's requests leave for the records: noted after each engine call, packed later.

Nothing is decoded or copied while a request is answered: a note holds on to the members and the
bodies that were sent, for some milliseconds. Packing goes over all of them together, column by
column: docs/decisions/0025-records.md says what that saves. This module may be compiled.
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


class Refused:
    """A request that never became a member, or left the queue without an answer."""

    __slots__ = ("exchange", "queued_ns")

    def __init__(self, exchange: Exchange, queued_ns: int) -> None:
        self.exchange = exchange
        self.queued_ns = queued_ns


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
        *("_begin", "_binary", "_bodies", "_call", "_calls", "_headers", "_max_bytes", "_members"),
        *("_sample", "lost", "number"),
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
        noted = self._members
        place = len(noted)
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
        noted += members
        self._bodies += bodies

    def within(self, answer: Callable[[Any], None], call: Any) -> None:
        """Answer a call's members one by one; `one` then knows of the call."""
        self._call = call
        answer(call)
        self._call = None

    def one(self, member: Any, body: bytes, headers: Headers, status: int) -> None:
        """A member was answered alone, within a call where there is one."""
        place = len(self._members)
        if place >= BOUND:
            self.lost += 1
            return
        if headers:
            self._binary.append((place, (headers,)))
        call = self._call
        if call is None:
            self._note(member, body, (0, 0, 0, perf_counter_ns(), status, 1))
        else:
            times = (call.started, call.joined, call.inferred)
            self._note(member, body, (*times, perf_counter_ns(), status, 1))

    def refused(self, exchange: Exchange, body: bytes, status: int) -> None:
        """A request was refused; refusals take half of the room at most."""
        if 2 * len(self._members) >= BOUND:
            self.lost += 1
            return
        now = perf_counter_ns()
        self._note(Refused(exchange, now), body, (0, 0, 0, now, status, 1))

    def pack(self, room: int) -> tuple[bytes, int]:
        """What was noted as one message, and begin anew.

        Args:
            room: bytes of bodies that may be packed; where there are more, all are counted as lost.

        Returns:
            The message, empty where there is nothing in it; how many requests are.
        """
        members, bodies, calls = self._members, self._bodies, self._calls
        binary = self._binary
        self._clear()
        if not members:
            return b"", 0
        exchanges = [member.exchange for member in members]
        queued = [member.queued_ns for member in members]
        lengths = _json_lengths(binary, len(members)) if binary else None
        if self._sample < 1.0:
            kept = _chosen(calls, self._sample)
            exchanges = [exchanges[place] for place in kept]
            queued = [queued[place] for place in kept]
            bodies = [bodies[place] for place in kept]
            lengths = [lengths[place] for place in kept] if lengths else None
        count = len(bodies)
        if not count:
            return b"", 0
        parts = [exchange.body for exchange in exchanges]
        parts += bodies
        sizes = [*map(len, parts)]
        if max(sizes) > self._max_bytes:
            parts = [part if len(part) <= self._max_bytes else LEFT_OUT for part in parts]
            sizes = [*map(len, parts)]
        if sum(sizes) > room:
            self.lost += count
            return b"", 0
        heads = [exchange.headers for exchange in exchanges]
        first = heads[0]
        # Connections that send the same headers share one dictionary: mostly this is all.
        if heads.count(first) == count:
            texts, places = [self._text(first)], None
        else:
            texts, places = self._texts(heads)
        columns = (
            [exchange.received_ns for exchange in exchanges],
            queued,
            places or [0] * count,
            lengths or [0] * count,
        )
        return pack_calls(self.number, calls, columns, sizes, parts, texts), count

    def _clear(self) -> None:
        self._members: list[Any] = []
        self._bodies: list[bytes] = []
        self._calls: list[int] = []
        self._binary: list[tuple[int, Sequence[Headers]]] = []

    def _note(self, member: Any, body: bytes, numbers: tuple[int, ...]) -> None:
        if not self._members:
            self._begin()
        self._members.append(member)
        self._bodies.append(body)
        self._calls += numbers

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
