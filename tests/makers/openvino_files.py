"""Writes OpenVINO IR with OpenVINO itself, and what numpy says of the same rows.

Run in an environment with OpenVINO: `openvino_files.py FOLDER`.
"""

import sys
from pathlib import Path

import numpy as np

sys.modules["openvino_telemetry"] = None  # it would write into the home and report

import openvino as ov  # noqa: E402 - after the line above

try:
    from openvino import opset13 as op
except ImportError:  # before 2025
    from openvino.runtime import opset13 as op

FOLDER = Path(sys.argv[1])
RANDOM = np.random.default_rng(0)


def parameter(name, shape, kind=ov.Type.f32):
    found = op.parameter(shape, kind, name=name)
    found.output(0).set_names({name})
    return found


def named(node, *names):
    node.output(0).set_names(set(names))
    return node


def write(name, results, parameters, half=False):
    ov.save_model(
        ov.Model(results, parameters, name), FOLDER / f"{name}.xml", compress_to_fp16=half
    )


def said(name, rows, answers):
    np.save(FOLDER / f"{name}_rows.npy", rows)
    np.save(FOLDER / f"{name}_said.npy", answers)


def mlp():
    first, second = (RANDOM.standard_normal(s).astype("f4") for s in ((8, 32), (32, 3)))
    rows = RANDOM.standard_normal((32, 8)).astype("f4")
    scores = np.maximum(rows @ first, 0) @ second
    powers = np.exp(scores - scores.max(1, keepdims=True))
    for name, half in (("mlp", False), ("mlp_half", True)):
        x = parameter("features", [-1, 8])
        hidden = op.relu(op.matmul(x, op.constant(first), False, False))
        logits = named(
            op.matmul(hidden, op.constant(second), False, False), "logits", "a_second_name"
        )
        write(name, [named(op.softmax(logits, 1), "probabilities"), logits], [x], half)
    said("mlp", rows, powers / powers.sum(1, keepdims=True))


def convolution():
    kernel = RANDOM.standard_normal((4, 3, 3, 3)).astype("f4")
    image = parameter("image", [-1, 3, -1, -1])
    zeros = [0, 0]
    features = op.relu(op.convolution(image, op.constant(kernel), [1, 1], zeros, zeros, [1, 1]))
    axes = op.constant(np.array([2, 3], np.int64))
    write("cnn", [named(op.reduce_mean(features, axes, False), "pooled")], [image])
    rows = RANDOM.random((8, 3, 12, 12)).astype("f4")
    windows = np.lib.stride_tricks.sliding_window_view(rows, (3, 3), axis=(2, 3))
    answers = np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel), 0).mean((2, 3))
    said("cnn", rows, answers)


def kinds():
    """`y = x` in every datatype."""
    names = "boolean u8 u16 u32 u64 i8 i16 i32 i64 f16 f32 f64 bf16 string i4"
    for name in names.split():
        x = parameter("x", [-1, 2], getattr(ov.Type, name))
        write(f"kind_{name}", [op.result(x)], [x])


def others():
    fixed = parameter("a", [2, 3])
    write("fixed", [named(op.add(fixed, fixed), "twice")], [fixed])
    a, b = parameter("a", [-1, 1]), parameter("b", [-1, 1])
    write("columns", [named(op.add(a, b), "sum")], [a, b])
    wide = parameter("a", [-1, 1000])
    last = wide
    for _ in range(8):
        weight = op.constant(RANDOM.standard_normal((1000, 1000)).astype("f4"))
        last = op.matmul(last, weight, False, False)
    write("heavy", [named(last, "y")], [wide])
    nameless = op.parameter([-1, 2], ov.Type.f32, name="given")
    write("nameless", [op.relu(nameless)], [nameless])


def state():
    """A running sum: what an earlier request added is seen by the next, unless it is reset."""
    x = parameter("x", [1, 2])
    zero = op.constant(np.zeros((1, 2), np.float32))
    before = op.read_value(zero, "total", ov.Type.f32, [1, 2])
    after = named(op.add(before, x), "total")
    kept = op.assign(after, "total")
    model = ov.Model([op.result(after)], [kept], [x], "state")
    ov.save_model(model, FOLDER / "state.xml", compress_to_fp16=False)


(FOLDER / "version.txt").write_text(ov.__version__)
mlp()
convolution()
kinds()
others()
state()
