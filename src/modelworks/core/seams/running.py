"""What runs models and the steps before them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from modelworks.core.generation import Piece, Prompt, Sampling
from modelworks.core.native import NativeModel
from modelworks.core.steps import InputSteps
from modelworks.core.tensor import Signature, Tensors


class Loader(Protocol):
    """Opens a model with its own framework; only ever called in a process of the model's own."""

    name: ClassVar[str]
    extra: ClassVar[str]  # the pip extra that brings its libraries
    experimental: ClassVar[bool]

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """The model as a function: input tensors by name -> the signature's outputs by name.

        Args:
            folder: of the artifact; `model.source` is a path in it.
            model: what `native.json` says.

        Raises:
            InvalidError: it does not load; one line, why.
        """
        ...


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine loads a model.

    Attributes:
        threads: intra-op threads.
        signature: as registered, when there is one: names and order to follow.
        extra: the engine's own settings; unknown keys are refused.
        trusted: the owner vouched for this version; what can run code is refused without it.
        interpreter: Python of the environment that the model needs; empty = this one.
    """

    threads: int = 1
    signature: Signature | None = None
    extra: tuple[tuple[str, str], ...] = ()
    trusted: bool = False
    interpreter: str = ""


class Session(Protocol):
    """One loaded model. `infer` may be called from one thread at a time.

    Attributes:
        signature: what it takes and gives.
        apart: calls never run on the event loop: they wait for another process, or what they cost
            cannot be told from the number of rows.
    """

    signature: Signature
    apart: bool

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once.

        Args:
            inputs: input name -> array of the signature's datatype; BYTES is an object array of
                bytes, BF16 a uint16 array of bit patterns.

        Returns:
            One array an output, in the order of `signature.outputs`, same conventions.

        Raises:
            InvalidError: the model refuses these values or shapes.
            CrashedError: the engine failed.
        """
        ...

    def close(self) -> None:
        """Give the memory back. Twice is quiet."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A session whose model lives elsewhere and may be gone for a while."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """Be told of every change, from any thread.

        Args:
            changed: gets the reason why calls are refused for now (`UnavailableError`), or "" when
                they are answered again. Called at once where they are refused already.
        """
        ...


@runtime_checkable
class Reusable(Protocol):
    """A session that can do with less than new outputs for every call."""

    def reusing(self) -> Session:
        """The same session, for a caller who is done with the outputs before the next call."""
        ...


@runtime_checkable
class Concurrent(Protocol):
    """A session that takes several calls at a time: stages of a pipeline, several devices.

    Attributes:
        lanes: `infer` may be called from so many threads at once, 1 or more; the others wait.
    """

    lanes: int


@runtime_checkable
class Elsewhere(Protocol):
    """A session whose model takes memory in other processes than this one."""

    def processes(self) -> tuple[int, ...]:
        """Ids of those processes; empty when it was closed."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A session before whose model texts become tokens."""

    def count_texts(self, texts: Sequence[str]) -> int:
        """Tokens of all of them, as the model reads them, special ones included.

        It may be called from any thread.
        """
        ...


@runtime_checkable
class Generating(Protocol):
    """A session that answers in pieces. How requests share the model is the engine's affair.

    Both methods may be called from any thread, several times at once.
    """

    def count(self, text: str) -> int:
        """Tokens of a text, as the model would read it."""
        ...

    def generate(
        self, prompt: Prompt, sampling: Sampling, tell: Callable[[Piece], None]
    ) -> Callable[[], None]:
        """Begin; returns at once.

        Args:
            prompt: what is continued.
            sampling: how.
            tell: gets every piece, in order, from a thread of the engine; the last one has
                `finish`, and nothing comes after it. It must return quickly.

        Returns:
            What stops it: the last piece then says CANCELLED. Quiet when it has ended.

        Raises:
            InvalidError: no such adapter, or the prompt is longer than the context.
            UnavailableError: it is full, or closed.
        """
        ...


@runtime_checkable
class Conversing(Generating, Protocol):
    """A session of a language model that knows how conversations are written for it.

    Attributes:
        context: tokens that a prompt and its answer may have together.
        adapters: names that `Prompt.adapter` takes, beside the empty one.
        outstanding: tokens that prompts and answers under way may have together; 0 = any number.
    """

    context: int
    adapters: tuple[str, ...]
    outstanding: int

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A conversation as the text of a prompt that the model's answer follows.

        It may take a while: never called on the loop.

        Args:
            messages: `role` and `content` each, in order.

        Raises:
            InvalidError: the model's template refuses them.
            UnavailableError: the model is gone.
        """
        ...


class Engine(Protocol):
    """Runs one or more artifact formats."""

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    experimental: ClassVar[bool]

    def load(self, path: Path, options: EngineOptions) -> Session:
        """Load the model file, or the folder that holds it.

        Raises:
            InvalidError: this is no model that the engine can run; one line, why.
        """
        ...


@runtime_checkable
class Distant(Protocol):
    """A session that generates and may have another process read its texts.

    Attributes:
        distant: it does: `count` and `generate` wait for that process, and are never called on the
            loop.
    """

    distant: bool


@runtime_checkable
class Inside(Protocol):
    """An engine that serves in processes of its own, and can do without where none can begin."""

    def inside(self) -> Engine:
        """An engine that runs models in the calling process; for the sandbox."""
        ...


class OpenStep(Protocol):
    """One step of one model, ready to run. `run` may be called from one thread at a time.

    Attributes:
        outputs: inputs of the model that it makes.
    """

    outputs: tuple[str, ...]

    def run(self, inputs: Tensors) -> Tensors:
        """Make the model's inputs.

        Args:
            inputs: everything that callers sent, rows of several requests together.

        Raises:
            InvalidError: a value that cannot be read; `field` names row and input.
        """
        ...


class StepRunner(Protocol):
    """A kind of step that no graph of ONNX operators does; runs in the server, off its loop."""

    name: ClassVar[str]  # the field of `InputSteps`
    extra: ClassVar[str]  # the pip extra that brings its libraries
    experimental: ClassVar[bool]

    def open(self, item: InputSteps, model: Signature, folder: Path) -> OpenStep:
        """Make it ready.

        Args:
            item: of which input, and how.
            model: what the model takes.
            folder: of the artifact: files that the step names lie there.

        Raises:
            InvalidError: a file is missing or damaged, or does not fit.
        """
        ...
