"""Answers of callers beside those of shadows, one JSON line a pair, written by a thread.

JSON lines and not segments of records: a pair has two bodies and no model's signature, and its
reader compares them one by one. Bodies that are JSON stand as they are, others in base64.
"""

import logging
import os
import threading
from base64 import b64encode
from collections import deque
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns
from modelworks.edge.head import Head
from modelworks.gateway.counts import Counts

_log = logging.getLogger(__name__)
RING: Final = 2048
RING_BYTES: Final = 64 * 1024 * 1024
_PERIOD_S: Final = 0.2
_END_S: Final = 5.0
_MOST_FILE: Final = 1 << 30  # bytes; then it is moved to NAME.1, and a new one begins
_JSON_LENGTH: Final = b"inference-header-content-length"


class Half(NamedTuple):
    """One answer.

    Attributes:
        arm: whose.
        status: HTTP status.
        taken_ns: to its end.
        body: of it; only the beginning where it is longer than is kept.
        size: of the whole body.
    """

    arm: str
    status: int
    taken_ns: int
    body: bytes
    size: int


class Pair:
    """Two answers to one request; written when both are here, forgotten when one never comes."""

    __slots__ = ("_body", "_first", "_head", "_id", "_over", "_pairs", "_route", "_second", "at_ns")

    def __init__(
        self, pairs: "Pairs", request_id: bytes, route: str, head: Head, body: bytes
    ) -> None:
        self._pairs = pairs
        self._id = request_id
        self._route = route
        self._head = head
        self._body = body
        self._first: Half | None = None
        self._second: Half | None = None
        self._over = False
        self.at_ns = now_ns()

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        halves = (self._first, self._second)
        return len(self._body) + sum(len(half.body) for half in halves if half is not None)

    def put(self, half: Half | None, *, first: bool) -> None:
        """One answer; None = it never comes.

        Args:
            half: of it.
            first: it is the caller's.
        """
        if half is None:
            self._over = True
        elif first:
            self._first = half
        else:
            self._second = half
        if not self._over and self._first is not None and self._second is not None:
            self._pairs.put(self)

    def line(self) -> bytes:
        """As it is written."""
        assert self._first is not None  # noqa: S101 - only whole pairs are written
        assert self._second is not None  # noqa: S101 - the same
        binary = _JSON_LENGTH in self._head.headers
        told = {
            "at_ns": self.at_ns,
            "id": self._id.decode("latin-1"),
            "route": self._route,
            "path": self._head.path.decode("latin-1"),
            "request": _body(self._body, binary=binary),
            "answer": _half(self._first),
            "shadow": _half(self._second),
        }
        return orjson.dumps(told) + b"\n"


class Pairs:
    """Takes pairs on the loop, writes them on a thread; what finds no room is dropped and counted.

    Args:
        path: of the file, which is appended to.
        counts: where those that are dropped are counted.

    Raises:
        InvalidError: the file cannot be opened.
    """

    def __init__(self, path: Path, counts: Counts) -> None:
        self._path = path
        self._ring: deque[Pair] = deque()
        self._came = 0  # bytes; each number has one thread that writes it
        self._went = 0
        self._over = threading.Event()
        self._broken = False
        self._counts = counts
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise InvalidError(
                f"pairs cannot be written to {path}: {error.strerror}", field="pairs"
            ) from error
        self._thread = threading.Thread(target=self._run, name="pairs", daemon=True)
        self._thread.start()

    def put(self, pair: Pair) -> None:
        """Take one; never waits."""
        if len(self._ring) >= RING or self._came - self._went > RING_BYTES:
            self._counts.pairs_dropped += 1
            return
        self._came += pair.size
        self._ring.append(pair)

    def close(self) -> None:
        """Write what is here, for five seconds at most."""
        self._over.set()
        self._thread.join(_END_S)
        if not self._thread.is_alive():
            self._file.close()

    def _run(self) -> None:
        while not self._over.wait(_PERIOD_S):
            self._write()
        self._write()

    def _write(self) -> None:
        try:
            while self._ring:
                pair = self._ring.popleft()
                self._went += pair.size
                self._file.write(pair.line())
            self._file.flush()
            if self._file.tell() > _MOST_FILE:
                self._turn()
            self._broken = False
        except OSError as error:
            self._counts.pairs_dropped += 1
            if not self._broken:
                _log.warning("pairs cannot be written to %s: %s", self._path, error.strerror)
            self._broken = True

    def _turn(self) -> None:
        """Begin a new file."""
        self._file.close()
        os.replace(self._path, f"{self._path}.1")  # noqa: PTH105 - a name that is no path yet
        self._file = self._path.open("ab")


def _half(half: Half) -> dict[str, Any]:
    whole = len(half.body) == half.size
    return {
        "arm": half.arm,
        "status": half.status,
        "taken_ns": half.taken_ns,
        "size": half.size,
        **_body(half.body, binary=False),
        **({} if whole else {"cut": True}),
    }


def _body(body: bytes, *, binary: bool) -> dict[str, Any]:
    """`{"json": ...}` or `{"base64": ...}`."""
    if not binary:
        try:
            return {"json": orjson.loads(body)}
        except ValueError:
            pass
    return {"base64": b64encode(body).decode()}
