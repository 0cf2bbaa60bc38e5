"""What a server tells its logger: models once, then engine calls with the raw bytes of many.

A message is a head of 32 bytes (`MODEL` or `CALLS`, bytes of the rest, number of the model; of
calls: how many calls, requests and kinds of headers, and what to add to a time for UTC), then its
rest. A model's rest is JSON. That of calls is, in native byte order, both ends being on one
machine:

    calls     int64 [calls, 6]: started, joined, inferred, ended, status (0 = answered to
              `/predict`), requests
    received  int64 [requests]
    queued    int64 [requests]
    headers   int32 [requests]: place of its headers
    json      int32 [requests]: bytes of JSON before the raw tensors of its answer; 0 = all is JSON
    sizes     int32 [2 * requests + headers]: bytes of what follows
    bytes     the requests' bodies, the answers', the headers

Times are of `perf_counter_ns`. Headers that several requests share are told once. A body that is
larger than the policy keeps is told as `LEFT_OUT`. The logger answers each message with a `TALLY`
of its model, and one with the number `DONE` when all of it lies in a segment: what was not answered
so is sent again to the next logger.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter_ns, time_ns
from typing import Any, Final

import numpy as np

MODEL: Final = 0x4C444F4D
CALLS: Final = 0x4C4C4143
HEAD: Final = struct.Struct("=6Iq")
TALLY: Final = struct.Struct("=4I")
"""Number of the model; of its requests: kept, lost, not readable in part."""
DONE: Final = 0xFFFFFFFF
CACHED: Final = -1
"""Stands for the times of a call of the engine: there was none, the answer had been kept."""
LEFT_OUT: Final = b"\0"
"""Stands for a body: no request and no answer looks so."""
ARM: Final = b":arm"
"""Stands among a request's headers where a route chose its arm; no client can send such a name."""
CALLER: Final = b":caller"
"""Stands there likewise: the name of the caller whom the routes know; no key says it elsewhere."""
COPY: Final = b"~"
"""Begins the arm's name of what was copied for a shadow."""
HEADERS: Final = (b"x-request-id", b"traceparent", b"authorization", ARM, CALLER)
"""Of a request's headers those that are told of, whatever the policy says; then the length of its
JSON, then those that the policy names."""
JSON_LENGTH: Final = b"inference-header-content-length"
MESSAGE: Final = b"message"
"""Stands there where the bodies are messages of gRPC."""
_CALL: Final = 6


@dataclass(frozen=True, slots=True)
class Head:
    """A message's head.

    Attributes:
        kind: `MODEL` or `CALLS`.
        length: bytes of its rest.
        model: number of it.
        calls: how many.
        requests: how many.
        headers: kinds of them.
        utc_ns: what to add to its times for UTC.
    """

    kind: int
    length: int
    model: int
    calls: int
    requests: int
    headers: int
    utc_ns: int


@dataclass(slots=True)
class Told:
    """One request of a message. Not frozen: that would take thrice as long to make.

    Attributes:
        times: of its call: started, joined, inferred, ended; but for the last all 0 where there was
            none, and `CACHED` where a kept answer was given.
        received_ns: when the request was complete.
        queued_ns: when it was decoded.
        status: HTTP; 0 = answered, to `/predict`.
        headers: values in the order of `HEADERS`, then the JSON's length, then the policy's.
        request: body.
        answer: body.
        answer_json: bytes of JSON before the answer's raw tensors; 0 = all of it.
    """

    times: tuple[int, int, int, int]
    received_ns: int
    queued_ns: int
    status: int
    headers: tuple[bytes, ...]
    request: bytes
    answer: bytes
    answer_json: int


def pack_model(number: int, text: bytes) -> bytes:
    """A model's message; `text` is JSON."""
    return HEAD.pack(MODEL, len(text), number, 0, 0, 0, 0) + text


def pack_calls(
    model: int,
    calls: list[int],
    columns: tuple[list[int], list[int], list[int], list[int]],
    sizes: list[int],
    parts: list[bytes],
    texts: list[bytes],
) -> bytes:
    """The message of calls.

    Args:
        model: number of it.
        calls: table of them.
        columns: received, queued, headers, json; see the module.
        sizes: of `parts`.
        parts: bodies of the requests, then of their answers.
        texts: the headers.
    """
    received, queued, places, lengths = columns
    requests = len(received)
    sizes += map(len, texts)
    rest = 8 * (len(calls) + 2 * requests) + 4 * (2 * requests + len(sizes)) + sum(sizes)
    utc = time_ns() - perf_counter_ns()
    head = HEAD.pack(CALLS, rest, model, len(calls) // _CALL, requests, len(texts), utc)
    longs = struct.pack(f"={len(calls) + 2 * requests}q", *calls, *received, *queued)
    shorts = struct.pack(f"={2 * requests + len(sizes)}i", *places, *lengths, *sizes)
    return b"".join((head, longs, shorts, *parts, *texts))


def read_head(data: bytes | bytearray) -> Head:
    """The head that some bytes begin with."""
    return Head(*HEAD.unpack_from(data))


def unpack_calls(head: Head, rest: bytes) -> Iterator[Told]:
    """The requests of a message.

    Raises:
        ValueError: it is none.
    """
    count = head.requests
    at = 8 * _CALL * head.calls
    table: Any = np.frombuffer(rest, np.int64, _CALL * head.calls).reshape(-1, _CALL).tolist()
    received, queued = _lists(rest, np.int64, 2, count, at)
    at += 16 * count
    headers, lengths = _lists(rest, np.int32, 2, count, at)
    at += 8 * count
    sizes = np.frombuffer(rest, np.int32, 2 * count + head.headers, at)
    at += sizes.nbytes
    ends = (at + np.cumsum(sizes, dtype=np.int64)).tolist()
    if (ends[-1] if ends else at) != len(rest):
        raise ValueError("a message of calls has another length than it says")
    parts = [rest[start:end] for start, end in zip([at, *ends[:-1]], ends, strict=True)]
    known = [tuple(part.split(b"\0")) for part in parts[2 * count :]]
    place = 0
    for started, joined, inferred, ended, status, members in table:
        times = (started, joined, inferred, ended)
        for one in range(place, place + members):
            yield Told(
                *(times, received[one], queued[one], status, known[headers[one]]),
                *(parts[one], parts[count + one], lengths[one]),
            )
        place += members


def _lists(rest: bytes, dtype: Any, rows: int, count: int, at: int) -> Sequence[list[int]]:
    table: list[list[int]] = np.frombuffer(rest, dtype, rows * count, at).reshape(rows, -1).tolist()
    return table
