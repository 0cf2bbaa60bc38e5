"""What turns one form of a model into another."""

from typing import ClassVar, Protocol, runtime_checkable

from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob


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
