"""What a form looks like inside: its operators, and the values that flow between them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a graph.

    Attributes:
        name: of it; empty = it has none.
        kind: its type (`Conv`).
        inputs: names of the values that it reads; empty = one that is left out.
        outputs: names of the values that it makes.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def title(self) -> str:
        """What people find it by: its name and type, or what it makes."""
        made = next((one for one in self.outputs if one), "")
        return f"{self.name or made} ({self.kind})"


@dataclass(frozen=True, slots=True)
class Inside:
    """The graph of a form.

    Attributes:
        operators: each after those whose values it reads.
        inputs: names of the values that callers send.
        outputs: names of the values that callers get, as the signature has them.
        constants: names of the values that are stored in the file.
        bits: fewest that values or weights have: 32 (or 64), 16, 8 or 4.
    """

    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: frozenset[str]
    bits: int = 32
