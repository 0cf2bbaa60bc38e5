"""What a user gives `infer`, made into the arrays that the model takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.protocol.tensors import DTYPES, Array


def specs(metadata: Sequence[Mapping[str, Any]]) -> dict[str, TensorSpec]:
    """Tensors of the model's metadata document, by name."""
    return {
        entry["name"]: TensorSpec(
            entry["name"],
            Datatype(entry["datatype"]),
            tuple(None if axis == -1 else axis for axis in entry["shape"]),
        )
        for entry in metadata
    }


def cast(inputs: Mapping[str, Any], wanted: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """The inputs as arrays of the model's datatypes, in the order given.

    Args:
        inputs: name -> array, or what numpy makes an array of.
        wanted: the model's inputs; values are cast to their datatypes where nothing is lost but
            precision.

    Raises:
        InvalidError: a missing or unknown input, or values of another kind; `field` is its name.
    """
    names = ", ".join(wanted)
    for name in wanted.keys() - inputs.keys():
        raise InvalidError(f"input '{name}' is missing: the model takes {names}", field=name)
    for name in inputs.keys() - wanted.keys():
        raise InvalidError(f"there is no input '{name}': the model takes {names}", field=name)
    return {name: _cast(wanted[name], value) for name, value in inputs.items()}


def _cast(spec: TensorSpec, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidError(f"input '{spec.name}' is no array: {error}", field=spec.name) from error
    if spec.datatype is Datatype.BYTES:
        if array.dtype.kind not in "OSU":
            raise InvalidError(
                f"input '{spec.name}' takes text, got {array.dtype}", field=spec.name
            )
        return array.astype(object)
    if spec.datatype is Datatype.BF16 and array.dtype.kind == "f" and array.dtype.itemsize > 2:
        # The upper half of a float32, rounded to nearest even.
        bits = array.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    dtype = DTYPES[spec.datatype]
    if array.dtype.kind in "iu" and dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise InvalidError(
                f"input '{spec.name}': values beyond {spec.datatype.value}", field=spec.name
            )
        return array.astype(dtype)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise InvalidError(
            f"input '{spec.name}' is {spec.datatype.value}, got {array.dtype}: convert it first",
            field=spec.name,
        )
    return array.astype(dtype)
