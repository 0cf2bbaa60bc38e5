"""What turns one form of a model into another, and what looks inside of a form."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from modelworks.core.optimizing.insides import Inside
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob
from modelworks.core.seams.running import EngineOptions
from modelworks.core.tensor import Tensors


class Pass(Protocol):
    """One step of a recipe: a folder in, a folder out. Called in the sandbox's child process.

    It holds no state: the same job gives the same answers, and the same bytes where its library
    allows that. What it is given is not changed.
    """

    facts: ClassVar[PassFacts]

    def fits(self, job: PassJob) -> str:
        """Why this can do nothing good for that model, in one sentence; empty = it may.

        Looks at the graph, loads no weights into an engine, takes well under a second. A known-bad
        combination (dynamic int8 of convolutions) is said here, before time is spent on it.
        """
        ...

    def apply(self, job: PassJob) -> Applied:
        """Write another form of `job.source` into `job.into`.

        Raises:
            InvalidError: the source is damaged or none of its formats; `field` names a setting.
            UnsupportedError: the model has something that the pass's library does not know.
            CrashedError: the library failed; one line, why.
        """
        ...


@runtime_checkable
class Seconds(Protocol):
    """A pass that knows how long it takes."""

    def seconds(self, job: PassJob) -> float:
        """About how long `apply` takes here; the search fits its plan into the time left."""
        ...


class View(Protocol):
    """A form whose inner values can be looked at; see `Viewer`."""

    inside: Inside

    def watch(self, names: Sequence[str], *, served: bool) -> Callable[[Tensors], dict[str, Any]]:
        """Make ready to look at some values.

        Args:
            names: of values of the graph: made, given or stored.
            served: run it with every optimization, as it is served; False = operator by operator.

        Returns:
            What takes inputs (of the bare model, some rows) and gives name -> array. Integers that
            stand for real numbers are given as these. Values that are no tensors of numbers are
            left out.

        Raises:
            InvalidError: the engine does not run it.
            UnsupportedError: inner values cannot be had of what is served.
        """
        ...


class Viewer(Protocol):
    """Opens forms of one format. Called in the sandbox's child process."""

    formats: ClassVar[tuple[str, ...]]
    experimental: ClassVar[bool]  # not every proof that a finished plug-in needs is there

    def open(self, folder: Path, options: EngineOptions) -> View:
        """Read a form; `options` are those that it is served with.

        Raises:
            InvalidError: there is none, or it is damaged.
        """
        ...
