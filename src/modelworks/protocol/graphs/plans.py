"""A checked graph as it is run: tensors have places in a list, steps know who waits for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Places: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A model is asked.

    Attributes:
        name: of the step.
        step: its number among all steps of the graph, branches included.
        model: its number among the steps that ask models.
        inputs: the model's input -> the place of its value.
        loose: of inputs whose shape was not known before: place, the wanted axes after the rows'.
    """

    name: str
    step: int
    model: int
    inputs: tuple[tuple[str, int], ...]
    loose: tuple[tuple[str, int, tuple[int | None, ...]], ...]


@dataclass(frozen=True, slots=True)
class Operate:
    """An operation.

    Attributes:
        name: of the step.
        step: its number.
        inputs: places.
        outputs: places, -1 = nobody wants it.
        run: makes them.
    """

    name: str
    step: int
    inputs: Places
    outputs: Places
    run: Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """Rows are sent to branches, and put together again in their order.

    Attributes:
        name: of the step.
        step: its number.
        on: the place of what decides; -1 = chance does.
        choose: what decides (None where chance does), rows -> one branch a row, or one for all.
        branches: of it.
        taken: for each branch: places here -> places in it.
        outputs: places here of what branches give, in their order.
    """

    name: str
    step: int
    on: int
    choose: Callable[[Any, int], Any]
    branches: "tuple[Plan, ...]"
    taken: tuple[tuple[tuple[int, int], ...], ...]
    outputs: Places


Node: TypeAlias = Ask | Operate | Route


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a graph, or of one branch.

    Attributes:
        places: how many tensors there are.
        nodes: the steps.
        first: those that wait for none.
        waits: for how many others each waits.
        after: who waits for each.
        outputs: places of what is given.
        steps: names of all steps of the graph, branches included, by number; of a branch ().
    """

    places: int
    nodes: tuple[Node, ...]
    first: Places
    waits: Places
    after: tuple[Places, ...]
    outputs: Places
    steps: tuple[str, ...] = ()
