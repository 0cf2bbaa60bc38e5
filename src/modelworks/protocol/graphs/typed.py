"""What is known of a tensor between two steps, before any request has come."""

from dataclasses import dataclass
from typing import NoReturn

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Role, TensorSpec

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Typed:
    """A tensor of a graph.

    Attributes:
        datatype: of its elements.
        shape: the first axis is that of the rows, and None.
        role: what it means, where a model or an operation said so.
        classes: of probabilities or labels; () = not known.
        spec: the model's own description, of what a model gives; None = made by an operation.
    """

    datatype: Datatype
    shape: Shape
    role: Role = Role.TENSOR
    classes: tuple[str | int | float | bool, ...] = ()
    spec: TensorSpec | None = None

    @property
    def words(self) -> str:
        """`FP32 [?, 3]`."""
        return f"{self.datatype} {axes(self.shape)}"


def axes(shape: Shape) -> str:
    """`[?, 3]`."""
    return f"[{', '.join('?' if axis is None else str(axis) for axis in shape)}]"


def fits(given: Shape, wanted: Shape) -> bool:
    """Whether a tensor of the one shape may be one of the other."""
    return len(given) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(given, wanted, strict=True)
    )


def refuse(words: str, where: str) -> NoReturn:
    """Say what is wrong, and where.

    Raises:
        InvalidError: always.
    """
    raise InvalidError(words, field=where)
