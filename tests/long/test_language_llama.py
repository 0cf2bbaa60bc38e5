"""A Llama of random weights, by onnxruntime-genai's own builder, held against transformers."""

import subprocess
import sys

import numpy as np
import pytest

from modelworks.core.generation import Prompt, Sampling
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load
from modelworks.testing.generating import Told
from tiny_decoder import tokenizer

pytestmark = pytest.mark.long
PROMPTS = ("one two three", "nine ten. one", "snow and ten and two", "seven" * 30)
GREEDY = Sampling(max_tokens=24, temperature=0.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two layers, grouped heads, a chat template; as transformers saves it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("llama") / "hf"
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(), bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    words.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    words.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=tokenizer().get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def session(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-p", "fp32", "-e", "cpu"]
    places = ["-i", str(source[0]), "-o", str(folder / "model"), "-c", str(folder / "cache")]
    done = subprocess.run(
        [*builder, *places], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    importer = load("importers", "genai")()
    assert importer.sniff(folder / "model").confidence == 100
    (folder / "imported").mkdir()
    importer.read(folder / "model", folder / "imported", ImportOptions())
    session = load("engines", "genai")().load(folder / "imported", EngineOptions())
    yield session
    session.close()


def wanted(model, text):
    """The likeliest tokens by transformers, step by step; as text."""
    import torch

    words = tokenizer()
    ids = words.encode(text).ids
    start = len(ids)
    with torch.no_grad():
        for _ in range(GREEDY.max_tokens):
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if token == 1:
                break
            ids.append(token)
    return ids[start:]


def answered(session, text):
    told = Told()
    session.generate(Prompt(text), GREEDY, told)
    last = told.wait()
    return told.text, sum(piece.tokens for piece in told.pieces), last.cached_tokens


def test_it_says_what_transformers_say(session, source):
    words = tokenizer()
    for text in PROMPTS:
        ids = wanted(source[1], text)
        found, count, _ = answered(session, text)
        assert count == len(ids)
        whole = words.decode(ids)
        assert found == whole[: len(found)]
        assert len(whole) - len(found) <= 3  # bytes at the end that are no whole character


def test_a_kept_prefix_changes_nothing(session, source):
    words = tokenizer()
    first = "one two three four five six seven eight"
    for text in (first, first, first + " nine", "one two three four ten."):
        found, _, cached = answered(session, text)
        assert words.decode(wanted(source[1], text)).startswith(found)
        assert found
    assert cached >= 4


def test_many_at_once_are_each_as_alone(session):
    alone = [answered(session, text)[0] for text in PROMPTS]
    many = [Told() for _ in PROMPTS * 4]
    for told, text in zip(many, PROMPTS * 4, strict=True):
        session.generate(Prompt(text), GREEDY, told)
    for told in many:
        told.wait()
    assert [told.text for told in many] == alone * 4
    assert np.unique([len(text) for text in alone]).size > 1
