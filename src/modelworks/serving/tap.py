"""What a model's requests leave for the records: noted after each engine call, packed later.

Nothing is decoded or copied while a request is answered: a note holds on to the call, its members
and the bodies that were sent, for some milliseconds. Compiled modules pass here; see
docs/decisions/0025-records.md for what each line costs.
"""

from array import array
from collections.abc import Callable, Sequence
from random import random
from time import perf_counter_ns
from typing import Any, Final

from modelworks.edge.exchange import Exchange, Headers
from modelworks.protocol.records.calls import HEADERS, JSON_LENGTH, LEFT_OUT, pack_calls

BOUND: Final = 8192
"""Requests that are noted and not yet packed; what comes beyond is counted and let go."""
ROWS: Final = 0
"""Status of an answer to plain rows; other answers say what HTTP says."""
_ANSWERED: Final = 200


class Notes:
    """What was noted in one worker and is not packed yet; used on the loop's thread only.

    Args:
        begin: called at the first note after it was packed.
    """

    __slots__ = ("_begin", "count", "notes")

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self.count = 0
        self.notes: list[Any] = []

    def add(self, note: Any, requests: int) -> None:
        """Keep one note."""
        if not self.count:
            self._begin()
        self.count += requests
        self.notes.append(note)

    def take(self) -> list[Any]:
        """Everything, and begin anew."""
        notes, self.notes, self.count = self.notes, [], 0
        return notes


class Tap:
    """Of one loaded model.

    Args:
        notes: of the worker.
        number: of the model, as the logger knows it.
        sample: share of its requests.
        max_bytes: of a body; larger ones are left out.
        headers: names of those that the policy wants, lower case.

    Attributes:
        call: that is being answered one by one; None = none.
        lost: requests that found no room.
    """

    __slots__ = ("_notes", "call", "headers", "lost", "max_bytes", "number", "sample")

    def __init__(
        self, notes: Notes, number: int, sample: float, max_bytes: int, headers: Sequence[bytes]
    ) -> None:
        self._notes = notes
        self.call: Any = None
        self.number = number
        self.sample = sample
        self.max_bytes = max_bytes
        self.headers = (*HEADERS, JSON_LENGTH, *headers)
        self.lost = 0

    def answered(
        self, call: Any, members: Sequence[Any], bodies: Sequence[bytes], headers: Sequence[Headers]
    ) -> None:
        """A call's members were answered with these bodies; no headers = all is JSON."""
        notes = self._notes
        count = len(bodies)
        if notes.count + count > BOUND:
            self.lost += count
            return
        notes.add((self, call, members, bodies, headers, _ANSWERED, perf_counter_ns()), count)

    def within(self, answer: Callable[[Any], None], call: Any) -> None:
        """Answer a call's members one by one; `one` then knows of the call."""
        self.call = call
        answer(call)
        self.call = None

    def one(self, member: Any, body: bytes, headers: Headers, status: int) -> None:
        """A member was answered alone, within `call` where there is one."""
        notes = self._notes
        if notes.count >= BOUND:
            self.lost += 1
            return
        note = (self, self.call, (member,), (body,), (headers,), status, perf_counter_ns())
        notes.add(note, 1)

    def refused(self, exchange: Exchange, body: bytes, status: int) -> None:
        """A request was refused; refusals take half of the room at most."""
        notes = self._notes
        if 2 * notes.count >= BOUND:
            self.lost += 1
            return
        notes.add((self, None, exchange, (body,), (), status, perf_counter_ns()), 1)


def pack(notes: Sequence[Any], room: int) -> tuple[bytes, dict[int, int]]:
    """Notes as one message.

    Args:
        notes: as `Notes` gave them.
        room: bytes of bodies that are packed at most; what comes beyond is counted as lost.

    Returns:
        The message, empty where the samples hold nothing; requests in it by number of the model.
    """
    packer = Packer(room)
    for note in notes:
        packer.add(note)
    return packer.message(), packer.counts


class Packer:
    """One message under way.

    Args:
        room: bytes of bodies at most.

    Attributes:
        counts: requests in it, by number of the model.
    """

    __slots__ = ("_calls", "_parts", "_places", "_requests", "_room", "_texts", "counts")

    def __init__(self, room: int) -> None:
        self._room = room
        self._calls = array("q")
        self._requests = array("q")
        self._parts: list[bytes] = []
        self._places: dict[Any, int] = {}  # of headers that several requests share
        self._texts: list[bytes] = []
        self.counts: dict[int, int] = {}

    def add(self, note: Any) -> None:
        """Pack one note."""
        tap, call, members, bodies, headers, status, ended = note
        if type(members) is tuple or type(members) is list:
            exchanges = [member.exchange for member in members]
            queued = [member.queued_ns for member in members]
        else:
            exchanges, queued = [members], [ended]
        if tap.sample < 1.0:
            kept = [place for place in range(len(bodies)) if random() < tap.sample]  # noqa: S311 - a sample
            exchanges = [exchanges[place] for place in kept]
            queued = [queued[place] for place in kept]
            bodies = [bodies[place] for place in kept]
            headers = [headers[place] for place in kept] if headers else ()
        if exchanges:
            times = (0, 0, 0) if call is None else (call.started, call.joined, call.inferred)
            lengths = [json_length(each) for each in headers] if headers else None
            self._call(tap, exchanges, queued, bodies, lengths, status, (*times, ended))

    def message(self) -> bytes:
        """All of it; empty where there is nothing."""
        if not self._parts:
            return b""
        return pack_calls(self._calls, self._requests, self._parts + self._texts)

    def _call(
        self,
        tap: Tap,
        exchanges: list[Any],
        queued: list[int],
        bodies: Sequence[bytes],
        lengths: list[int] | None,
        status: int,
        times: tuple[int, int, int, int],
    ) -> None:
        most = tap.max_bytes
        sent = _no_larger([exchange.body for exchange in exchanges], most)
        given = _no_larger(bodies, most)
        self._room -= sum(map(len, sent)) + sum(map(len, given))
        count = len(sent)
        if self._room < 0:
            tap.lost += count
            return
        self._parts += sent
        self._parts += given
        number = tap.number
        self.counts[number] = self.counts.get(number, 0) + count
        self._calls.extend((number, *times, count))
        places, requests = self._places, self._requests
        for place in range(count):
            exchange = exchanges[place]
            key = (id(exchange.headers), number)
            known = places.get(key, -1)
            if known < 0:
                known = places[key] = self._headers(tap, exchange.headers)
            length = 0 if lengths is None else lengths[place]
            requests.extend((exchange.received_ns, queued[place], status, known, length))

    def _headers(self, tap: Tap, given: dict[bytes, bytes]) -> int:
        self._texts.append(b"\0".join([given.get(name, b"") for name in tap.headers]))
        return len(self._texts) - 1


def _no_larger(bodies: Sequence[bytes], most: int) -> Sequence[bytes]:
    if max(map(len, bodies)) <= most:
        return bodies
    return [body if len(body) <= most else LEFT_OUT for body in bodies]


def json_length(headers: Headers) -> int:
    """Bytes of JSON before an answer's raw tensors; 0 = all of it."""
    for name, value in headers:
        if name == b"Inference-Header-Content-Length":
            return int(value)
    return 0
