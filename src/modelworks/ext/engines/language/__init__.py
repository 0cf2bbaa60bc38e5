"""The engine `genai`: decoders of text, as onnxruntime-genai's model builder writes them.

Every model has a process of its own: the library keeps Python's lock while it computes, and the
server's loop may not wait for it. Tokens become text here, by `tokenizers`.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.seams import Engine, EngineOptions
from modelworks.ext.engines.agreement import agree, refuse_unknown
from modelworks.ext.engines.language.process import Plan
from modelworks.ext.formats import genai
from modelworks.sandbox.limits import GIB, Limits

try:
    from modelworks.ext.engines.language.session import LanguageSession
    from modelworks.ext.engines.language.texts import opened
except ModuleNotFoundError as error:
    raise MissingExtraError("the engine 'genai'", "language", str(error.name)) from error

FORMAT: Final = "genai"
_OPTIONS: Final = {
    "slots": (1.0, 256.0, 8.0),
    "tokens": (0.0, 1e12, 0.0),
    "queue": (0.0, 100_000.0, 256.0),
    "prefix_mib": (0.0, 1_048_576.0, 64.0),
    "memory_gib": (0.25, 4096.0, 0.0),
    "start_s": (1.0, 3600.0, 120.0),
    "row_tokens": (1.0, 100_000.0, 64.0),
    "row_s": (0.1, 3600.0, 30.0),
}


class GenaiEngine:
    """The engine.

    Its own settings:
        slots: generations that compute in turn, a token each; the others wait.
        queue: that wait at most.
        tokens: of prompts and answers that may be under way together; a request that would make
            them more is answered 429. Unsaid = four times `slots` times the context.
        prefix_mib: for what was computed of earlier prompts and may begin later ones; 0 = none.
        memory_gib: address space of the model's process; unsaid = four times its files and 8 more.
        start_s: that loading may take.
        row_tokens: new tokens a row of an ordinary inference.
        row_s: seconds that it, or a conversation's template, may wait for the model.
    """

    name: ClassVar[str] = "genai"
    formats: ClassVar[tuple[str, ...]] = (FORMAT,)
    experimental: ClassVar[bool] = True

    def inside(self) -> Engine:
        """See `core.seams.Inside`."""
        from modelworks.ext.engines.language.inside import (  # noqa: PLC0415 - loads the library
            InsideEngine,
        )

        return InsideEngine()

    def load(self, path: Path, options: EngineOptions) -> LanguageSession:
        """Load the folder; see `core.seams.Engine.load`."""
        given = refuse_unknown("genai", options, tuple(_OPTIONS))
        numbers = {name: _number(name, given.get(name)) for name in _OPTIONS}
        folder = Path(path)
        facts = genai.read(folder)
        if find_spec("onnxruntime_genai") is None:
            raise MissingExtraError("the engine 'genai'", "language", "onnxruntime_genai")
        if options.signature is not None:
            agree(options.signature, genai.SIGNATURE, "a language model", shapes=True)
        tokenizer = opened(folder)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        memory = int(numbers["memory_gib"] * GIB) or 8 * GIB + 4 * size
        plan = Plan(
            folder=folder,
            threads=options.threads,
            slots=int(numbers["slots"]),
            kept=int(numbers["prefix_mib"] * (1 << 20)),
            limits=Limits(memory_bytes=memory, cpu_seconds=0, file_bytes=GIB, disk_bytes=4 * GIB),
            start_s=numbers["start_s"],
        )
        return LanguageSession(
            plan,
            facts,
            tokenizer,
            outstanding=int(numbers["tokens"]) or 4 * plan.slots * facts.context,
            most=plan.slots + int(numbers["queue"]),
            row_tokens=int(numbers["row_tokens"]),
            row_s=numbers["row_s"],
        )


def _number(name: str, value: str | None) -> float:
    low, high, unsaid = _OPTIONS[name]
    if value is None:
        return unsaid
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise InvalidError(
            f"{name}: '{value[:40]}' is no number from {low:g} to {high:g}", field=name
        )
    return number
