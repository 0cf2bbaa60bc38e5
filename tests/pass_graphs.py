"""Small graphs that passes are tried on beside those of `testing.pass_models`."""

from onnx import helper

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing import onnx_models
from modelworks.testing.passes import PassSource


def graph(folder, nodes, outputs=("y",), kind=Datatype.FP32, **constants):
    """A model `x [rows, 2]` -> outputs of the same shape."""
    folder.mkdir()
    shape = (None, 2)
    ends = [onnx_models.info(name, kind, shape) for name in ("x", *outputs)]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    specs = [TensorSpec(name, kind, shape) for name in ("x", *outputs)]
    return PassSource(folder, "onnx", Signature(tuple(specs[:1]), tuple(specs[1:])))


def foreign(folder):
    """An operator of classical models, which engines of networks do not have."""
    return graph(folder, [helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml")])
