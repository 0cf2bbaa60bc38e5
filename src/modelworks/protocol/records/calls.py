"""What a server tells its logger: models once, then engine calls with the raw bytes of many.

A message is a head of 24 bytes (`MODEL` or `CALLS`, bytes of the rest, and for calls how many
calls and how many requests, and what to add to a time for UTC), then its rest. A model's number
stands in the place of the calls, and its rest is JSON. That of calls is, in native byte order, both
ends being on one machine:

    calls     int64 [calls, 6]: number of the model, started, joined, inferred, ended, requests
    requests  int64 [requests, 5]: received, queued, status, place of its headers, bytes of JSON
              before the raw tensors of its answer (0 = all is JSON)
    sizes     int32 [2 * requests + headers]: bytes of what follows
    bytes     of each call the requests' bodies, then its answers'; then the headers

Times are of `perf_counter_ns`. Headers are told once a message where several requests share them.
A body that is larger than the policy keeps is told as `LEFT_OUT`. The logger answers each message
with a `TALLY` a model, and one with the number `DONE` when all of it lies in a segment: what was
not answered so is sent again to the next logger.
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter_ns, time_ns
from typing import Any, Final

import numpy as np

MODEL: Final = 0x4C444F4D
CALLS: Final = 0x4C4C4143
HEAD: Final = struct.Struct("=4Iq")
TALLY: Final = struct.Struct("=4I")
"""Number of the model; of its requests: kept, lost, not readable in part."""
DONE: Final = 0xFFFFFFFF
LEFT_OUT: Final = b"\0"
"""Stands for a body: no request and no answer looks so."""
HEADERS: Final = (b"x-request-id", b"traceparent", b"authorization", b"content-type")
"""Of a request's headers those that are told of, whatever the policy says; then those it names."""
JSON_LENGTH: Final = b"inference-header-content-length"
_CALL, _REQUEST = 6, 5


@dataclass(frozen=True, slots=True)
class Told:
    """One request of a message.

    Attributes:
        model: number of it.
        times: of its call: started, joined, inferred, ended; all 0 where there was none.
        received_ns: when the request was complete.
        queued_ns: when it was decoded.
        status: HTTP; 0 = answered, to `/predict`.
        headers: values in the order of `HEADERS`, then the JSON's length, then the policy's.
        request: body.
        answer: body.
        answer_json: bytes of JSON before the answer's raw tensors; 0 = all of it.
    """

    model: int
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
    return HEAD.pack(MODEL, len(text), number, 0, 0) + text


def pack_calls(
    calls: "array[int]",
    requests: "array[int]",
    parts: Sequence[bytes],
) -> bytes:
    """The message of calls; see the module."""
    sizes = array("i", map(len, parts))
    rest = 8 * (len(calls) + len(requests)) + 4 * len(sizes) + sum(sizes)
    utc = time_ns() - perf_counter_ns()
    head = HEAD.pack(CALLS, rest, len(calls) // _CALL, len(requests) // _REQUEST, utc)
    return b"".join((head, calls, requests, sizes, *parts))


def unpack_calls(rest: bytes, calls: int, requests: int) -> Iterator[Told]:
    """The requests of a message.

    Raises:
        ValueError: it is none.
    """
    at = 8 * (_CALL * calls + _REQUEST * requests)
    table: Any = np.frombuffer(rest, np.int64, _CALL * calls).reshape(-1, _CALL).tolist()
    rows: Any = np.frombuffer(rest, np.int64, _REQUEST * requests, 8 * _CALL * calls)
    rows = rows.reshape(-1, _REQUEST).tolist()
    headers = 1 + max((row[3] for row in rows), default=-1)
    sizes = np.frombuffer(rest, np.int32, 2 * requests + headers, at)
    at += sizes.nbytes
    ends = (at + np.cumsum(sizes, dtype=np.int64)).tolist()
    if (ends[-1] if ends else at) != len(rest):
        raise ValueError("a message of calls has another length than it says")
    parts = [rest[start:end] for start, end in zip([at, *ends[:-1]], ends, strict=False)]
    known = [tuple(part.split(b"\0")) for part in parts[2 * requests :]]
    first = 0
    for model, started, joined, inferred, ended, members in table:
        for place in range(first, first + members):
            received, queued, status, header, answer_json = rows[place]
            yield Told(
                model,
                (started, joined, inferred, ended),
                received,
                queued,
                status,
                known[header],
                parts[first + place],
                parts[first + members + place],
                answer_json,
            )
        first += members
