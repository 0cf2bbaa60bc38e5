"""What the engines of language models have in common: settings, the process, its memory."""

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final, Self

from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.seams import EngineOptions, Session
from modelworks.ext.engines.agreement import agree, refuse_unknown
from modelworks.ext.engines.language.opened import Wish
from modelworks.ext.engines.language.process import Plan
from modelworks.ext.formats.language import SIGNATURE
from modelworks.sandbox.limits import GIB, Limits

_OPTIONS: Final = {
    "slots": (1.0, 256.0, 8.0),
    "context": (0.0, 16_777_216.0, 0.0),
    "tokens": (0.0, 1e12, 0.0),
    "queue": (0.0, 100_000.0, 256.0),
    "prefix_mib": (0.0, 1_048_576.0, 64.0),
    "memory_gib": (0.25, 4096.0, 0.0),
    "start_s": (1.0, 3600.0, 120.0),
    "row_tokens": (1.0, 100_000.0, 64.0),
    "row_s": (0.1, 3600.0, 30.0),
}


class LanguageEngine:
    """Every model in a process of its own behind walls: nobody waits for its library.

    Args:
        within: models are run in the calling process, which has the walls already.

    Its own settings:
        slots: generations that compute at a time; the others wait.
        context: tokens of a prompt and its answer at most; unsaid = what the engine says of itself.
        queue: that wait at most.
        tokens: of prompts and answers that may be under way together; a request that would make
            them more is answered 429. Unsaid = four times `slots` times the context.
        prefix_mib: for what was computed of earlier prompts and may begin later ones; 0 = none.
        memory_gib: address space of the model's process; unsaid = by its files.
        start_s: that loading may take.
        row_tokens: new tokens a row of an ordinary inference.
        row_s: seconds that it, or a conversation's template, may wait for the model.

    Attributes:
        library: that computes.
        extra: of ours that brings it.
        unsaid: settings whose value is another one where nothing is said.
        without: settings that mean nothing here.
        base_gib: address space beside what the model's files take.
        hottest: temperature that the library takes at most.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    experimental: ClassVar[bool] = True
    library: ClassVar[str]
    extra: ClassVar[str]
    unsaid: ClassVar[dict[str, float]] = {}
    without: ClassVar[tuple[str, ...]] = ()
    base_gib: ClassVar[int] = 8
    hottest: ClassVar[float] = float("inf")

    def __init__(self, *, within: bool = False) -> None:
        self._within = within

    def inside(self) -> Self:
        """See `core.seams.Inside`."""
        return type(self)(within=True)

    def begin(self, folder: Path) -> int | None:
        """Judge a folder by what can be read of it without the library.

        Returns:
            The token that a text begins with, -1 = none; None = the engine reads texts itself.

        Raises:
            ModelworksError: it is no model of this engine.
        """
        raise NotImplementedError

    def load(self, path: Path, options: EngineOptions) -> Session:
        """Load the folder; see `core.seams.Engine.load`."""
        from modelworks.ext.engines.language.inside import (  # noqa: PLC0415 - for the sandbox
            InsideSession,
        )
        from modelworks.ext.engines.language.session import LanguageSession  # noqa: PLC0415

        known = tuple(name for name in _OPTIONS if name not in self.without)
        given = refuse_unknown(self.name, options, known)
        numbers = {name: _number(name, given.get(name), self.unsaid) for name in _OPTIONS}
        folder = Path(path)
        if not folder.is_dir():
            raise InvalidError(f"no folder of a language model at {path}", field="path")
        if find_spec(self.library) is None:
            raise MissingExtraError(f"the engine '{self.name}'", self.extra, self.library)
        begin = self.begin(folder)
        if options.signature is not None:
            agree(options.signature, SIGNATURE, "a language model", shapes=True)
        if self._within:
            return InsideSession(self.name, folder, begin, options.threads)
        wish = Wish(
            folder,
            options.threads,
            slots=int(numbers["slots"]),
            kept=int(numbers["prefix_mib"] * (1 << 20)),
            context=int(numbers["context"]),
        )
        plan = Plan(
            by=self.name,
            extra=self.extra,
            wish=wish,
            limits=Limits(
                memory_bytes=int(numbers["memory_gib"] * GIB) or self._memory(folder),
                cpu_seconds=0,
                file_bytes=GIB,
                disk_bytes=4 * GIB,
            ),
            start_s=numbers["start_s"],
        )
        return LanguageSession(
            plan,
            begin,
            outstanding=int(numbers["tokens"]),
            most=wish.slots + int(numbers["queue"]),
            row_tokens=int(numbers["row_tokens"]),
            row_s=numbers["row_s"],
            hottest=self.hottest,
        )

    def _memory(self, folder: Path) -> int:
        """Address space of its process: frameworks map much more than they use."""
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return self.base_gib * GIB + 4 * size


def _number(name: str, value: str | None, unsaid: dict[str, float]) -> float:
    low, high, otherwise = _OPTIONS[name]
    if value is None:
        return unsaid.get(name, otherwise)
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise InvalidError(
            f"{name}: '{value[:40]}' is no number from {low:g} to {high:g}", field=name
        )
    return number
