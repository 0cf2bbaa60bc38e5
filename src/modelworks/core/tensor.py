"""Tensors as they are described, not held: the Open Inference Protocol's names and types."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from modelworks.core.ragged import Ragged
from modelworks.core.steps import InputSteps

Tensors: TypeAlias = Mapping[str, Any]
"""Name -> numpy array. `core` does not import numpy."""


class Datatype(StrEnum):
    """The datatypes of the Open Inference Protocol v2."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"


class Role(StrEnum):
    """What an output means to a human reader."""

    LABEL = "label"  # the predicted class, one a row
    PROBABILITIES = "probabilities"  # [rows, classes], in the order of Signature.classes
    SCORE = "score"  # anything numeric: regression, decision function, distance
    TENSOR = "tensor"  # no claim


class Layout(StrEnum):
    """How plain rows become input tensors."""

    TENSORS = "tensors"  # rows have no meaning of their own; a row maps input name -> value
    MATRIX = "matrix"  # one input [rows, len(features)]
    COLUMNS = "columns"  # one input [rows, 1] a feature, named as the feature


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named tensor.

    Attributes:
        name: as the engine knows it.
        datatype: element type.
        shape: axis lengths; `None` is a dynamic axis. Axis 0 is the batch where it is dynamic.
        role: what an output means; inputs keep `Role.TENSOR`.
        categories: known values of a categorical input; empty = not known or not categorical.
        allow_nan: whether NaN (JSON `null`) is a legal element: the model handles missing values.
    """

    name: str
    datatype: Datatype
    shape: tuple[int | None, ...]
    role: Role = Role.TENSOR
    categories: tuple[str, ...] = ()
    allow_nan: bool = True


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        inputs: in the engine's order.
        outputs: in the engine's order.
        layout: how plain rows map to the inputs.
        features: column names in order; empty when the model never knew names.
        classes: class labels in the order of the probability columns; empty when there are none.
        steps: what is done to the inputs before the model sees them; the inputs are what callers
            send.
        ragged: the axis along which requests may differ in length and still share a call; None =
            nobody said that there is one. Nothing where the inputs it speaks of are not there.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layout: Layout = Layout.TENSORS
    features: tuple[str, ...] = ()
    classes: tuple[str | int | float | bool, ...] = ()
    steps: tuple[InputSteps, ...] = ()
    ragged: Ragged | None = None

    def output(self, role: Role) -> TensorSpec | None:
        """The first output of that role."""
        return next((spec for spec in self.outputs if spec.role is role), None)

    @property
    def batch_axis(self) -> bool:
        """Whether axis 0 of every tensor is dynamic: the precondition of batching."""
        specs = (*self.inputs, *self.outputs)
        return bool(self.inputs) and all(spec.shape[:1] == (None,) for spec in specs)

    def accepts(self, older: "Signature") -> bool:
        """Whether a caller written for `older` is still served: same inputs, no output lost."""
        mine = {spec.name: (spec.datatype, spec.shape) for spec in self.inputs}
        theirs = {spec.name: (spec.datatype, spec.shape) for spec in older.inputs}
        outputs = {spec.name: spec.datatype for spec in self.outputs}
        kept = all(outputs.get(spec.name) is spec.datatype for spec in older.outputs)
        return mine == theirs and kept and self.features == older.features
