"""The function of a graph, traced once for all numbers of rows, as bytes of `jax.export`."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import jax
import numpy as np
import onnx
from jax import export

from modelworks.core.errors import ModelworksError, UnsupportedError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.formats.onnx_model import short
from modelworks.ext.passes.jax.follow import Function
from modelworks.protocol.tensors import DTYPES

ROWS: Final = "rows"
"""The symbol of the first axis."""

_LACKING: Final = {Datatype.BYTES: "a text", Datatype.BF16: "bfloat16"}


def lacking(specs: Sequence[TensorSpec], platforms: str) -> str:
    """Which of the model's own inputs and outputs have no form there; empty = all have one."""
    for spec in specs:
        if spec.datatype in _LACKING:
            return f"'{spec.name[:60]}' is {_LACKING[spec.datatype]}, which has no form here"
        if spec.datatype is Datatype.FP64 and "tpu" in platforms:
            return (
                f"'{spec.name[:60]}' is float64, which TPUs do not compute: platforms=cpu or cuda"
            )
    return ""


def symbols(graph: onnx.GraphProto, specs: Sequence[TensorSpec]) -> dict[str, tuple[Any, ...]]:
    """The shape of each input: numbers, and symbols where an axis is free.

    Free axes that the graph calls the same have the same symbol; the first axes are the rows.
    """
    scope = export.SymbolicScope()
    given = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    found = {}
    for number, spec in enumerate(specs):
        words = []
        for axis, size in enumerate(spec.shape):
            called = given[spec.name][axis].dim_param if spec.name in given else ""
            own = re.sub(r"\W", "_", called) or f"{number}_{axis}"
            free = ROWS if axis == 0 else f"free_{own}"
            words.append(free if size is None else str(size))
        shape = export.symbolic_shape(", ".join(words), scope=scope) if words else ()
        found[spec.name] = tuple(shape)
    return found


def written(
    function: Function,
    specs: Sequence[TensorSpec],
    shapes: dict[str, tuple[Any, ...]],
    platforms: Sequence[str],
    precision: str,
) -> bytes:
    """The function as `jax.export` serialises it; the same function gives the same bytes.

    Args:
        function: of the inputs in the order of `specs`.
        specs: of the inputs.
        shapes: of each, see `symbols`.
        platforms: that it is lowered for.
        precision: of products of float32: `highest`, or `default`: as the platform likes.

    Raises:
        UnsupportedError: it cannot be traced with free axes.
    """
    wanted = [jax.ShapeDtypeStruct(shapes[s.name], DTYPES[s.datatype]) for s in specs]
    with exact(precision):
        try:
            made = export.export(jax.jit(function), platforms=list(platforms))(*wanted)
            return bytes(made.serialize())
        except (ModelworksError, MemoryError):
            raise
        except Exception as error:  # JAX raises what it likes
            raise UnsupportedError(
                f"jax_export: the graph cannot be traced for any number of rows: {short(error)}"
            ) from error


@contextmanager
def exact(precision: str) -> Iterator[None]:
    """Integers of 64 bits stay so, products are as precise as asked, and no path of ours is kept.

    Args:
        precision: see `written`.
    """
    before = jax.config.jax_traceback_in_locations_limit
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        with _wide(), jax.default_matmul_precision(precision):
            yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", before)


def _wide() -> Any:
    return jax.enable_x64(True)  # noqa: FBT003 - JAX's own


def called(data: bytes, inputs: Sequence[Any]) -> list[Any]:
    """What serialised bytes answer on this machine's CPU."""
    with _wide():
        found = export.deserialize(bytearray(data)).call(*inputs)
    return [np.asarray(one) for one in found]


def traced_here(function: Function, inputs: Sequence[Any], precision: str) -> list[Any]:
    """What the function answers, compiled for this machine's CPU."""
    with exact(precision):
        found = jax.jit(function)(*inputs)
    return [np.asarray(one) for one in found]
