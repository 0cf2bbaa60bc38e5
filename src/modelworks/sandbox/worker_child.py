"""The process that one model lives in: `python -m modelworks.sandbox.worker_child CONTROL PARENT`.

Puts up the walls, imports what it is told to, loads one model, and then answers calls until its
parent hangs up. Tensors come and go through shared memory.
"""

import gc
import importlib
import json
import mmap
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelworks.core import codec
from modelworks.core.errors import CrashedError, InvalidError, MissingExtraError, ModelworksError
from modelworks.core.native import NativeModel, read_native
from modelworks.core.seams import Generating
from modelworks.core.tensor import Signature, Tensors
from modelworks.sandbox import kernel, wire
from modelworks.sandbox.isolate import Guard, isolate
from modelworks.sandbox.limits import GIB, Limits
from modelworks.sandbox.pieces_child import Telling
from modelworks.sandbox.report import describe, one_line
from modelworks.sandbox.tensors import Packed, fitting, unpack
from modelworks.sandbox.wire import Word

_NAMES = 96 << 10  # bytes of the list of imported modules


def main() -> None:
    """Serve the parent until it hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    parent = int(sys.argv[2])
    _die_with(parent)
    setup = json.loads(control.recv(wire.LONGEST))
    limits = codec.decode(Limits, setup["limits"])
    work = Path(setup["work"])
    os.chdir(work)
    os.environ.update({"HOME": str(work), "TMPDIR": str(work)})
    tempfile.tempdir = None  # decided anew from the environment
    isolation = isolate(work, tuple(Path(p) for p in setup["reads"]), limits)
    Guard().arm()
    for name in setup["modules"]:
        _import(name)
    control.send(wire.pack(Word.PREPARED, data={"isolation": codec.encode(isolation)}))
    message = control.recv(wire.LONGEST)
    if not message:
        return
    began = time.monotonic()
    try:
        order = wire.data_of(message)
        signature, predict = _load(order)
    except Exception as error:  # noqa: BLE001 - the parent is told whatever it was
        control.send(wire.pack(Word.ERROR, data=_told(error, limits, loading=True)))
        return
    gc.freeze()
    generating = getattr(predict, "generating", None)
    facts = _facts(began, signature, tell=order["tell"]) | {"generates": generating is not None}
    ready = wire.pack(Word.READY, data=facts)
    if len(ready) > wire.LONGEST:
        told = InvalidError(f"a signature of {len(ready)} bytes is more than a process can tell")
        control.send(wire.pack(Word.ERROR, data=_told(told, limits, loading=True)))
        return
    control.send(ready)
    _Server(control, signature, predict, limits, generating).run()


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        kernel.die_with_parent()
    if os.getppid() != parent:  # it ended before we could ask for that
        sys.exit(1)


def _import(name: str) -> None:
    """A library that the model's first process had imported; what fails now is said at the load."""
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 - a module that belongs to the model itself
        return


def _modules() -> list[str]:
    """What is imported by now, as far as it fits into a message."""
    found, size = [], 0
    for name in list(sys.modules):
        size += len(name) + 4
        if size > _NAMES:
            break
        if name.isascii() and not name.startswith(("__", "modelworks.sandbox")):
            found.append(name)
    return found


def _facts(began: float, signature: Signature, *, tell: bool) -> dict[str, Any]:
    """How the load went; the signature only where the parent cannot know it."""
    more = {"signature": codec.encode(signature)} if tell else {"modules": _modules()}
    return {"seconds": time.monotonic() - began, **more}


def _load(order: dict[str, Any]) -> tuple[Signature, Callable[[Tensors], Tensors]]:
    folder = Path(order["folder"])
    given = order["model"]
    model = codec.decode(NativeModel, given) if given is not None else read_native(folder)
    module, _, name = order["loader"].partition(":")
    try:
        loader = getattr(importlib.import_module(module), name)()
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"serving this model by its own framework ({model.loader})",
            order["extra"],
            str(error.name),
        ) from error
    predict = loader.load(folder, model)
    own = None if given is None else getattr(predict, "signature", None)
    return own or model.signature, predict


class _Server:
    """Answers calls, one after the other."""

    def __init__(
        self,
        control: socket.socket,
        signature: Signature,
        predict: Callable[[Tensors], Tensors],
        limits: Limits,
        generating: Generating | None = None,
    ) -> None:
        self._control = control
        self._generating = generating
        self._inputs = signature.inputs
        self._outputs = signature.outputs
        self._predict = predict
        self._limits = limits
        self._request: mmap.mmap | None = None
        self._reply: mmap.mmap | None = None
        self._buffers: dict[int, mmap.mmap] = {}

    def run(self) -> None:  # noqa: C901 - a table of what the parent may say
        """Until the parent hangs up."""
        control = self._control
        while True:
            message, handles, _, _ = socket.recv_fds(control, wire.SHORT, 2)
            if not message:
                return
            word, number, request, reply = wire.unpack(message)
            if word == Word.RELAY:
                self._request = self._buffer(request, handles)
                self._reply = self._buffer(reply, handles)
            elif word == Word.PIECES and self._generating is not None:
                Telling(handles.pop(), self._generating).start()
                continue
            elif word != Word.CALL:
                return
            else:
                if request:
                    self._request = _mapped(handles.pop(0))
                if reply:
                    self._reply = _mapped(handles.pop(0))
            try:
                packed = self._answer()
                self._make_room(number, packed.size)
                assert self._reply is not None  # noqa: S101 - the first call brings one
                packed.write(self._reply)
            except Exception as error:  # noqa: BLE001 - the parent is told whatever it was
                told = _told(error, self._limits, loading=False)
                error.__traceback__ = None
                control.send(wire.pack(Word.ERROR, number, data=told))
            else:
                control.send(wire.pack(Word.DONE, number))
            if word == Word.RELAY and self._reply is not None:  # it may be a larger one now
                self._buffers[reply >> 1] = self._reply
                self._request = self._reply = None

    def _buffer(self, told: int, handles: list[int]) -> mmap.mmap:
        """One that several processes of a pipeline share; mapped once."""
        if told & 1:
            self._buffers[told >> 1] = _mapped(handles.pop(0))
        return self._buffers[told >> 1]

    def _answer(self) -> Packed:
        assert self._request is not None  # noqa: S101 - the first call brings one
        arrays = unpack(self._request, self._inputs, own=False)
        given = {spec.name: array for spec, array in zip(self._inputs, arrays, strict=True)}
        return Packed(fitting(self._predict(given), self._outputs))

    def _make_room(self, number: int, size: int) -> None:
        if self._reply is not None and size <= len(self._reply):
            return
        self._control.send(wire.pack(Word.MORE, number, size))
        message, handles, _, _ = socket.recv_fds(self._control, wire.SHORT, 1)
        if not message:
            sys.exit(0)
        if wire.unpack(message)[0] != Word.REGION or not handles:
            raise CrashedError(f"outputs of {size} bytes are more than a model may give")
        self._reply = _mapped(handles[0])


def _mapped(handle: int) -> mmap.mmap:
    try:
        return mmap.mmap(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _told(error: Exception, limits: Limits, *, loading: bool) -> dict[str, Any]:
    """The error for the parent: refused values are the caller's, everything else is ours."""
    if isinstance(error, MemoryError):
        known: ModelworksError = CrashedError(
            f"the model needs more memory than the {limits.memory_bytes / GIB:.3g} GiB that its "
            "process may have"
        )
    elif isinstance(error, ModelworksError):
        known = error
    elif loading:
        known = InvalidError(f"the model does not load: {_named(error)}")
    elif isinstance(error, ValueError):
        known = InvalidError(f"the model refuses this input: {_named(error)}")
    else:
        known = CrashedError(f"the model failed: {_named(error)}")
    return describe(known)


def _named(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}", 300)


if __name__ == "__main__":
    main()
