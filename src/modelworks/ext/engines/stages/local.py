"""A stage in a process of its own on this machine, behind the walls of the sandbox."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from modelworks.core.errors import InvalidError
from modelworks.core.native import NativeModel
from modelworks.core.tensor import Signature
from modelworks.ext.formats.stages import Stage
from modelworks.sandbox.keeper import Keeper
from modelworks.sandbox.limits import GIB
from modelworks.sandbox.program import LIMITS, Program
from modelworks.sandbox.relay import Buffer, Relay, relay_of

_INSIDE: Final = "modelworks.ext.engines.isolated:Inside"
_UNKNOWN: Final = Signature((), ())
_START_S: Final = 240.0
_ROOM: Final = 6 * GIB  # address space beside the weights: libraries map more than they use


class Running(Protocol):
    """A stage that answers.

    Attributes:
        signature: as its engine has it.
    """

    signature: Signature

    def run(self, source: Buffer, into: Buffer) -> None:
        """Compute what is in `source`.

        Raises:
            InvalidError: the model refuses these values.
            CrashedError: it failed.
            UnavailableError: it is gone; it comes back by itself.
        """
        ...

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `core.seams.Watchable`."""
        ...

    def processes(self) -> tuple[int, ...]:
        """Ids of its processes on this machine."""
        ...

    def close(self) -> None:
        """Give everything back. Twice is quiet."""
        ...


class LocalStage:
    """A stage on this machine; fulfils `Running`.

    Args:
        folder: of the stage.
        stage: what the artifact says of it.
        threads: of its engine.
        deadline_s: of one call.
        most: bytes of all tensors of one call.

    Raises:
        ModelworksError: it does not load; nothing is left behind.
    """

    def __init__(
        self, folder: Path, stage: Stage, threads: int, deadline_s: float, most: int
    ) -> None:
        self._keeper = Keeper(_program(folder, stage, threads, deadline_s, most), kind=Relay)
        self.signature = self._keeper.started.signature
        try:
            _same(stage, self.signature)
        except InvalidError:
            self._keeper.close()
            raise

    def run(self, source: Buffer, into: Buffer) -> None:
        """See `Running.run`."""
        relay_of(self._keeper.worker).relay(source, into)

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `Running.watch`."""
        self._keeper.watch(changed)

    def processes(self) -> tuple[int, ...]:
        """See `Running.processes`."""
        return self._keeper.pids

    def close(self) -> None:
        """End the process; the memory goes with it."""
        self._keeper.close()


def _program(folder: Path, stage: Stage, threads: int, deadline_s: float, most: int) -> Program:
    settings = {"engine": stage.engine, "format": stage.format, "threads": str(threads)}
    weights = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Program(
        loader=_INSIDE,
        extra=stage.engine,
        folder=folder,
        signature=None,
        limits=replace(LIMITS, memory_bytes=_ROOM + 4 * weights, threads=threads),
        start_s=_START_S,
        call_s=deadline_s,
        tensor_bytes=most,
        model=NativeModel("stages", ".", _UNKNOWN, settings=settings | dict(stage.options)),
    )


def _same(stage: Stage, own: Signature) -> None:
    """Refuse a folder that holds another stage than `stages.json` says."""
    for side, said, found in (
        ("takes", stage.inputs, own.inputs),
        ("gives", stage.outputs, own.outputs),
    ):
        wanted, has = ([(s.name, s.datatype, len(s.shape)) for s in x] for x in (said, found))
        if wanted != has:
            raise InvalidError(
                f"the model in '{stage.folder}' {side} other tensors than stages.json says",
                field="path",
            )
