"""Joined operators on small networks of attention, where operators cost more than their sums.

BERT's layers at the widths of the small BERTs (Turc and others, 2019), random weights: neither
speed nor how near the answers stay depends on what they have learnt. One thread, CPU time, both
forms in turn within each round; the median and the quartiles over the rounds.

    python benchmarks/optimize/small_attention.py --tokens 16
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
from passes import opened, timed

from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.plugins.load import load

# Name -> layers, width, heads
SIZES = {"tiny": (2, 128, 2), "mini": (4, 256, 4), "small": (4, 512, 8)}
NAMES = ["input_ids", "attention_mask"]


def network(layers, width, heads):
    import torch
    from transformers import AutoModel, BertConfig

    class Embed(torch.nn.Module):
        """Mean of the last layer over the tokens that are there."""

        def __init__(self):
            super().__init__()
            config = BertConfig(
                vocab_size=2000,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=4 * width,
                max_position_embeddings=128,
            )
            self.inner = AutoModel.from_config(config, attn_implementation="eager")

        def forward(self, input_ids, attention_mask):
            found = self.inner(input_ids=input_ids, attention_mask=attention_mask)
            there = attention_mask.unsqueeze(-1).to(found.last_hidden_state.dtype)
            return (found.last_hidden_state * there).sum(1) / there.sum(1)

    torch.manual_seed(0)
    return Embed().eval()


def export(net, folder, tokens):
    import torch

    ids = torch.randint(5, 2000, (2, tokens))
    axes = {name: {0: "n", 1: "tokens"} for name in NAMES} | {"embedding": {0: "n"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own words about its future
        torch.onnx.export(
            net,
            (ids, torch.ones_like(ids)),
            str(folder / "model.onnx"),
            input_names=NAMES,
            output_names=["embedding"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )


def fused(source, into, width, settings):
    free = (None, None)
    inputs = tuple(TensorSpec(name, Datatype.INT64, free) for name in NAMES)
    signature = Signature(inputs, (TensorSpec("embedding", Datatype.FP32, (None, width)),))
    step = load("passes", "transformer_fusions")()
    job = PassJob(source, "onnx", into, signature, settled(step.facts, settings))
    applied = step.apply(job)
    return "; ".join(applied.notes)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--only", nargs="*", default=SIZES, choices=SIZES)
    given = parser.parse_args()
    numbers = np.random.default_rng(0)
    ids = numbers.integers(5, 2000, (16, given.tokens))
    rows = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    rows["attention_mask"][1::2, given.tokens * 3 // 4 :] = 0
    for name in given.only:
        layers, width, heads = SIZES[name]
        with tempfile.TemporaryDirectory() as folder:
            places = [Path(folder, place) for place in ("source", "fused")]
            for place in places:
                place.mkdir()
            export(network(layers, width, heads), places[0], given.tokens)
            note = fused(*places, width, {})
            sessions = dict(
                zip(("source", "transformer_fusions"), map(opened, places), strict=True)
            )
            one, other = (session.run(None, rows)[0] for session in sessions.values())
            apart = np.abs(one - other).max() / np.abs(one).max()
            print(f"{name}: {layers} layers of {width}; {note}; answers {apart:.1e} apart")
            for batch, calls in ((1, 40), (16, 6)):
                timed(sessions, rows, batch, calls, given.rounds)


if __name__ == "__main__":
    main()
