"""One operator of the graph while it is traced, and the two kinds of values that it works on.

A value is known (a NumPy array: weights, shapes) or traced (JAX's). Lengths of free axes are known
values too: symbols of JAX in an array of objects. What is computed from known values alone stays
known, so that shapes which an exporter wrote as ten operators are shapes in the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from modelworks.core.errors import UnsupportedError

Value = Any


@dataclass(frozen=True, slots=True)
class Node:
    """An operator.

    Attributes:
        kind: `Conv`, `com.microsoft.Gelu`.
        name: in the graph.
        given: its attributes.
        opset: version of ONNX's own operators.
        outputs: how many of them are read.
    """

    kind: str
    name: str
    given: Mapping[str, Any]
    opset: int
    outputs: int = 1

    def refuse(self, why: str) -> NoReturn:
        """Say why it cannot be translated.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError(f"jax_export: {self.kind} '{self.name[:60]}': {why}")


def known(*values: Value) -> bool:
    """Whether all of them are known while the graph is traced; None = an input left out."""
    return all(value is None or isinstance(value, np.ndarray) for value in values)


def symbolic(value: Value) -> bool:
    """Whether it has lengths of free axes."""
    return isinstance(value, np.ndarray) and value.dtype == object


def traced(value: Value) -> Value:
    """As JAX computes with it."""
    if not symbolic(value):
        return jnp.asarray(value)
    parts = [jnp.asarray(one, np.int64) for one in value.ravel().tolist()]
    return jnp.stack(parts).reshape(value.shape)


def lengths(node: Node, value: Value, what: str = "its shape") -> tuple[Any, ...]:
    """A known value as numbers and symbols."""
    if not known(value):
        node.refuse(f"{what} depends on the data")
    return tuple(
        one if symbolic(value) and not isinstance(one, int | np.integer) else int(one)
        for one in value.ravel().tolist()
    )


def axes_of(node: Node, value: Value, since: int, name: str = "axes") -> tuple[int, ...] | None:
    """Axes, an attribute before operator set `since` and an input from there on; None = not said.

    Args:
        node: the operator.
        value: of that input; None where there is none.
        since: operator set.
        name: of the attribute.
    """
    if node.opset < since or value is None:
        found = node.given.get(name)
        return None if found is None else tuple(int(one) for one in np.atleast_1d(found))
    if not known(value) or symbolic(value):
        node.refuse("its axes are computed")
    return tuple(int(one) for one in value.ravel())


def axis_within(axis: int, rank: int) -> int:
    """A negative axis counts from the end."""
    return axis + rank if axis < 0 else axis


def array_of(lengths_: tuple[Any, ...]) -> Value:
    """Numbers and symbols as a known value."""
    if all(isinstance(one, int | np.integer) for one in lengths_):
        return np.array(lengths_, np.int64)
    found = np.empty(len(lengths_), object)
    for place, one in enumerate(lengths_):
        found[place] = one
    return found
