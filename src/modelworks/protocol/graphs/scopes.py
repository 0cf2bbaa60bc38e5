"""The steps of a graph or of one branch, while they are checked."""

from modelworks.core.graphs import Ref, Step
from modelworks.protocol.graphs.plans import Node, Plan
from modelworks.protocol.graphs.typed import Typed


class Scope:
    """The steps of a graph or of one branch, while they are checked.

    Args:
        steps: of it.
        outer: what it stands in; None = it is the graph.

    Attributes:
        outer: as given.
        steps: by name.
        given: step -> output -> what is known of it; of steps that were checked.
        places: of tensors that are used.
        taken: tensors that come from outside, and their places here.
        nodes: the steps as they are run, in their order.
        needs: of each node the steps that it waits for.
        count: of places.
    """

    def __init__(self, steps: tuple[Step, ...], outer: "Scope | None") -> None:
        self.outer = outer
        self.steps = {step.name: step for step in steps}
        self.given: dict[str, dict[str, Typed]] = {}
        self.places: dict[Ref, int] = {}
        self.taken: list[tuple[Ref, int]] = []
        self.nodes: list[Node] = []
        self.needs: list[frozenset[str]] = []
        self.count = 0

    def fresh(self) -> int:
        """A place for one more tensor."""
        self.count += 1
        return self.count - 1

    def plan(self, outputs: tuple[int, ...]) -> Plan:
        """The steps as they are run; `outputs` are places."""
        names = [node.name for node in self.nodes]
        after = tuple(
            tuple(at for at, needs in enumerate(self.needs) if name in needs) for name in names
        )
        waits = tuple(len(needs) for needs in self.needs)
        first = tuple(at for at, count in enumerate(waits) if not count)
        return Plan(self.count, tuple(self.nodes), first, waits, after, outputs)
