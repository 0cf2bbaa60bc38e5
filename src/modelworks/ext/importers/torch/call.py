"""Calls a PyTorch model with arrays: the same for the import and for serving it as it is."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Datatype, Tensors, TensorSpec
from modelworks.ext.importers.torch.source import DATATYPES, DTYPES, Source


def run(source: Source, tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The source's outputs by name, see `named`."""
    with torch.no_grad():
        return named(source.call(*tensors))


def named(result: Any) -> dict[str, torch.Tensor]:
    """What a network returned by name: a dictionary's own, else `output` or `output_0`, ...

    Raises:
        UnsupportedError: it is no tensor and holds none, or of a type that is not served.
    """
    if isinstance(result, torch.Tensor):
        result = {"output": result}
    elif isinstance(result, tuple | list):
        result = {f"output_{i}": tensor for i, tensor in enumerate(result)}
    if not isinstance(result, dict) or not result:
        raise UnsupportedError(f"the model returns a {type(result).__name__}, no tensors")
    for name, tensor in result.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in DATATYPES:
            kind = getattr(tensor, "dtype", type(tensor).__name__)
            raise UnsupportedError(f"the model's output {name} is a {kind}, which is not served")
    return {str(name): tensor for name, tensor in result.items()}


def is_real(spec: TensorSpec) -> bool:
    """Whether its numbers can be missing ones; BF16 comes as bit patterns and cannot tell."""
    return spec.datatype in {Datatype.FP16, Datatype.FP32, Datatype.FP64}


def array(tensor: torch.Tensor) -> Any:
    """A tensor as an array; BF16 as bit patterns."""
    if tensor.dtype is torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


def tensor(array: Any, spec: TensorSpec) -> torch.Tensor:
    """An array as a tensor of its own memory."""
    array = np.ascontiguousarray(array)
    if spec.datatype is Datatype.BF16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy()).to(DTYPES[spec.datatype])


def predictor(source: Source, inputs: tuple[TensorSpec, ...]) -> Callable[[Tensors], Tensors]:
    """The source model behind the converted one's inputs and outputs."""

    def predict(tensors: Tensors) -> Tensors:
        found = run(source, [tensor(tensors[spec.name], spec) for spec in inputs])
        return {name: array(tensor) for name, tensor in found.items()}

    return predict
