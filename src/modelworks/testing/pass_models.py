"""Small models that passes are tried on, as artifacts with calibration rows. Random weights."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing import onnx_models
from modelworks.testing.pass_cases import PassSource

MODULES = (
    "onnx",
    "onnxruntime.quantization.matmul_nbits_quantizer",
    "onnxruntime.transformers.optimizer",
    "onnxslim",
)
"""What passes of ONNX graphs import: one sandbox can have it ready for all of them."""

PIXELS, IMAGE, TOKENS = 64, (1, 8, 8), 8
_FLOATS = Datatype.FP32


def matrix_rows(rows: int, seed: int = 1) -> dict[str, Any]:
    """Rows for `mlp`."""
    numbers = np.random.default_rng(seed)
    return {"x": numbers.uniform(0, 1, (rows, PIXELS)).astype(np.float32)}


def image_rows(rows: int, seed: int = 1) -> dict[str, Any]:
    """Rows for `cnn`."""
    numbers = np.random.default_rng(seed)
    return {"x": numbers.uniform(0, 1, (rows, *IMAGE)).astype(np.float32)}


def token_rows(rows: int, seed: int = 1) -> dict[str, Any]:
    """Rows for `attention`."""
    numbers = np.random.default_rng(seed)
    mask = np.ones((rows, TOKENS), np.int64)
    mask[::2, TOKENS // 2 :] = 0
    ids = numbers.integers(0, 100, (rows, TOKENS)).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask}


def mlp(folder: Path, widths: tuple[int, ...] = (64, 32), classes: int = 10) -> PassSource:
    """Dense layers with ReLU between them; `[rows, 64]` -> logits."""
    numbers = np.random.default_rng(0)
    nodes, constants, at, into = [], {}, "x", PIXELS
    for place, out in enumerate((*widths, classes)):
        last = place == len(widths)
        weights, bias = f"w{place}", f"b{place}"
        constants[weights] = (numbers.normal(size=(into, out)) * (2 / into) ** 0.5).astype("f4")
        constants[bias] = (numbers.normal(size=out) * 0.1).astype("f4")
        sums = "logits" if last else f"s{place}"
        nodes.append(helper.make_node("Gemm", [at, weights, bias], [sums], f"dense{place}"))
        if not last:
            nodes.append(helper.make_node("Relu", [sums], [f"r{place}"], f"relu{place}"))
        at, into = f"r{place}", out
    return _source(folder, nodes, constants, (None, PIXELS), (None, classes), matrix_rows(48))


def cnn(folder: Path, channels: int = 8) -> PassSource:
    """A convolution, one a channel, one of 1x1 around a shortcut, the mean, and a dense layer."""
    numbers = np.random.default_rng(0)

    def random(*shape: int) -> Any:
        return (numbers.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5).astype("f4")

    node = helper.make_node
    wide: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], "first", **wide),
        node("Relu", ["c0"], ["r0"], "relu0"),
        node("Conv", ["r0", "w1", "b1"], ["c1"], "depth", group=channels, **wide),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], "point", kernel_shape=[1, 1]),
        node("Add", ["c2", "r0"], ["a"], "shortcut"),
        node("GlobalAveragePool", ["a"], ["m"], "mean"),
        node("Flatten", ["m"], ["f"], "flat"),
        node("Gemm", ["f", "w3", "b3"], ["logits"], "head"),
    ]
    constants = {
        "w0": random(channels, 1, 3, 3),
        "w1": random(channels, 1, 3, 3),
        "w2": random(channels, channels, 1, 1),
        "w3": random(10, channels).T.copy(),
        **{f"b{place}": random(channels) * np.float32(0.1) for place in range(3)},
        "b3": random(10) * np.float32(0.1),
    }
    return _source(folder, nodes, constants, (None, *IMAGE), (None, 10), image_rows(48))


def attention(folder: Path, layers: int = 1, width: int = 32) -> PassSource:
    """Token ids to a vector, by attention under a mask of -1e9; see `onnx_models.transformer`."""
    folder.mkdir(parents=True)
    onnx_models.transformer(folder / "model.onnx", layers, width, axes=False)
    tokens = (None, None)
    inputs = tuple(TensorSpec(n, Datatype.INT64, tokens) for n in ("input_ids", "attention_mask"))
    signature = Signature(inputs, (TensorSpec("embedding", _FLOATS, (None, width)),))
    return PassSource(folder, "onnx", signature, _kept(folder, token_rows(48)))


def bert(folder: Path, width: int = 16, heads: int = 2) -> PassSource:
    """One layer as BERT's exporters write it: attention, shortcuts, normalisation, GELU."""
    folder.mkdir(parents=True)
    numbers, node = np.random.default_rng(0), helper.make_node
    nodes: list[Any] = []
    constants: dict[str, Any] = {
        "table": numbers.normal(size=(100, width)).astype("f4"),
        "heads": np.array([0, 0, heads, width // heads], np.int64),
        "joined": np.array([0, 0, width], np.int64),
        "one": np.float32(1),
        "two": np.float32(2**0.5),
        "half": np.float32(0.5),
        "far": np.float32(-10000),
        "root": np.float32((width / heads) ** 0.5),
        "first": np.array([1], np.int64),
        "second": np.array([2], np.int64),
    }

    def add(kind: str, inputs: list[str], out: str, **given: Any) -> str:
        nodes.append(node(kind, inputs, [out], f"{kind}_{out}", **given))
        return out

    def dense(at: str, name: str, into: int, out: int) -> str:
        constants[f"w_{name}"] = (numbers.normal(size=(into, out)) * into**-0.5).astype("f4")
        constants[f"b_{name}"] = (numbers.normal(size=out) * 0.1).astype("f4")
        return add("Add", [f"b_{name}", add("MatMul", [at, f"w_{name}"], f"m_{name}")], name)

    def normal(at: str, name: str) -> str:
        constants[f"g_{name}"] = np.ones(width, "f4")
        constants[f"z_{name}"] = np.zeros(width, "f4")
        ends = [at, f"g_{name}", f"z_{name}"]
        return add("LayerNormalization", ends, name, axis=-1, epsilon=1e-12)

    def apart(at: str, name: str, order: list[int]) -> str:
        return add("Transpose", [add("Reshape", [at, "heads"], f"r_{name}")], name, perm=order)

    wide = add("Unsqueeze", [add("Unsqueeze", ["attention_mask", "first"], "u1"), "second"], "u2")
    unseen = add("Sub", ["one", add("Cast", [wide], "seen", to=1)], "unseen")
    mask = add("Mul", [unseen, "far"], "mask")
    words = add("Gather", ["table", "input_ids"], "words")
    start = normal(add("Add", [words, "constant"], "summed"), "start")
    constants["constant"] = (numbers.normal(size=width) * 0.1).astype("f4")
    query = apart(dense(start, "query", width, width), "queries", [0, 2, 1, 3])
    key = apart(dense(start, "key", width, width), "keys", [0, 2, 3, 1])
    value = apart(dense(start, "value", width, width), "values", [0, 2, 1, 3])
    scores = add("Div", [add("MatMul", [query, key], "products"), "root"], "scores")
    shares = add(
        "Softmax",
        [
            add("Add", [scores, mask], "masked"),
        ],
        "shares",
        axis=-1,
    )
    mixed = add("Transpose", [add("MatMul", [shares, value], "mixed")], "turned", perm=[0, 2, 1, 3])
    told = dense(add("Reshape", [mixed, "joined"], "flat"), "told", width, width)
    middle = normal(add("Add", [told, start], "short1"), "middle")
    inner = dense(middle, "inner", width, 2 * width)
    bent = add("Add", [add("Erf", [add("Div", [inner, "two"], "e0")], "e1"), "one"], "e2")
    bent = add("Mul", [add("Mul", [inner, bent], "e3"), "half"], "e4")
    last = normal(add("Add", [dense(bent, "outer", 2 * width, width), middle], "short2"), "last")
    add("ReduceMean", [last], "embedding", axes=[1], keepdims=0)
    names, tokens = ("input_ids", "attention_mask"), (None, None)
    ends = [onnx_models.info(name, Datatype.INT64, tokens) for name in names]
    out = [onnx_models.info("embedding", _FLOATS, (None, width))]
    onnx_models.write(folder / "model.onnx", nodes, ends, out, constants)
    signature = Signature(
        tuple(TensorSpec(name, Datatype.INT64, tokens) for name in names),
        (TensorSpec("embedding", _FLOATS, (None, width)),),
    )
    return PassSource(folder, "onnx", signature, _kept(folder, token_rows(48)))


def _source(
    folder: Path,
    nodes: list[Any],
    constants: dict[str, Any],
    taken: onnx_models.Shape,
    given: onnx_models.Shape,
    rows: dict[str, Any],
) -> PassSource:
    folder.mkdir(parents=True)
    ends = [onnx_models.info(n, _FLOATS, s) for n, s in (("x", taken), ("logits", given))]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    signature = Signature(
        (TensorSpec("x", _FLOATS, taken),), (TensorSpec("logits", _FLOATS, given),)
    )
    return PassSource(folder, "onnx", signature, _kept(folder, rows))


def _kept(folder: Path, rows: dict[str, Any]) -> Path:
    file = folder.with_name(f"{folder.name}-rows.npz")
    np.savez(file, **rows)
    return file
