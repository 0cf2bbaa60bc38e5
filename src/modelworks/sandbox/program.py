"""What a model's own process is to be, and how its start went."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.core.native import NativeModel
from modelworks.core.tensor import Signature
from modelworks.sandbox.isolate import Isolation
from modelworks.sandbox.limits import GIB, Limits

LIMITS: Final = Limits(cpu_seconds=0, file_bytes=GIB, disk_bytes=4 * GIB)
"""Of a process that lives on."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a model's process is.

    Attributes:
        loader: `module:class` of the `Loader`.
        extra: the pip extra that brings its libraries.
        folder: the artifact's, with `native.json`; it can be read there, and nothing be changed.
        signature: that of the model; None = the process says it, which it can where `model` opens
            as a function with an attribute `signature`.
        interpreter: Python of the environment that it needs; empty = this one.
        limits: of the process; `cpu_seconds` 0 for one that lives on.
        start_s: that it may take to become ready.
        call_s: that one call may take.
        tensor_bytes: of all inputs, and of all outputs, of one call.
        model: in the place of `native.json`, where the artifact has none.
    """

    loader: str
    extra: str
    folder: Path
    signature: Signature | None
    interpreter: str = ""
    limits: Limits = LIMITS
    start_s: float = 120.0
    call_s: float = 30.0
    tensor_bytes: int = GIB
    model: NativeModel | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """How a start went.

    Attributes:
        isolation: the walls that stand.
        modules: that it has imported, for a spare that shall be as far.
        load_s: of loading the model alone.
        start_s: from the start of the process to its readiness.
        resident_bytes: when it was ready.
        signature: of the model.
        generates: it answers in pieces too.
    """

    isolation: Isolation
    modules: tuple[str, ...]
    load_s: float
    start_s: float
    resident_bytes: int
    signature: Signature
    generates: bool = False
