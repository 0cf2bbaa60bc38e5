"""A Keras model or SavedModel, loaded: its inputs and outputs by name, and its answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import Ranges
from modelworks.core.tensor import Datatype, Role, Tensors, TensorSpec
from modelworks.ext.importers.keras.framework import DATATYPES, array, tensor, tf
from modelworks.ext.importers.reasons import reason

_AUTOMATIC = re.compile(r"(keras_tensor|input|inputs|input_layer|args)(_\d+)*")


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output.

    Attributes:
        inside: its name in the SavedModel's signature.
        spec: as the world sees it.
    """

    inside: str
    spec: TensorSpec


@dataclass(frozen=True, slots=True)
class Source:
    """A loaded model.

    Attributes:
        inputs: in the model's order.
        outputs: the same.
        function: one tensor an input, by inside name -> output tensors by inside name.
        key: of the signature in the SavedModel.
        keep: writes the model as a SavedModel into a folder; None where it is one already.
        ranges: of whole numbers that index a table.
        notes: choices made.
        network: the loaded object, which owns the weights that the function uses.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    function: Callable[..., dict[str, Any]]
    key: str
    keep: Callable[[Path], None] | None
    ranges: dict[str, Ranges] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    network: Any = None

    def predict(self, tensors: Tensors) -> dict[str, Any]:
        """The model's own answers.

        Raises:
            InvalidError: it refuses these rows.
        """
        given = {p.inside: tensor(tensors[p.spec.name], p.spec.datatype) for p in self.inputs}
        try:
            found = self.function(**given)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise InvalidError(f"the model refuses these rows ({reason(error)})") from error
        return {p.spec.name: array(found[p.inside]) for p in self.outputs}


def port(inside: str, name: str, spec: Any, role: Role = Role.TENSOR) -> Port:
    """An input or output as TensorFlow describes it.

    Raises:
        UnsupportedError: of a type or a shape that is not served.
    """
    datatype = DATATYPES.get(tf.as_dtype(spec.dtype))
    if datatype is None:
        raise UnsupportedError(f"'{name}' is of type {spec.dtype}, which is not served")
    shape = tf.TensorShape(spec.shape)
    if shape.rank is None:
        raise UnsupportedError(
            f"'{name}' has no number of axes; write the model with a signature that says it "
            "(tf.TensorSpec([None, 3], tf.float32))"
        )
    axes = tuple(shape.as_list())
    score = role is Role.SCORE and axes in {(None, 1), (None,)}
    floats = datatype in {Datatype.FP16, Datatype.FP32, Datatype.FP64}
    return Port(
        inside,
        TensorSpec(
            name, datatype, axes, Role.SCORE if score and floats else Role.TENSOR, allow_nan=False
        ),
    )


def plain(names: list[str], word: str) -> list[str]:
    """Names for the world: what TensorFlow made up by counting becomes `input`, `output_1`, ..."""
    made_up = [bool(_AUTOMATIC.fullmatch(name)) for name in names]
    fresh = [word] if len(names) == 1 else [f"{word}_{i}" for i in range(len(names))]
    found = [new if auto else old for old, new, auto in zip(names, fresh, made_up, strict=True)]
    return found if len(set(found)) == len(found) else fresh
