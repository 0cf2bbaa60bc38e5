"""Where the house is open: one Protocol a seam, found by entry point, with a contract suite each.

Entry-point groups: `modelworks.importers`, `modelworks.engines`, `modelworks.loaders`,
`modelworks.steps`, `modelworks.targets`, `modelworks.records`, `modelworks.sinks`,
`modelworks.notifiers`, `modelworks.explainers`. The suites are in `modelworks.testing`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from modelworks.core.alerts import Notification
from modelworks.core.deployment import (
    Capability,
    Observed,
    ObservedRoute,
    Rendered,
    Wanted,
    WantedRoute,
)
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.native import NativeModel
from modelworks.core.records import Batch, Feedback, Part, Record, Scan
from modelworks.core.steps import InputSteps
from modelworks.core.tensor import Signature, Tensors


@dataclass(frozen=True, slots=True)
class Sniffed:
    """An importer recognises a file.

    Attributes:
        format: the exact source format (`xgboost-json`).
        confidence: 0-100; the highest wins. 100 = magic bytes, 50 = plausible by name.
        runs_code: reading it may run code that the file brings (pickle and its kin).
    """

    format: str
    confidence: int
    runs_code: bool


class Importer(Protocol):
    """Reads one family of model files and writes a safe one.

    `sniff` imports no framework and never unpickles. `read` is only ever called in the sandbox's
    child process; it imports the framework inside, by the importer's own sub-module.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]  # the pip extra that brings its libraries; "" = none beyond `platform`
    experimental: ClassVar[bool]  # not every proof that a finished plug-in needs is there
    honours: ClassVar[frozenset[str]]  # inputs, layout, factory, runtime; others are refused

    def sniff(self, path: Path) -> Sniffed | None:
        """Whether this file is one of ours: magic bytes first, name last. Never raises."""
        ...

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert `path` into the folder `into` (`model.onnx` for ONNX).

        Raises:
            InvalidError: truncated, empty, foreign or contradictory file.
            RefusedError: unsafe, or of a kind that does not convert; the reason is in the message.
            UnsupportedError: the framework knows it and the converter does not.
        """
        ...


@runtime_checkable
class NeedsEnvironment(Protocol):
    """An importer whose libraries may clash with ours: it reads in an environment of its own.

    What it pins itself stands in a class attribute `pinned`, a tuple of tuples of lines: those need
    nobody's word. Any other lines are taken for the file's own and need `trust`.
    """

    def requirements(self, path: Path, options: ImportOptions) -> tuple[str, ...]:
        """Pinned requirement lines (`tensorflow-cpu==2.21.0`); empty = this environment does.

        Called in the sandbox, before `read`; imports no framework, only looks.

        Raises:
            InvalidError: the file names requirements that are none.
            RefusedError: it names some, and the owner did not vouch for it.
        """
        ...


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
class Elsewhere(Protocol):
    """A session whose model takes memory in other processes than this one."""

    def processes(self) -> tuple[int, ...]:
        """Ids of those processes; empty when it was closed."""
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


class OpenTarget(Protocol):
    """A place to run, reached by its settings. Every call has a deadline of its own.

    Used by one thread at a time; two processes may use the same place, and neither harms the
    other: what is applied is what stays.
    """

    def render(self, wanted: Wanted) -> tuple[Rendered, ...]:
        """The native objects. Pure: the same input gives the same bytes, and nothing is asked."""
        ...

    def apply(self, wanted: Wanted) -> None:
        """Make it so, as far as that goes at once; `observe` then says what became of it.

        Twice is quiet: what is as it should be is not touched. Ended in the middle and called
        again, it completes. A replica that is to go answers what it has first.

        Raises:
            InvalidError: it cannot be as it is; `field` is a path of the spec.
            UnavailableError: the place does not answer now.
        """
        ...

    def observe(self, name: str) -> Observed | None:
        """What runs under a name; None = nothing does.

        Raises:
            UnavailableError: the place does not answer now.
        """
        ...

    def delete(self, name: str) -> None:
        """End all of it, after a drain, and leave nothing behind. Unknown is quiet.

        Raises:
            UnavailableError: the place does not answer now.
        """
        ...


@runtime_checkable
class TakesImages(Protocol):
    """An open target that can be given an image without a registry."""

    def take_image(self, archive: Path, name: str) -> str:
        """Have an image.

        Args:
            archive: as `docker save` writes it.
            name: of the image in it, with a tag of its content: whoever has it has this one.

        Returns:
            What a revision calls it.

        Raises:
            UnavailableError: the engine does not answer, or has no room.
        """
        ...


@runtime_checkable
class Routing(Protocol):
    """An open target that routes hosts and paths to its deployments (the kind `Route`)."""

    def render_route(self, route: WantedRoute) -> tuple[Rendered, ...]:
        """The native objects; pure, as `OpenTarget.render`."""
        ...

    def apply_route(self, route: WantedRoute) -> None:
        """Make it so; twice is quiet. Raises as `OpenTarget.apply`."""
        ...

    def observe_route(self, name: str) -> ObservedRoute | None:
        """What is there under a name; None = nothing is."""
        ...

    def delete_route(self, name: str) -> None:
        """Take it away; unknown is quiet."""
        ...


class Target(Protocol):
    """A kind of place where deployments run."""

    name: ClassVar[str]  # `target.type` of a manifest
    extra: ClassVar[str]  # the pip extra that brings its libraries
    experimental: ClassVar[bool]
    images: ClassVar[bool]  # runs container images; otherwise processes of this machine
    rolls: ClassVar[bool]  # replaces a revision by itself, ready first: `Wanted` then has one
    nearby: ClassVar[bool]  # without a setting `host` it is the machine's own that reconciles
    settings: ClassVar[Mapping[str, str]]  # of `target.settings`: name -> meaning
    capabilities: ClassVar[Mapping[str, Capability]]  # leaf of a spec -> what is done; see `HOUSE`
    routes: ClassVar[Mapping[str, Capability]]  # the same of a Route's spec; empty = it has none

    def open(self, settings: Mapping[str, str], folder: Path) -> OpenTarget:
        """Reach it.

        Args:
            settings: of the manifest; only names that are known.
            folder: of this target on this machine, for whatever it has to keep; it lies in
                `Home.targets`.

        Raises:
            InvalidError: a setting that cannot be; `field` names it.
            UnavailableError: nobody answers there.
        """
        ...


class RecordStore(Protocol):
    """Where records lie for good. Every call has a deadline of its own; one writer a tenant."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep them: all or none, and on the disk (or in the bucket) when it returns.

        Records that are there already (same tenant, model, id and time) are not kept twice.

        Raises:
            UnavailableError: no room, or nobody answers; nothing of them is kept.
        """
        ...

    def scan(self, wanted: Scan, columns: Sequence[str] = ()) -> Iterator[Batch]:
        """What is there, in the order of time; `columns` = only those, empty = all.

        Raises:
            UnavailableError: nobody answers.
        """
        ...

    def parts(self, wanted: Scan) -> Sequence[Part]:
        """The hours in which something of it may lie, in the order of time; nothing is opened.

        Raises:
            UnavailableError: nobody answers.
        """
        ...

    def expire(self, tenant: str, model: str, before_ns: int) -> int:
        """Delete what is older; how many records went."""
        ...

    def erase(self, tenant: str, subjects: Sequence[str]) -> int:
        """Rewrite without every record of these subjects, as written; how many records went."""
        ...


class FeedbackStore(Protocol):
    """Where feedback lies for good; as `RecordStore` (group `modelworks.feedback`)."""

    def write(self, told: Sequence[Feedback]) -> None:
        """Keep it: all or none, and on the disk (or in the bucket) when it returns.

        What is there already (same tenant, model, id and `received_ns`) is not kept twice.

        Raises:
            UnavailableError: no room, or nobody answers; nothing of it is kept.
        """
        ...

    def scan(self, wanted: Scan, columns: Sequence[str] = ()) -> Iterator[Batch]:
        """What was received in that time, in that order: its fields, outcomes as `outcome.NAME`."""
        ...

    def parts(self, wanted: Scan) -> Sequence[Part]:
        """The hours in which something of it was received."""
        ...

    def expire(self, tenant: str, model: str, before_ns: int) -> int:
        """Delete what was received before; how much went."""
        ...

    def erase(self, tenant: str, predictions: Sequence[str], keys: Sequence[str]) -> int:
        """Rewrite without what belongs to these predictions or keys; how much went."""
        ...


class RecordSink(Protocol):
    """Somewhere else that records are sent on to: a broker, a webhook."""

    name: ClassVar[str]
    extra: ClassVar[str]  # the pip extra that brings its library; "" = none
    experimental: ClassVar[bool]
    settings: ClassVar[Mapping[str, str]]  # name -> meaning

    def open(self, settings: Mapping[str, str]) -> "OpenSink":
        """Reach it.

        Raises:
            InvalidError: a setting that cannot be; `field` names it.
            UnavailableError: nobody answers there.
        """
        ...


class OpenSink(Protocol):
    """A sink, reached. Used by one thread at a time."""

    def send(self, records: Sequence[Record]) -> None:
        """Hand them over; it returns when they were taken, at least once.

        Raises:
            UnavailableError: they were not all taken within the deadline: the same ones come again.
        """
        ...

    def close(self) -> None:
        """Let go of it; twice is quiet."""
        ...


class Notifier(Protocol):
    """A way to tell somebody of alerts."""

    name: ClassVar[str]
    experimental: ClassVar[bool]
    settings: ClassVar[Mapping[str, str]]  # name -> meaning; secrets are read where they are used

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """Tell it, within ten seconds.

        Raises:
            InvalidError: a setting that cannot be, or the receiver refuses what it was told and
                would again; `field` names the setting.
            UnavailableError: nobody took it: it may be told again later.
        """
        ...


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each feature did to each answer.

    Attributes:
        features: names, in the order of the columns.
        base: what the model says of the background on average; one a class, or one.
        values: rows x features (x classes): additive to the answer less the base, where `additive`.
        error: standard errors of `values`, same shape; None = exact.
        additive: whether they sum up.
        calls: rows that the model was asked.
        link: of the answer, under which they sum up: empty = as it is, `logit` (log-odds), `log`,
            `softmax` (scores before it, known up to a constant a row).
    """

    features: tuple[str, ...]
    base: Any
    values: Any
    error: Any = None
    additive: bool = True
    calls: int = 0
    link: str = ""


class Explainer(Protocol):
    """Says why a model answered as it did."""

    name: ClassVar[str]
    extra: ClassVar[str]
    experimental: ClassVar[bool]

    def explain(
        self,
        predict: Callable[[Any], Any],
        rows: Any,
        background: Any,
        options: Mapping[str, Any],
    ) -> Explanation:
        """Explain rows.

        Args:
            predict: rows x features (float64) -> rows (x classes), in batches of any size.
            rows: rows x features that are explained.
            background: rows x features that stand for "not known".
            options: `seed`, `samples` (calls a row at most), `features` (names of the columns),
                `artifact` (a path: explainers that know a model's own form read it; they refuse
                what they do not know).

        Raises:
            InvalidError: rows or options that cannot be.
            UnsupportedError: the model's form is not known to this explainer.
        """
        ...
