"""What it brings to compute generations together: tokens a second of one and of several streams.

    PYTHONPATH="$(bash scripts/llamacpp.sh .venv)" python benchmarks/language/together.py

A Llama of random weights (6 layers of 768, F16; 57 M numbers) by llama.cpp: its own loop for one
sequence, and our engine with one, four and eight streams. One thread. All rounds take their turns
in one run, so what is told are ratios of what the machine did at the time.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import gguf
import numpy as np
from llama_cpp import llama_cpp as api

from modelworks.core.generation import Prompt, Sampling
from modelworks.core.seams import EngineOptions, Generating
from modelworks.ext.engines.language.llamacpp import library
from modelworks.plugins.load import load
from modelworks.testing.generating import Told
from tiny_decoder import tokenizer

LAYERS, SIZE, INNER, HEADS = 6, 768, 2048, 12
TOKENS = 64
PROMPT = "one two three four"


def written(folder: Path) -> Path:
    """The model's folder."""
    folder.mkdir()
    made = gguf.GGUFWriter(str(folder / "model.gguf"), "llama")
    made.add_context_length(512)
    made.add_embedding_length(SIZE)
    made.add_block_count(LAYERS)
    made.add_feed_forward_length(INNER)
    made.add_head_count(HEADS)
    made.add_head_count_kv(HEADS)
    made.add_layer_norm_rms_eps(1e-6)
    made.add_rope_dimension_count(SIZE // HEADS)
    said = json.loads(tokenizer().to_str())["model"]
    names = sorted(said["vocab"], key=said["vocab"].get)
    made.add_tokenizer_model("gpt2")
    made.add_tokenizer_pre("gpt-2")
    made.add_token_list(names)
    made.add_token_merges([" ".join(pair) for pair in said["merges"]])
    made.add_bos_token_id(0)
    made.add_eos_token_id(1)
    made.add_add_bos_token(value=False)
    random = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = random.normal(0, 0.05, (rows, columns)).astype(np.float16)
        made.add_tensor(f"{name}.weight", values)

    matrix("token_embd", len(names), SIZE)
    matrix("output", len(names), SIZE)
    made.add_tensor("output_norm.weight", np.ones(SIZE, np.float32))
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            made.add_tensor(f"blk.{layer}.{name}.weight", np.ones(SIZE, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{layer}.{name}", SIZE, SIZE)
        matrix(f"blk.{layer}.ffn_gate", INNER, SIZE)
        matrix(f"blk.{layer}.ffn_up", INNER, SIZE)
        matrix(f"blk.{layer}.ffn_down", SIZE, INNER)
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()
    return folder


class Alone:
    """llama.cpp's own loop: one sequence, the likeliest token."""

    def __init__(self, folder: Path) -> None:
        self._model = library.load(folder / "model.gguf", check=False)
        wanted = api.llama_context_default_params()
        wanted.n_ctx = 512
        wanted.n_threads = wanted.n_threads_batch = 1
        self._context = api.llama_init_from_model(self._model, wanted)
        self._vocabulary = library.Vocabulary(self._model)
        self._count = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self._model))

    def run(self) -> float:
        """Tokens a second."""
        api.llama_memory_clear(api.llama_get_memory(self._context), True)  # noqa: FBT003 - C
        tokens = self._vocabulary.read(PROMPT)
        began = time.perf_counter()
        for _ in range(TOKENS):
            row = (api.llama_token * len(tokens))(*tokens)
            assert api.llama_decode(self._context, api.llama_batch_get_one(row, len(tokens))) == 0
            logits = api.llama_get_logits_ith(self._context, -1)
            tokens = [int(np.ctypeslib.as_array(logits, (self._count,)).argmax())]
        return TOKENS / (time.perf_counter() - began)


def together(session: Generating, streams: int) -> float:
    """Tokens a second of all."""
    told = [Told() for _ in range(streams)]
    sampling = Sampling(max_tokens=TOKENS, temperature=0.0)
    began = time.perf_counter()
    for one in told:
        session.generate(Prompt(PROMPT), sampling, one)
    made = 0
    for one in told:
        one.wait()
        made += sum(piece.tokens for piece in one.pieces)
    return made / (time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        folder = written(Path(place) / "model")
        extra = (("context", "512"), ("slots", "8"), ("prefix_mib", "0"))
        session = load("engines", "llamacpp")().load(folder, EngineOptions(threads=1, extra=extra))
        alone = Alone(folder)
        alone.run()
        rates: dict[str, list[float]] = {}
        for _ in range(rounds):
            rates.setdefault("llama.cpp's own loop", []).append(alone.run())
            for streams in (1, 4, 8):
                rates.setdefault(f"{streams} streams", []).append(together(session, streams))
        session.close()
    first = rates["llama.cpp's own loop"]
    print("| way | tokens a second | times the own loop (quartiles) |\n|---|---|---|")
    for name, found in rates.items():
        ratios = sorted(one / own for one, own in zip(found, first, strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"| {name} | {statistics.median(found):,.0f} | {middle:.2f} ({low:.2f}-{high:.2f}) |")


if __name__ == "__main__":
    main()
