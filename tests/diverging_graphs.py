"""Networks, and forms of them in which something was spoilt on purpose."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize.forms import Form
from modelworks.testing import onnx_models

ENGINES = {"onnx": "onnxruntime", "openvino-ir": "openvino", "tflite": "litert"}


def form(folder, signature, format_="onnx", **options):
    run = Execution(ENGINES[format_], tuple(sorted(options.items())))
    return Form(Recipe(run=run), folder, format_, signature)


def written(folder, nodes, constants, row, out, kind=Datatype.FP32):
    """A graph `x [rows, *row]` -> `y [rows, *out]` as a form."""
    folder.mkdir(parents=True)
    ends = [onnx_models.info("x", kind, (None, *row)), onnx_models.info("y", kind, (None, *out))]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    specs = TensorSpec("x", kind, (None, *row)), TensorSpec("y", kind, (None, *out))
    return form(folder, Signature(specs[:1], specs[1:]))


def cnn(folder, seed=0):
    """Three convolutions and a dense layer over `[rows, 3, 8, 8]`, with names as exporters give."""
    numbers = np.random.default_rng(seed)
    nodes, constants, before, width = [], {}, "x", 3
    for layer, wide in enumerate((8, 8, 8), 1):
        constants[f"layer{layer}.weight"] = _weights(numbers, wide, width, 3, 3)
        constants[f"layer{layer}.bias"] = _weights(numbers, wide)
        read = [before, f"layer{layer}.weight", f"layer{layer}.bias"]
        nodes += [
            helper.make_node("Conv", read, [f"c{layer}"], f"/layer{layer}/Conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"], f"/layer{layer}/Relu"),
        ]
        before, width = f"r{layer}", wide
    constants |= {"head.weight": _weights(numbers, 8, 5), "head.bias": _weights(numbers, 5)}
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["p"], "/pool"),
        helper.make_node("Flatten", ["p"], ["f"], "/flatten"),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["y"], "/head/Gemm"),
    ]
    return written(folder, nodes, constants, (3, 8, 8), (5,))


def branches(folder):
    """Two branches that are added: `left` and `right`."""
    numbers = np.random.default_rng(1)
    nodes = [
        helper.make_node("MatMul", ["x", "wl"], ["l1"], "left/MatMul"),
        helper.make_node("Tanh", ["l1"], ["l2"], "left/Tanh"),
        helper.make_node("MatMul", ["x", "wr"], ["r1"], "right/MatMul"),
        helper.make_node("Sigmoid", ["r1"], ["r2"], "right/Sigmoid"),
        helper.make_node("Add", ["l2", "r2"], ["s"], "join/Add"),
        helper.make_node("MatMul", ["s", "wo"], ["y"], "out/MatMul"),
    ]
    weights = {name: _weights(numbers, 6, 6) for name in ("wl", "wr", "wo")}
    return written(folder, nodes, weights, (6,), (6,))


def rows(source, count=32, seed=5):
    shape = source.signature.inputs[0].shape[1:]
    numbers = np.random.default_rng(seed)
    return {"x": numbers.normal(size=(count, *shape)).astype(np.float32)}


def spoilt(source, into, change):
    """A copy of a form whose graph `change` has changed in place."""
    into.mkdir(parents=True)
    model = onnx.load(source.folder / "model.onnx")
    change(model)
    (into / "model.onnx").write_bytes(model.SerializeToString())
    return form(into, source.signature)


def weight(name, change):
    """A change of one stored tensor."""

    def changed(model):
        one = next(one for one in model.graph.initializer if one.name == name)
        values = change(numpy_helper.to_array(one).copy())
        one.CopyFrom(numpy_helper.from_array(values, name))

    return changed


def operator(name, kind, **attributes):
    """A change of one operator into another of the same ends."""

    def changed(model):
        one = next(one for one in model.graph.node if one.name == name)
        one.op_type = kind
        del one.attribute[:]
        one.attribute.extend(helper.make_attribute(n, value) for n, value in attributes.items())

    return changed


def _weights(numbers, *shape):
    wide = int(np.prod(shape[1:])) if len(shape) != 2 else shape[0]
    return (numbers.normal(size=shape) / np.sqrt(max(1, wide))).astype(np.float32)
