"""The parent's side of a model's own process: start it, call it, notice its end, say why.

The child is taken for hostile: what it says is judged against the signature and the memory that is
shared, what it writes to its outputs is kept as a bounded tail, what it takes is limited by the
kernel, and a call that does not end in time ends the process.
"""

import fcntl
import json
import mmap
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import (
    UNLOADED,
    CrashedError,
    DeadlineError,
    InvalidError,
    MissingExtraError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.tensor import Signature, TensorSpec
from modelworks.sandbox import wire
from modelworks.sandbox.isolate import Isolation
from modelworks.sandbox.launch import launched
from modelworks.sandbox.pieces import Pieces
from modelworks.sandbox.program import Program, Started
from modelworks.sandbox.report import rebuild
from modelworks.sandbox.start import how
from modelworks.sandbox.tensors import Packed, unpack
from modelworks.sandbox.vigil import Vigil, Watched, resident
from modelworks.sandbox.wire import Word

_CHILD: Final = "modelworks.sandbox.worker_child"
_FIRST: Final = 1 << 16
_KEPT: Final = 64 << 20  # a region above this is given back after the call
_GRACE_S: Final = 5.0


class Worker:
    """One process with one model.

    Args:
        program: what it is.
        ended: called once, from a thread of ours, when it has ended unasked: the reason, in words
            that follow "the model's process".
        modules: to import before the model is known.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(
        self, program: Program, ended: Callable[[str], None], modules: tuple[str, ...] = ()
    ) -> None:
        self._program = program
        self._outputs: tuple[TensorSpec, ...] = ()
        self._lock = threading.Lock()
        self._number = 0
        self._request: mmap.mmap | None = None
        self._reply: mmap.mmap | None = None
        self._isolation: Isolation | None = None
        self._pieces: Pieces | None = None
        self._began = time.monotonic()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)  # noqa: FBT003 - the library's signature
        self._poll = select.poll()
        self._poll.register(self._control, select.POLLIN)
        self._buffer = memoryview(bytearray(wire.LONGEST))
        self._vigil: Vigil | None = None
        try:
            with theirs:
                self._vigil = self._start(theirs, modules, ended)
        except BaseException:
            self._control.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._watched.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return not self._watched.ended.is_set()

    @property
    def reason(self) -> str:
        """Why it ended; empty while it lives."""
        return self._watched.reason

    @property
    def age_s(self) -> float:
        """Since its start."""
        return time.monotonic() - self._began

    def prepare(self) -> None:
        """Wait until its walls stand and its libraries are imported; twice is quiet.

        Raises:
            ModelworksError: it ended, or took too long.
        """
        if self._isolation is not None:
            return
        message = self._hear(self._began + self._program.start_s, "to start")
        if wire.unpack(message)[0] != Word.PREPARED:
            raise self._broken("it did not say that it is prepared")
        self._isolation = codec.decode(Isolation, wire.data_of(message).get("isolation"))

    def load(self) -> Started:
        """Load the model.

        Raises:
            InvalidError: it does not load; one line, why.
            MissingExtraError: a library is not installed.
            CrashedError: its process died of it.
            UnavailableError: it took too long.
        """
        self.prepare()
        program = self._program
        until = time.monotonic() + program.start_s
        order = {
            "loader": program.loader,
            "extra": program.extra,
            "folder": str(program.folder.resolve()),
            "model": program.model and codec.encode(program.model),
            "tell": program.signature is None,
        }
        self._say(wire.pack(Word.LOAD, data=order))
        message = self._hear(until, "to load the model")
        word = wire.unpack(message)[0]
        if word == Word.ERROR:
            raise judged(wire.data_of(message), loading=True)
        if word != Word.READY:
            raise self._broken("it did not say that it is ready")
        facts = wire.data_of(message)
        signature = program.signature
        if signature is None:
            signature = codec.decode(Signature, facts.get("signature"))
        self._outputs = signature.outputs
        isolation = self._isolation
        assert isolation is not None  # noqa: S101 - prepared
        return Started(
            isolation=isolation,
            modules=tuple(str(name) for name in facts.get("modules", ())),
            load_s=float(facts.get("seconds", 0.0)),
            start_s=self.age_s,
            resident_bytes=resident(self.pid),
            signature=signature,
            generates=self._open_pieces(facts),
        )

    def _open_pieces(self, facts: dict[str, Any]) -> bool:
        """Give a model that generates a socket for its pieces."""
        if facts.get("generates") is not True:
            return False
        self._pieces = pieces = Pieces(self._program.call_s, self._watched.end)
        try:
            self._say(wire.pack(Word.PIECES), [pieces.theirs.fileno()])
        finally:
            pieces.theirs.close()
        return True

    @property
    def pieces(self) -> Pieces:
        """What it generates.

        Raises:
            UnavailableError: it does not, or was closed.
        """
        if self._pieces is None:
            raise UnavailableError(UNLOADED)
        return self._pieces

    def call(self, arrays: Sequence[Any]) -> list[Any]:
        """Run the model once; other threads wait.

        Args:
            arrays: one an input of the signature, in its order, of its datatype.

        Returns:
            One array an output, of our own memory.

        Raises:
            InvalidError: the model refuses these values, or they are more than may be.
            CrashedError: the model failed; its process lives.
            DeadlineError: it took too long, and its process was ended.
            UnavailableError: its process died.
        """
        packed = Packed(arrays)
        if packed.size > self._program.tensor_bytes:
            raise InvalidError(
                f"inputs of {packed.size} bytes are more than the {self._program.tensor_bytes} "
                "that one call may have"
            )
        with self._lock:
            self._number += 1
            until = time.monotonic() + self._program.call_s
            self._ask(packed)
            return self._answer(until)

    def _ask(self, packed: Packed) -> None:
        handles: list[int] = []
        try:
            fresh = self._request is None or len(self._request) < packed.size
            if fresh:
                self._request, handle = region(packed.size)
                handles.append(handle)
            first = self._reply is None
            if first:
                self._reply, handle = region(_FIRST)
                handles.append(handle)
            assert self._request is not None  # noqa: S101 - made above
            packed.write(self._request)
            self._say(wire.pack(Word.CALL, self._number, fresh, first), handles)
        finally:
            for handle in handles:
                os.close(handle)

    def _answer(self, until: float) -> list[Any]:
        while True:
            message = self._hear(until, "for this request", deadline=True)
            word, number, size, _ = wire.unpack(message)
            if number != self._number:
                raise self._broken("it answers what nobody asked")
            if word == Word.ERROR:
                raise judged(wire.data_of(message), loading=False)
            if word == Word.MORE:
                self._enlarge(size)
            elif word == Word.DONE:
                return self._taken()
            else:
                raise self._broken("it says what it may not say")

    def _enlarge(self, size: int) -> None:
        """Give it a larger region for its outputs, or none where that is too much."""
        if not 0 < size <= self._program.tensor_bytes:
            self._say(wire.pack(Word.REGION, self._number))
            return
        self._reply, handle = region(size)
        try:
            self._say(wire.pack(Word.REGION, self._number), [handle])
        finally:
            os.close(handle)

    def _taken(self) -> list[Any]:
        reply, request = self._reply, self._request
        assert reply is not None  # noqa: S101 - a call makes both
        assert request is not None  # noqa: S101 - the same
        try:
            outputs = unpack(reply, self._outputs, own=True)
        except CrashedError as error:
            raise self._broken(error.message.partition(": ")[2]) from error
        if len(request) > _KEPT:
            self._request = None
        if len(reply) > _KEPT:
            self._reply = None
        return outputs

    def close(self) -> None:
        """End it and give its memory back; who waits for an answer is refused. Twice is quiet."""
        self._watched.dismiss()
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        assert self._vigil is not None  # noqa: S101 - set by __init__
        self._vigil.join(_GRACE_S)
        if self._pieces is not None:
            self._pieces.close()
        with self._lock:
            self._control.close()
            self._request = self._reply = None
            # Whoever watched it may hold it in a circle of references until they are collected.
            self._buffer = memoryview(bytearray())

    # -- the process

    @property
    def _watched(self) -> Watched:
        assert self._vigil is not None  # noqa: S101 - set by __init__
        return self._vigil.watched

    def _start(
        self, theirs: socket.socket, modules: tuple[str, ...], ended: Callable[[str], None]
    ) -> Vigil:
        program = self._program
        launch = how(program.interpreter)
        limits = program.limits
        vigil = launched(launch, _CHILD, theirs, limits, limits.threads, ended)
        setup = {
            "limits": codec.encode(limits),
            "work": str(vigil.watched.work),
            "reads": [str(path.resolve()) for path in (program.folder, *launch.reads)],
            "modules": list(modules),
        }
        with suppress(OSError):  # a child that died at once is told of by whoever waits for it
            self._control.send(json.dumps(setup).encode())
        return vigil

    def _say(self, message: bytes, handles: Sequence[int] = ()) -> None:
        try:
            if handles:
                socket.send_fds(self._control, [message], handles)
            else:
                self._control.send(message)
        except OSError as error:  # closed, or full because nobody reads
            raise self._gone(loading=False) from error

    def _hear(self, until: float, what: str, *, deadline: bool = False) -> bytes:
        left = until - time.monotonic()
        try:
            if not self._poll.poll(max(0.0, left) * 1000):
                raise self._late(what, deadline=deadline)
            size = self._control.recv_into(self._buffer)
        except OSError as error:
            raise self._gone(loading=not deadline) from error
        if not size:
            raise self._gone(loading=not deadline)
        return bytes(self._buffer[:size])

    def _late(self, what: str, *, deadline: bool) -> UnavailableError:
        """It took too long: end it."""
        seconds = self._program.call_s if deadline else self._program.start_s
        self._watched.end(f"took longer than {seconds:g} s {what}")
        kind = DeadlineError if deadline else UnavailableError
        return kind(f"the model took longer than {seconds:g} s {what}; its process was ended")

    def _gone(self, *, loading: bool) -> ModelworksError:
        """Why there is no answer."""
        watched = self._watched
        watched.hung_up()
        watched.ended.wait(_GRACE_S)
        if watched.dismissed:
            return UnavailableError(UNLOADED)
        reason = watched.reason or "does not answer"
        if loading:
            return CrashedError(f"the model's process {reason}")
        return UnavailableError(f"the model's process {reason}; it is started again")

    def _broken(self, what: str) -> UnavailableError:
        self._watched.end(f"broke its protocol: {what}")
        return UnavailableError(f"the model's process broke its protocol: {what}; it was ended")


def judged(data: dict[str, Any], *, loading: bool) -> ModelworksError:
    """The child's error, as one of those that it may raise."""
    error = rebuild(data)
    allowed = InvalidError | MissingExtraError if loading else InvalidError
    if isinstance(error, allowed):
        return error
    return CrashedError(error.message, field=error.field)


def region(size: int) -> tuple[mmap.mmap, int]:
    """Memory to share, which the other side can neither shrink (we would die reading) nor grow."""
    size = max(_FIRST, 1 << (size - 1).bit_length()) if size <= _KEPT else size
    handle = os.memfd_create("tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(handle, size)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
        return mmap.mmap(handle, size), handle
    except OSError as error:
        os.close(handle)
        raise UnavailableError(f"no memory to share with the model: {error.strerror}") from error
