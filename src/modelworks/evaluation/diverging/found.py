"""What came of following two forms of a model."""

from dataclasses import dataclass, field
from typing import Final

from modelworks.evaluation.diverging.pairing import Stage

TOLERANCES: Final = {4: 0.2, 8: 0.1, 16: 0.02}
"""How far apart values may be, by the fewest bits that the second form has."""
EXACT: Final = 1e-3
"""The same where both forms have as many: float32 in another order costs some 1e-6."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that was held against its counterpart.

    Attributes:
        name: in the first form.
        apart: how far (`meters.Meter`): a share of the value's own size.
        stage: stored, made or rounded.
    """

    name: str
    apart: float
    stage: Stage


@dataclass(frozen=True, slots=True)
class Origin:
    """A value that differs while everything that it is computed from agrees.

    Attributes:
        value: its name in the first form.
        stage: of it.
        kind: type of the first form's operator; of an input, of the one that rounds it.
        operator: that operator's name, or what it makes.
        other: name and type of the second form's operator.
        apart: how far.
        inputs: what the operator reads, with how far that is apart.
        rows: numbers of the rows that are farthest apart.
        first_range: smallest and largest number in the first form.
        second_range: the same in the second.
        worst: the two numbers that differ most.
        why: a guess, one clause.
    """

    value: str
    stage: Stage
    kind: str
    operator: str
    other: str
    apart: float
    inputs: tuple[Seen, ...]
    rows: tuple[int, ...]
    first_range: tuple[float, float]
    second_range: tuple[float, float]
    worst: tuple[float, float]
    why: str

    @property
    def title(self) -> str:
        """Where, in few words."""
        place = self.operator if self.kind in self.operator else f"{self.operator} ({self.kind})"
        if self.stage is Stage.STORED:
            return f"{place}, in its weights '{self.value}'"
        if self.stage is Stage.ROUNDED:
            return f"{place}, where '{self.value}' is rounded"
        return place


@dataclass(frozen=True, slots=True)
class Parting:
    """Where two forms part, or that they agree.

    Attributes:
        agree: no output is farther apart than the tolerance.
        tolerance: a share of the values' own size.
        rows: whose outputs were compared.
        looked: rows whose inner values were followed; 0 = there was no need.
        outputs: every output, with how far it is apart.
        first: where they part first; None = they agree, or it could not be found.
        others: other places where a difference begins that reaches an output.
        adds: operators that add most to the distance, with how much.
        compared: values that were held against each other.
        alone: operators of the second form that make no value of the first.
        notes: what is to be known besides, one sentence each.
    """

    agree: bool
    tolerance: float
    rows: int
    looked: int
    outputs: tuple[Seen, ...]
    first: Origin | None = None
    others: tuple[Origin, ...] = ()
    adds: tuple[Seen, ...] = ()
    compared: int = 0
    alone: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def apart(self) -> float:
        """How far the outputs are apart."""
        return max((one.apart for one in self.outputs), default=0.0)

    @property
    def summary(self) -> str:
        """One line."""
        if self.agree:
            return (
                f"they agree: no output of {self.rows} rows is farther apart than "
                f"{said(self.apart)} of its size (the tolerance is {self.tolerance:g})"
            )
        if self.first is None:
            return f"the outputs are {said(self.apart)} apart, and no value inside tells where"
        first = self.first
        return f"parts first at {first.title}: {said(first.apart)} apart; {first.why}"


def said(apart: float) -> str:
    """A distance in words."""
    if apart >= 1e8:
        return "endlessly"
    return f"{apart:.2g}"
