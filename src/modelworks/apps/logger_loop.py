"""The logger's loop: connections come through the door, messages through them; records go out."""

import array
import contextlib
import logging
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.edge.key_gate import AUTHORIZATION
from modelworks.protocol.records.calls import (
    CALLS,
    DONE,
    HEAD,
    TALLY,
    Head,
    read_head,
    unpack_calls,
)
from modelworks.protocol.records.kept import note_days
from modelworks.protocol.records.making import Made, RecordMaker
from modelworks.protocol.records.segments import SegmentWriter, recover
from modelworks.protocol.records.vault import Vault

SEGMENTS: Final = "segments"
"""Folder of the segments, in that of the records."""
_log = logging.getLogger("modelworks.logger")
_TICK_S: Final = 0.5
_RECOVER_S: Final = 60.0
_TELL_S: Final = 60.0
_READ: Final = 1 << 20
_FRAME: Final = 2000  # records at most
_ANSWER_S: Final = 0.1  # between two answers
_GONE_S: Final = 5.0  # a worker that does not read its answers for so long is gone
NameOf = Callable[[dict[bytes, bytes]], str]


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    heard: bytearray = field(default_factory=bytearray)
    makers: dict[int, RecordMaker] = field(default_factory=dict)
    answers: bytearray = field(default_factory=bytearray)


class LoggerLoop:
    """Runs until the door and every connection are closed at their other ends.

    Args:
        door: workers send connections through it.
        folder: of the records.
        writer: of its segments.
        key: of hashes.
        name_of: the name of a request's API key; None = keys are not asked for.
    """

    def __init__(
        self,
        door: socket.socket,
        folder: Path,
        writer: SegmentWriter,
        key: bytes,
        name_of: NameOf | None = None,
    ) -> None:
        self._door = door
        self._folder = folder
        self._writer = writer
        self._key = key
        self._names = name_of
        self._vault: Vault | None = None
        self._selector = selectors.DefaultSelector()
        self._connections = 0
        self._open = True
        self._telling: dict[int, _Connection] = {}
        self._told_at = 0.0
        self._last_word = -_TELL_S
        self._recovered = time.monotonic()

    def run(self) -> None:
        """See the class."""
        self._door.setblocking(False)  # noqa: FBT003 - the library's signature
        self._selector.register(self._door, selectors.EVENT_READ, None)
        while self._open or self._connections:
            for key, _ in self._selector.select(_ANSWER_S if self._telling else _TICK_S):
                if key.data is None:
                    self._enter()
                else:
                    self._hear(key.data)
            if self._telling and time.monotonic() - self._told_at >= _ANSWER_S:
                self._tell_all()
            self._mind()
        if self._vault is not None:
            self._vault.close()

    # -- connections

    def _enter(self) -> None:
        rights = array.array("i")
        try:
            data, found, _, _ = self._door.recvmsg(64, socket.CMSG_SPACE(4 * rights.itemsize))
        except BlockingIOError:
            return
        for level, kind, sent in found:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                rights.frombytes(sent[: len(sent) - len(sent) % rights.itemsize])
        for fd in rights:
            sock = socket.socket(fileno=fd)
            sock.settimeout(_GONE_S)
            self._selector.register(sock, selectors.EVENT_READ, _Connection(sock))
            self._connections += 1
        if not data:
            self._selector.unregister(self._door)
            self._open = False

    def _hear(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(_READ)
        except OSError:
            data = b""
        if not data:
            self._leave(connection)
            return
        connection.heard += data
        told: list[tuple[Head, list[Made]]] = []
        try:
            for head, rest in _messages(connection.heard):
                if head.kind == CALLS:
                    told.append((head, self._made(connection, head, rest)))
                else:
                    told.append((head, []))
                    connection.makers[head.model] = RecordMaker(
                        rest, self._key, self._the_vault, self._name_of
                    )
                    self._note(rest)
        except (ModelworksError, ValueError, KeyError) as error:
            _log.exception("a worker is not understood: %s", error)
            self._leave(connection)
        self._keep(connection, told)

    def _note(self, text: bytes) -> None:
        """Leave word how long records of a model are kept, where the folder is ours to write to.

        That of a container is not: whoever deployed it knows.
        """
        told = orjson.loads(text)
        with contextlib.suppress(OSError):
            note_days(self._folder, told["name"], told["policy"]["retention_days"])

    def _leave(self, connection: _Connection) -> None:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        self._connections -= 1

    # -- records

    def _made(self, connection: _Connection, head: Head, rest: bytes) -> list[Made]:
        """The records of a message; none where they cannot be made as the policy wants them."""
        maker = connection.makers[head.model]
        made = []
        for told in unpack_calls(head, rest):
            try:
                made.append(maker.make(told, head.utc_ns))
            except UnavailableError as error:
                self._tell(f"{error}; {head.requests} records are lost")
                return []
            except Exception as error:  # noqa: BLE001 - else each successor would end by it too
                self._tell(f"a record cannot be made ({type(error).__name__}), and is lost")
        return made

    def _keep(self, connection: _Connection, told: Sequence[tuple[Head, list[Made]]]) -> None:
        """Write the records of messages, and say of each what became of it."""
        for some in _groups(told, _FRAME):
            records = [one.record for _, made in some for one in made]
            kept = True
            try:
                if records:
                    self._writer.write(records)
            except (UnavailableError, ValueError) as error:
                if isinstance(error, ValueError) and len(some) > 1:  # of one of them
                    for one in some:
                        self._keep(connection, [one])
                    continue
                kept = False
                self._tell(f"{error}; {len(records)} records are lost")
            for head, made in some:
                if head.requests:
                    count = len(made) if kept else 0
                    bad = sum(not one.readable for one in made) if kept else 0
                    self._answer(connection, head.model, count, head.requests - count, bad)
                self._answer(connection, DONE)

    def _answer(
        self, connection: _Connection, number: int, kept: int = 0, lost: int = 0, bad: int = 0
    ) -> None:
        """Tell a worker, soon: each time it listens costs it more than a request does."""
        connection.answers += TALLY.pack(number, kept, lost, bad)
        self._telling[id(connection)] = connection

    def _tell_all(self) -> None:
        """Of a worker that is gone what it sent is written all the same."""
        self._told_at = time.monotonic()
        for connection in self._telling.values():
            with contextlib.suppress(OSError):
                connection.sock.sendall(connection.answers)
            connection.answers.clear()
        self._telling.clear()

    def _the_vault(self) -> Vault:
        if self._vault is None:
            self._vault = Vault(self._folder)
        return self._vault

    def _name_of(self, authorization: bytes) -> str:
        return self._names({AUTHORIZATION: authorization}) if self._names is not None else ""

    def _mind(self) -> None:
        """Close segments that are old enough, and those that others left behind."""
        try:
            self._writer.rotate()
            now = time.monotonic()
            if now - self._recovered >= _RECOVER_S:
                self._recovered = now
                recover(self._folder / SEGMENTS)
        except OSError as error:
            self._tell(f"{self._folder}: {error.strerror}")

    def _tell(self, message: str) -> None:
        now = time.monotonic()
        if now - self._last_word >= _TELL_S:
            self._last_word = now
            _log.warning("%s; requests are answered all the same", message)


def _groups(
    told: Sequence[tuple[Head, list[Made]]], most: int
) -> Iterator[list[tuple[Head, list[Made]]]]:
    """Messages with about so many records together: a frame of a few costs as one of many."""
    group: list[tuple[Head, list[Made]]] = []
    count = 0
    for head, made in told:
        group.append((head, made))
        count += len(made)
        if count >= most:
            yield group
            group, count = [], 0
    if group:
        yield group


def _messages(heard: bytearray) -> Iterator[tuple[Head, bytes]]:
    """The whole messages in what was heard, which are taken out of it."""
    while len(heard) >= HEAD.size:
        head = read_head(heard)
        end = HEAD.size + head.length
        if len(heard) < end:
            return
        rest = bytes(memoryview(heard)[HEAD.size : end])
        del heard[:end]
        yield head, rest
