"""Forms that must not pass: each is made by a pass that does its work, and is wrong all the same.

They are what the gates of the improvement shop are tried on: apply the pass to the source, and
judge the result by the rows.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing import onnx_models, pass_models
from modelworks.testing.pass_cases import PassSource

_ROWS, _FEW = 10_000, 60
_FLOATS = Datatype.FP32


@dataclass(frozen=True)
class Planted:
    """A model, a pass that spoils it, and rows that show so.

    Attributes:
        source: the model, with rows to calibrate on.
        step: name of the pass.
        settings: of it.
        rows: npz, to judge by.
        labels: npy, one a row; None = there are none.
        slices: json, name -> numbers of its rows; None = there are none.
        form: the spoilt form, where the pass itself refuses to make it; None = the pass makes it.
        hurt: what is spoilt: the name of a slice, or `all`.
    """

    source: PassSource
    step: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: Path = Path()
    labels: Path | None = None
    slices: Path | None = None
    form: Path | None = None
    hurt: str = "all"


def hurts_a_slice(folder: Path) -> Planted:
    """Static int8 whose steps are wider than everything in the slice `small` (60 of 10,000 rows).

    The class is that of the larger of two numbers. Most rows have numbers up to 100, those of the
    slice up to 0.3: of all rows about three in a thousand become wrong, of the slice half.
    """
    numbers = np.random.default_rng(3)
    rows = numbers.uniform(-100, 100, (_ROWS, 2))
    near = np.abs(rows[:, 0] - rows[:, 1]) < 5
    rows[near, 0] += 10
    small = np.sort(numbers.permutation(_ROWS)[:_FEW])
    rows[small] = numbers.uniform(-0.3, 0.3, (_FEW, 2))
    rows = rows.astype(np.float32)
    labels = (rows[:, 1] > rows[:, 0]).astype(np.int64)
    width = 256
    scale = numbers.uniform(0.5, 1.5, width)
    sign = np.where(np.arange(width) % 2, 1.0, -1.0)
    first = np.stack([-sign * scale, sign * scale]).astype("f4")
    second = (np.stack([sign < 0, sign > 0], 1) / (scale[:, None] * width)).astype("f4")
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "bend"),
        helper.make_node("MatMul", ["r", "second"], ["scores"], "second"),
    ]
    source = _written(folder, nodes, {"first": first, "second": second}, 2, 2)
    slices = folder / "slices.json"
    large = np.setdiff1d(np.arange(_ROWS), small)
    slices.write_text(json.dumps({"small": small.tolist(), "large": large.tolist()}))
    calibration = _rows(folder / "calibration.npz", rows[:500])
    return Planted(
        source=_with(source, calibration),
        step="int8_static",
        rows=_rows(folder / "rows.npz", rows),
        labels=_labels(folder / "labels.npy", labels),
        slices=slices,
        hurt="small",
    )


def minmax_on_attention(folder: Path) -> Planted:
    """Static int8 by the smallest and largest values, where a mask adds -1e9: cosines fall."""
    source = pass_models.attention(folder / "form", layers=2)
    file = folder / "rows.npz"
    np.savez(file, **pass_models.token_rows(200, seed=9))
    return Planted(source, "int8_static", {"method": "minmax"}, file)


def overflows(folder: Path) -> Planted:
    """Half precision of weights beyond 65504, cut to that: classes change.

    The pass `fp16` refuses such a model. `form` is what converters write that only cut: processors
    without half precision keep halves in the file alone and compute in float32, so that there only
    constants can be too large.
    """
    numbers = np.random.default_rng(3)
    rows = numbers.uniform(-1, 1, (1000, 64)).astype(np.float32)
    first = (numbers.normal(size=(64, 10)) * 60_000).astype("f4")
    source = _two_products(folder, first, np.eye(10, dtype="f4") / np.float32(1000))
    form = folder / "halves"
    form.mkdir()
    model = onnx.load(source.folder / "model.onnx")
    cut = convert_float_to_float16(model, keep_io_types=True)
    (form / "model.onnx").write_bytes(cut.SerializeToString())
    return Planted(
        source=_with(source, _rows(folder / "calibration.npz", rows[:100])),
        step="fp16",
        settings={"size": True},
        rows=_rows(folder / "rows.npz", rows),
        labels=_labels(folder / "labels.npy", (rows @ first).argmax(1)),
        form=form,
    )


def large_sums(folder: Path) -> Planted:
    """Weights that fit into half precision, and sums that do not, on one calibration row in ten."""
    numbers = np.random.default_rng(3)
    rows = numbers.uniform(0, 1, (1000, 64)).astype(np.float32)
    rows[::10] *= 500
    first = numbers.uniform(0.5, 1, (64, 64)).astype("f4") * np.float32(8)
    second = (numbers.normal(size=(64, 10)) / 512).astype("f4")
    source = _two_products(folder, first, second)
    return Planted(
        source=_with(source, _rows(folder / "calibration.npz", rows[:100])),
        step="fp16",
        settings={"size": True},
        rows=_rows(folder / "rows.npz", rows),
        labels=_labels(folder / "labels.npy", (rows @ first @ second).argmax(1)),
    )


def _two_products(folder: Path, first: Any, second: Any) -> PassSource:
    last = np.eye(second.shape[1], dtype="f4")
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"], "first"),
        helper.make_node("MatMul", ["h", "second"], ["s"], "second"),
        helper.make_node("MatMul", ["s", "last"], ["scores"], "last"),
    ]
    constants = {"first": first, "second": second, "last": last}
    return _written(folder, nodes, constants, len(first), len(last))


def _written(
    folder: Path, nodes: list[Any], constants: dict[str, Any], wide: int, classes: int
) -> PassSource:
    form = folder / "form"
    form.mkdir(parents=True)
    ends = [onnx_models.info(n, _FLOATS, (None, s)) for n, s in (("x", wide), ("scores", classes))]
    onnx_models.write(form / "model.onnx", nodes, ends[:1], ends[1:], constants)
    signature = Signature(
        (TensorSpec("x", _FLOATS, (None, wide)),),
        (TensorSpec("scores", _FLOATS, (None, classes)),),
        classes=tuple(range(classes)),
    )
    return PassSource(form, "onnx", signature)


def _with(source: PassSource, calibration: Path) -> PassSource:
    return PassSource(source.folder, source.format, source.signature, calibration)


def _rows(file: Path, rows: Any) -> Path:
    np.savez(file, x=rows)
    return file


def _labels(file: Path, labels: Any) -> Path:
    np.save(file, labels)
    return file
