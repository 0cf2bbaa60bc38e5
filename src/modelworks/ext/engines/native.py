"""Serves a model by its own framework, as it is: always in a process of its own.

Nothing that can run code runs in the server's process, and nothing runs it at all without the
owner's recorded word.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import UNLOADED, InvalidError, RefusedError, UnavailableError
from modelworks.core.generation import Piece, Prompt, Sampling
from modelworks.core.native import NATIVE, NativeModel, read_native
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Signature, Tensors, TensorSpec
from modelworks.ext.engines.agreement import agree
from modelworks.plugins.load import available
from modelworks.sandbox.keeper import Keeper
from modelworks.sandbox.limits import GIB
from modelworks.sandbox.program import LIMITS, Program, Started
from modelworks.sandbox.tensors import DTYPES

_SETTINGS: Final = {"memory_gib": (0.25, 4096.0), "deadline_s": (0.1, 3600.0)}
_OWN: Final = {**_SETTINGS, "start_s": (1.0, 3600.0)}
_SWITCHES: Final = {"on": True, "off": False}


class NativeSession:
    """One model in a process of its own, which is started again when it ends."""

    apart = True

    def __init__(self, keeper: Keeper, own: Signature, signature: Signature) -> None:
        self.signature = signature
        self._keeper: Keeper | None = keeper
        self._inputs = own.inputs
        self._names = {spec.name for spec in own.inputs}
        places = {spec.name: place for place, spec in enumerate(own.outputs)}
        order = [places[spec.name] for spec in signature.outputs]
        # A session that nobody holds any more must not leave a process behind.
        self._finish = weakref.finalize(self, keeper.close)
        self._order = order if order != list(range(len(own.outputs))) else None

    @property
    def pid(self) -> int:
        """Of the model's process; 0 when it was closed."""
        return self._keeper.pid if self._keeper is not None else 0

    def processes(self) -> tuple[int, ...]:
        """See `core.seams.Elsewhere.processes`."""
        return self._keeper.pids if self._keeper is not None else ()

    @property
    def started(self) -> Started:
        """How its newest start went."""
        return self._open.started

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `core.seams.Watchable.watch`."""
        self._open.watch(changed)

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once; see `core.seams.Session.infer`."""
        keeper = self._open
        if len(inputs) != len(self._names):
            self._refuse_names(inputs)
        outputs = keeper.call([self._checked(spec, inputs) for spec in self._inputs])
        return outputs if self._order is None else [outputs[place] for place in self._order]

    def close(self) -> None:
        """End the process; the memory goes with it."""
        self._keeper = None
        self._finish()

    @property
    def _open(self) -> Keeper:
        if self._keeper is None:
            raise UnavailableError(UNLOADED)
        return self._keeper

    def _refuse_names(self, inputs: Tensors) -> None:
        wrong = sorted(set(inputs) ^ self._names)
        raise InvalidError(
            f"the model takes the inputs {', '.join(sorted(self._names))}; '{wrong[0]}' is "
            + ("missing" if wrong[0] in self._names else "none of them"),
            field=wrong[0],
        )

    def _checked(self, spec: TensorSpec, inputs: Tensors) -> Any:
        array = inputs.get(spec.name)
        if array is None:
            self._refuse_names(inputs)
        array = np.asarray(array)
        if array.dtype != DTYPES[spec.datatype]:
            raise InvalidError(
                f"input '{spec.name}': {spec.datatype} is wanted, not {array.dtype}",
                field=spec.name,
            )
        shape = array.shape
        if len(shape) != len(spec.shape) or any(
            m not in {None, n} for n, m in zip(shape, spec.shape, strict=True)
        ):
            wanted = [-1 if n is None else n for n in spec.shape]
            raise InvalidError(
                f"input '{spec.name}' has shape {list(shape)}, wanted is {wanted}", field=spec.name
            )
        return array


class GeneratingSession(NativeSession):
    """The same, of a model that generates; see `core.seams.Generating`."""

    def count(self, text: str) -> int:
        """Tokens of a text, as the model would read it."""
        return self._open.pieces.count(text)

    def generate(
        self, prompt: Prompt, sampling: Sampling, tell: Callable[[Piece], None]
    ) -> Callable[[], None]:
        """Begin; see `core.seams.Generating.generate`. No such model has adapters."""
        if prompt.adapter:
            raise InvalidError(f"no adapter '{prompt.adapter[:60]}' here", field="adapter")
        return self._open.pieces.generate(prompt, sampling, tell)


class NativeEngine:
    """The engine `native`. Its own settings: `memory_gib`, `deadline_s`, `start_s`, `spare`."""

    name: ClassVar[str] = "native"
    formats: ClassVar[tuple[str, ...]] = (NATIVE,)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> NativeSession:
        """Start the model's process; see `core.seams.Engine.load`."""
        folder = Path(path)
        if not folder.is_dir():
            raise InvalidError(f"no native model at {folder}", field="path")
        model = read_native(folder)
        if not options.trusted:
            raise RefusedError(
                "a native model is code, and nothing runs it without its owner's recorded word: "
                "import it with --trust --runtime native",
                field="trust",
            )
        if options.signature is not None:
            agree(options.signature, model.signature, "native.json", shapes=True)
        program, spare = _program(folder, model, options)
        keeper = Keeper(program, spare=spare)
        kind = GeneratingSession if keeper.started.generates else NativeSession
        return kind(keeper, model.signature, options.signature or model.signature)


def _program(folder: Path, model: NativeModel, options: EngineOptions) -> tuple[Program, bool]:
    known = available("loaders")
    point = known.get(model.loader)
    if point is None:
        raise InvalidError(
            f"no loader '{model.loader}' is installed here; there are "
            f"{', '.join(sorted(known)) or 'none'}",
            field="loader",
        )
    extra = dict(options.extra)
    unknown = sorted(extra.keys() - _OWN.keys() - {"spare"})
    if unknown:
        raise InvalidError(
            f"native has no option '{unknown[0]}'; known are {', '.join(sorted(_OWN))}, spare",
            field=unknown[0],
        )
    numbers = {"memory_gib": 8.0, "deadline_s": 30.0, "start_s": 120.0}
    for source, names in ((model.settings, _SETTINGS), (extra, _OWN)):
        for name in names.keys() & source.keys():
            numbers[name] = _number(name, source[name])
    spare = _SWITCHES.get(extra.get("spare", "on"))
    if spare is None:
        raise InvalidError(f"spare: '{extra['spare']}' is none of on, off", field="spare")
    limits = replace(LIMITS, memory_bytes=int(numbers["memory_gib"] * GIB), threads=options.threads)
    program = Program(
        loader=point.value,
        extra=model.loader,
        folder=folder,
        signature=model.signature,
        interpreter=options.interpreter,
        limits=limits,
        start_s=numbers["start_s"],
        call_s=numbers["deadline_s"],
    )
    return program, spare


def _number(name: str, text: str) -> float:
    low, high = _OWN[name]
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not low <= value <= high:
        raise InvalidError(f"{name}: '{text}' is no number from {low:g} to {high:g}", field=name)
    return value
