"""Sizes of inputs to try a network with: every free axis in two lengths, rows in four."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import TensorSpec
from modelworks.ext.importers.torch.source import DTYPES

Lengths = tuple[int, ...]
Maker = Callable[[int, Lengths], list[torch.Tensor]]
"""Rows, and the length of each free axis -> one tensor an input."""

ROWS: Final = (1, 2, 7, 16)
_LARGEST = 10  # integers are below it: they may be indices of an embedding
_LENGTHS: Final[tuple[tuple[Lengths, Lengths], ...]] = (
    ((5, 6, 8), (9, 7, 4)),
    ((5, 5, 5), (7, 7, 7)),  # axes that must be as long as each other
    ((64, 96, 32), (96, 32, 64)),  # images, halved five times
    ((64, 64, 64), (96, 96, 96)),
    ((224, 224, 224), (256, 256, 256)),
)


@dataclass(frozen=True, slots=True)
class Shapes:
    """Inputs in the sizes to try.

    Attributes:
        inputs: what the network takes.
        lengths: of its free axes beside the rows, twice; an axis has the same place in each input.
        make: the tensors; the same question gets the same answer.
    """

    inputs: tuple[TensorSpec, ...]
    lengths: tuple[Lengths, Lengths]
    make: Maker

    @property
    def example(self) -> list[torch.Tensor]:
        """What the exporters are shown: two rows, so that a baked size cannot be a one."""
        return self.make(2, self.lengths[0])

    @property
    def apart(self) -> list[list[torch.Tensor]]:
        """Two sets that differ in every free axis; one set where there is none."""
        if not self.free:
            return [self.example]
        return [self.example, self.make(3, self.lengths[1])]

    @property
    def free(self) -> bool:
        """Whether any axis is."""
        return any(None in spec.shape for spec in self.inputs)

    def every(self) -> Iterator[list[torch.Tensor]]:
        """The example, then all rows in both lengths; nothing twice."""
        rows = ROWS if any(spec.shape[:1] == (None,) for spec in self.inputs) else (2,)
        longer = any(None in spec.shape[1:] for spec in self.inputs)
        sizes = [(n, each) for each in self.lengths[: 1 + longer] for n in rows]
        sizes.sort(key=lambda size: size != (2, self.lengths[0]))
        for count, each in sizes:
            yield self.make(count, each)

    def said(self, tensors: Sequence[torch.Tensor]) -> str:
        """`x[2,3,32,32], mask[2,5]`."""
        parts = (
            f"{spec.name}[{','.join(map(str, tensor.shape))}]"
            for spec, tensor in zip(self.inputs, tensors, strict=True)
        )
        return ", ".join(parts)


def accepted(
    inputs: tuple[TensorSpec, ...], make: Maker, call: Callable[..., Any]
) -> tuple[Shapes, Exception | None]:
    """The first lengths that the source takes.

    Args:
        inputs: what it is said to take.
        make: the tensors.
        call: the source, by position.

    Returns:
        The shapes, and why the source takes none of them: None where it does.

    Raises:
        UnsupportedError: what it gives is not served.
    """
    choices = _LENGTHS if any(None in spec.shape[1:] for spec in inputs) else _LENGTHS[:1]
    first: Exception | None = None
    for lengths in choices:
        shapes = Shapes(inputs, lengths, make)
        try:
            for tensors in shapes.apart:
                call(*tensors)
        except (UnsupportedError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the network's own code raises
            first = first or error
            continue
        return shapes, None
    return Shapes(inputs, choices[0], make), first


def random(inputs: Sequence[TensorSpec]) -> Maker:
    """Tensors of random numbers, small whole numbers where those are wanted."""

    def make(rows: int, lengths: Lengths) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(rows)
        return [_random(spec, sizes(spec, rows, lengths), generator) for spec in inputs]

    return make


def sizes(spec: TensorSpec, rows: int, lengths: Lengths) -> list[int]:
    """The shape with its free axes filled: the second axis has the first of the lengths."""
    return [
        extent if extent is not None else rows if axis == 0 else lengths[(axis - 1) % len(lengths)]
        for axis, extent in enumerate(spec.shape)
    ]


def _random(spec: TensorSpec, shape: list[int], generator: torch.Generator) -> torch.Tensor:
    dtype = DTYPES[spec.datatype]
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    most = 2 if dtype is torch.bool else _LARGEST
    return torch.randint(0, most, shape, generator=generator).to(dtype)


def missing(shapes: Shapes) -> list[torch.Tensor]:
    """Seven rows, where a third of the real numbers is missing."""
    generator = torch.Generator().manual_seed(7)
    made = []
    for tensor in shapes.make(7, shapes.lengths[0]):
        if tensor.dtype.is_floating_point:
            gone = torch.rand(tensor.shape, generator=generator) < 1 / 3
            made.append(tensor.masked_fill(gone, float("nan")))
        else:
            made.append(tensor)
    return made
