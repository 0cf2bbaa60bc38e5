"""A graph that answers: what the server holds of it is what it holds of a model."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from modelworks.core.errors import UnsupportedError
from modelworks.core.graphs import Graph
from modelworks.core.tensor import Signature, Tensors
from modelworks.protocol.graphs import Checked
from modelworks.serving.batcher import Ahead, Batcher, Call, Member
from modelworks.serving.graphs.bound import Bound, Steps
from modelworks.serving.graphs.drive import Drive
from modelworks.serving.graphs.queue import GraphQueue
from modelworks.serving.live import Live
from modelworks.serving.traces import Traces


class GraphSession:
    """What stands where a model has its session; it is never called. See `core.seams.Session`.

    Args:
        graph: as declared.
        checked: against its models as they are.
        lives: of each step that asks one.
        cells: where its steps are counted.
        drive: hands members on.

    Attributes:
        graph: as given.
        checked: as given; another one where a model was replaced.
        bound: its models.
        steps: counts.
        drive: as given.
    """

    apart = True

    def __init__(
        self,
        graph: Graph,
        checked: Checked,
        lives: Sequence[Live],
        cells: memoryview,
        drive: Drive,
    ) -> None:
        self.signature: Signature = checked.signature
        self.graph = graph
        self.checked = checked
        self.drive = drive
        self.steps = Steps(cells, checked.plan.steps)
        self.bound: list[Bound | None] = [None] * len(lives)
        self.bind(checked, lives)

    def bind(self, checked: Checked, lives: Sequence[Live]) -> None:
        """Ask these models from now on; who is under way asks them with its next step.

        Unless their tensors, columns or classes are others than those that it set out with: then
        it asks on those models, as long as they answer.
        """
        pairs = zip(self.bound, lives, strict=True)
        if not all(old is None or _alike(old.live, new) for old, new in pairs):
            self.bound = [None] * len(lives)
        self.checked = checked
        for number, live in enumerate(lives):
            live.flush_to(self.drive.flush)
            self.bound[number] = Bound(live, checked.wanted[number])

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Refuse: requests go through the queues of its models."""
        raise UnsupportedError(f"a graph is no session: its inputs are {', '.join(inputs)}")

    def close(self) -> None:
        """Let go of its models, which stay. Twice is quiet."""
        self.bound[:] = [None] * len(self.bound)


class GraphLive(Live):
    """A graph under its own name; see `Live`."""

    __slots__ = ("_told", "why")

    why: str

    @property
    def graph(self) -> GraphSession:
        """Its models and its plan."""
        return cast("GraphSession", self._session)

    @property
    def queue(self) -> GraphQueue:
        """What requests wait in."""
        return cast("GraphQueue", self.batcher)

    def _queue(
        self,
        label: str,
        answer: Callable[[Call], None],
        gather: Callable[[list[Member]], Tensors],
    ) -> Ahead:
        """What requests wait in; see `Live._queue`."""
        inner = super()._queue(label, answer, gather)
        self.why = ""
        self._told: Callable[[str], None] | None = None
        session = self.graph
        return GraphQueue(
            cast("Batcher", inner),
            label,
            session.checked.plan,
            [spec.name for spec in session.signature.inputs],
            session.bound,
            session.steps,
            session.drive,
            answer,
            self._called,
        )

    def bind(self, checked: Checked, lives: Sequence[Live]) -> None:
        """Ask these models from now on; see `GraphSession.bind`."""
        session = self.graph
        session.bind(checked, lives)
        if checked.signature != self.signature:  # the same tensors, and other columns or classes
            self.signature = session.signature = checked.signature
            self.messages = None
            self._read_by(self.loaded)
        self.queue.go_by(checked.plan, session.bound)

    def _learn(self, label: str) -> None:
        """A graph has no batches of its own: a latency goal is its models'."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """Be told why it cannot answer for now, or "" when it can again; called on the loop."""
        self._told = changed

    def stirred(self, why: str) -> None:
        """Its models cannot answer for it (why), or can ("")."""
        if why != self.why:
            self.why = why
            if self._told is not None:
                self._told(why)

    def follow(self, traces: Traces) -> None:
        """Tell it of every request whose caller keeps a trace; twice is quiet."""
        self.traces = traces
        self.queue.traces = traces


def _alike(one: Live, other: Live) -> bool:
    """Whether a plan that was made for the one runs with the other: the order does not matter."""
    mine, theirs = one.signature, other.signature
    same = (mine.features, mine.classes) == (theirs.features, theirs.classes)
    return same and all(
        {(spec.name, spec.datatype, spec.shape) for spec in old}
        == {(spec.name, spec.datatype, spec.shape) for spec in new}
        for old, new in ((mine.inputs, theirs.inputs), (mine.outputs, theirs.outputs))
    )
