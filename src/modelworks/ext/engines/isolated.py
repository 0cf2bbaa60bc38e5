"""Runs another engine's model in a process of its own, behind the walls of the sandbox.

What is unloaded so gives all its memory back, and a crash of the engine is the model's own. The
steps before the model run there too.
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.errors import InvalidError
from modelworks.core.native import NativeModel
from modelworks.core.seams import Engine, EngineOptions, Session
from modelworks.core.stepped import read_stepped
from modelworks.core.tensor import Signature, Tensors
from modelworks.ext.engines.agreement import agree
from modelworks.ext.engines.native import NativeSession
from modelworks.plugins.load import load
from modelworks.plugins.opening import open_model
from modelworks.sandbox.keeper import Keeper
from modelworks.sandbox.limits import GIB
from modelworks.sandbox.program import LIMITS, Program

_INSIDE: Final = "modelworks.ext.engines.isolated:Inside"
_ENGINE: Final = "engine"
_FORMAT: Final = "format"
_THREADS: Final = "threads"
_UNKNOWN: Final = Signature((), ())
_START_S: Final = 240.0
_CALL_S: Final = 300.0
_ROOM: Final = 6 * GIB  # address space beside the weights: libraries map more than they use


class IsolatedEngine:
    """The engine `isolated`: its settings `engine` and `format` say what runs in the process.

    Every other setting is handed on to that engine. It has no format of its own.
    """

    name: ClassVar[str] = "isolated"
    formats: ClassVar[tuple[str, ...]] = ()
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> NativeSession:
        """Start the model's process; see `core.seams.Engine.load`.

        The signature may be the registered one or None; `path` may have steps.
        """
        missing = {_ENGINE, _FORMAT} - dict(options.extra).keys()
        if missing:
            raise InvalidError(
                f"isolated has no option '{min(missing)}', and it must: engine and format say what "
                "runs in the process",
                field=min(missing),
            )
        path = Path(path).absolute()
        if not path.exists():
            raise InvalidError(f"no model file at {path}", field="path")
        stepped = read_stepped(path)
        outer = stepped.outer if stepped is not None else None
        keeper = Keeper(_program(path, outer, options))
        try:
            own = keeper.started.signature
            if options.signature is not None:
                _same(options.signature, own, stepped=stepped is not None)
            return NativeSession(keeper, own, options.signature or own)
        except BaseException:
            keeper.close()
            raise


def _program(path: Path, outer: Signature | None, options: EngineOptions) -> Program:
    settings = {**dict(options.extra), _THREADS: str(options.threads)}
    weights = _bytes_of(path)
    limits = replace(LIMITS, memory_bytes=_ROOM + 4 * weights, threads=options.threads)
    # Beside a single file there may be its external weights.
    folder = path if path.is_dir() else path.parent
    return Program(
        loader=_INSIDE,
        extra=settings[_ENGINE],
        folder=folder,
        signature=outer,
        interpreter=options.interpreter,
        limits=limits,
        start_s=_START_S,
        call_s=_CALL_S,
        model=NativeModel(
            "isolated", "." if path.is_dir() else path.name, _UNKNOWN, settings=settings
        ),
    )


def _bytes_of(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def _same(registered: Signature, own: Signature, *, stepped: bool) -> None:
    """Refuse a registered signature that the model in the process does not have."""
    if not stepped:
        if registered.steps:
            raise InvalidError(
                "the signature has steps and the artifact has none: import the model again",
                field="path",
            )
        agree(registered, own)
    elif registered != own:
        raise InvalidError(
            "the registered signature is not the one that the artifact's steps were made for",
            field="signature",
        )


class Inside:
    """Opens the model in its process; a `Loader` that only `IsolatedEngine` names."""

    name: ClassVar[str] = "isolated"
    extra: ClassVar[str] = ""
    experimental: ClassVar[bool] = False

    def load(self, folder: Path, model: NativeModel) -> "Opened":
        """See `core.seams.Loader.load`."""
        settings = dict(model.settings)
        engine: Engine = load("engines", settings.pop(_ENGINE))()
        kind = settings.pop(_FORMAT)
        if kind not in engine.formats:
            raise InvalidError(
                f"engine '{engine.name}' runs {', '.join(engine.formats)}, not {kind}",
                field="format",
            )
        threads = int(settings.pop(_THREADS))
        options = EngineOptions(threads=threads, extra=tuple(settings.items()))
        source = folder if model.source == "." else folder / model.source
        return Opened(open_model(engine, source, options))


class Opened:
    """A session as a function of names.

    Attributes:
        signature: what it takes and gives.
    """

    def __init__(self, session: Session) -> None:
        self.signature = session.signature
        self._session = session
        self._names = [spec.name for spec in session.signature.outputs]

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run once."""
        return dict(zip(self._names, self._session.infer(inputs), strict=True))
