"""Models that answer together: what a graph says, read and not yet checked against its models.

A graph is served under a name of its own, as a model is; its artifact is one file, `graph.json`.
Tensors are named by references: `$input.x` is what the caller sent, `steps.a.y` what step `a` gave,
`steps.a` its only output.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from modelworks.core.tensor import Datatype

GRAPH: Final = "graph"
"""The format of its artifact, and what serves it."""
FILE: Final = "graph.json"
MOST_STEPS: Final = 128
"""Of one graph, those of all its branches counted."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor.

    Attributes:
        step: that gives it; empty = the caller does.
        name: of it; empty = the step's only output.
    """

    step: str
    name: str

    def __str__(self) -> str:
        """As it is written."""
        if not self.step:
            return f"$input.{self.name}"
        return f"steps.{self.step}.{self.name}" if self.name else f"steps.{self.step}"


Named: TypeAlias = tuple[tuple[str, Ref], ...]
"""Name -> where its value comes from, in the order of the declaration."""


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that callers send.

    Attributes:
        name: of it.
        datatype: None = that of the models that take it.
        shape: the first axis is that of the rows; None = as those models have it.
    """

    name: str
    datatype: Datatype | None = None
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelStep:
    """A model is asked.

    Attributes:
        name: of the step.
        model: name.
        version: of it, or empty.
        alias: of it, or empty; with neither, whatever answers to the bare name.
        inputs: the model's inputs.
        where: path of the step in the file.
    """

    name: str
    model: str
    version: str
    alias: str
    inputs: Named
    where: str

    @property
    def asked(self) -> str:
        """The model as it is written: `fraud`, `fraud:1.0.0`, `fraud@champion`."""
        if self.version:
            return f"{self.model}:{self.version}"
        return f"{self.model}@{self.alias}" if self.alias else self.model


@dataclass(frozen=True, slots=True)
class OperationStep:
    """A small operation on tensors.

    Attributes:
        name: of the step.
        operation: its name.
        inputs: what it is done to.
        settings: as written, checked by the operation.
        where: path of the step in the file.
    """

    name: str
    operation: str
    inputs: Named
    settings: dict[str, Any]
    where: str


@dataclass(frozen=True, slots=True)
class Branch:
    """What rows of a router may be sent through.

    Attributes:
        steps: of it; they may use what stands outside.
        outputs: what it gives; the same names in every branch.
        where: path of the branch in the file.
    """

    steps: "tuple[Step, ...]"
    outputs: Named
    where: str


@dataclass(frozen=True, slots=True)
class When:
    """A test of one value.

    Attributes:
        test: `<`, `<=`, `>`, `>=`, `==`, `!=` or `in`.
        value: number, text or truth value; of `in` a tuple of them.
    """

    test: str
    value: Any

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.test} {self.value!r}"


@dataclass(frozen=True, slots=True)
class SwitchStep:
    """Every row goes to the first branch whose test its value passes.

    Attributes:
        name: of the step.
        on: one value a row.
        cases: in order.
        default: for rows that pass none.
        where: path of the step in the file.
    """

    name: str
    on: Ref
    cases: tuple[tuple[When, Branch], ...]
    default: Branch
    where: str

    @property
    def branches(self) -> tuple[Branch, ...]:
        """All of them, the default last."""
        return (*(branch for _, branch in self.cases), self.default)


@dataclass(frozen=True, slots=True)
class SplitStep:
    """Rows are parted by weight.

    Attributes:
        name: of the step.
        key: rows of equal keys go the same way; None = each request goes one way, by chance.
        salt: another one parts the same keys anew.
        weights: one a branch, above 0.
        branches: as many.
        where: path of the step in the file.
    """

    name: str
    key: Ref | None
    salt: str
    weights: tuple[float, ...]
    branches: tuple[Branch, ...]
    where: str


Step: TypeAlias = ModelStep | OperationStep | SwitchStep | SplitStep


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph.

    Attributes:
        name: that it is served under.
        inputs: what callers send.
        steps: in any order: what each needs says when it runs.
        outputs: what callers get.
        description: for people.
    """

    name: str
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: Named
    description: str = field(default="")

    def models(self) -> tuple[ModelStep, ...]:
        """Every step that asks a model, those of branches too, in the order of the file."""
        return tuple(step for step in every(self.steps) if isinstance(step, ModelStep))


def every(steps: tuple[Step, ...]) -> Iterator[Step]:
    """The steps, and those of their branches behind each."""
    for step in steps:
        yield step
        if isinstance(step, SwitchStep | SplitStep):
            for branch in step.branches:
                yield from every(branch.steps)
