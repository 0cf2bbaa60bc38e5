"""The engine `vllm`, by vLLM itself on the CPU: `make test-vllm`."""

import json
import os
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from safetensors.numpy import save_file

from language_suite import GREEDY, REST, LanguageSuite, imported, opened
from modelworks.core.errors import InvalidError, ModelworksError, RefusedError, UnsupportedError
from modelworks.core.generation import Prompt, Sampling
from modelworks.ext.formats import decoder
from modelworks.testing.generating import Told, generated
from tiny_llama import decoder_folder

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return decoder_folder(tmp_path_factory.mktemp("decoder") / "model")


@pytest.fixture(scope="module")
def kept(written):
    """One session for those who leave it as it is, and another when somebody closed it."""
    sessions = [opened("vllm", written)]
    yield sessions
    sessions[0].close()


@pytest.fixture
def used(kept, written):
    if not kept[0].processes():
        kept[0] = opened("vllm", written)
    return kept[0]


class TestVllm(LanguageSuite):
    """By vLLM."""

    @pytest.fixture
    def engine(self):
        return "vllm"

    @pytest.fixture
    def folder(self, written):
        return written

    @pytest.fixture
    def source(self, written):
        return written

    @pytest.fixture
    def session(self, used):
        return used


def test_it_reads_texts_here(used):
    assert not used.distant


def test_a_temperature_that_vllm_does_not_take_is_refused(used):
    with pytest.raises(InvalidError, match="more than 2") as caught:
        used.generate(Prompt("one"), Sampling(temperature=2.5), Told())
    assert caught.value.field == "temperature"


def test_a_context_of_ones_own(written):
    with pytest.raises(InvalidError, match="made for 512") as caught:
        opened("vllm", written, context=1024)
    assert caught.value.field == "context"


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("model.safetensors", "cut"),
        ("model.safetensors", "noise"),
        ("tokenizer.json", "empty"),
        ("adapters/ten/adapter_config.json", "noise"),
    ],
)
def test_damaged_files_are_refused_in_one_line(written, tmp_path, file, harm):
    harmed = shutil.copytree(written, tmp_path / "harmed")
    data = (harmed / file).read_bytes()
    made = {"cut": data[: len(data) // 3], "empty": b"", "noise": os.urandom(400)}[harm]
    (harmed / file).write_bytes(made)
    with pytest.raises(ModelworksError) as caught:
        opened("vllm", harmed)
    assert "\n" not in caught.value.message
    assert str(tmp_path) not in caught.value.message


def other(folder, down, up):
    """The adapter with other matrices."""
    name = "base_model.model.model.layers.0.self_attn.o_proj.lora_"
    file = folder / "adapters" / "ten" / "adapter_model.safetensors"
    save_file({f"{name}A.weight": down, f"{name}B.weight": up}, str(file))


@pytest.mark.parametrize(("wide", "rank"), [(128, 1), (320, 4)])
def test_an_adapter_of_another_model_is_refused(written, tmp_path, wide, rank):
    source = shutil.copytree(written, tmp_path / "source")
    other(source, np.ones((rank, wide), np.float32), np.ones((wide, rank), np.float32))
    for take in (lambda: opened("vllm", source), lambda: imported("vllm", source, tmp_path / "i")):
        with pytest.raises(InvalidError, match="made for another model") as caught:
            take()
        assert caught.value.field == "adapters"


def test_an_adapter_that_is_cut_is_refused_before_anybody_asks_for_it(written, tmp_path):
    source = shutil.copytree(written, tmp_path / "source")
    file = source / "adapters" / "ten" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InvalidError, match="cut short"):
        opened("vllm", source)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("head_dim", -64),
        ("num_key_value_heads", "5"),
        ("eos_token_id", [-5]),
        ("eos_token_id", [10**30]),
        ("eos_token_id", True),
        ("max_position_embeddings", 1.5),
        ("num_hidden_layers", None),
    ],
)
def test_counts_that_are_none_are_refused(written, tmp_path, field, value):
    with pytest.raises(InvalidError) as caught:
        decoder.read(changed(written, tmp_path, **{field: value}))
    assert caught.value.field == field


def test_a_rank_that_nobody_serves_is_refused(written, tmp_path):
    source = shutil.copytree(written, tmp_path / "source")
    file = source / "adapters" / "ten" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "r": 600}))
    with pytest.raises(UnsupportedError, match="at most 256"):
        decoder.read(source)


def test_a_token_that_ends_answers_may_stand_in_either_file(written, tmp_path):
    source = shutil.copytree(written, tmp_path / "source")
    (source / "generation_config.json").write_text('{"eos_token_id": null}')
    assert decoder.read(source).ends == (1,)
    (source / "generation_config.json").write_text('{"eos_token_id": [1, 5]}')
    assert decoder.read(source).ends == (1, 5)


def test_half_a_character_is_read_as_none(used):
    assert used.count("a\ud800b") == used.count("a?b")


# -- the importer


def test_what_belongs_to_a_model_is_copied_and_nothing_else(written, tmp_path):
    source = shutil.copytree(written, tmp_path / "source")
    (source / "modeling_evil.py").write_text("x")
    found = imported("vllm", source, tmp_path / "into")
    into = tmp_path / "into"
    files = {str(file.relative_to(into)) for file in into.rglob("*") if file.is_file()}
    assert files == {
        *("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"),
        *("chat_template.jinja", "adapters/ten/adapter_config.json"),
        "adapters/ten/adapter_model.safetensors",
    }
    assert any("modeling_evil.py" in note for note in found.notes)


def changed(written, tmp_path, **more):
    source = shutil.copytree(written, tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, **more}))
    return source


def test_code_of_the_models_own_is_refused(written, tmp_path):
    source = changed(written, tmp_path, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    with pytest.raises(RefusedError, match="auto_map"):
        imported("vllm", source, tmp_path / "into")
    with pytest.raises(RefusedError, match="auto_map"):
        opened("vllm", source)


def test_models_of_more_than_text_are_refused(written, tmp_path):
    source = changed(written, tmp_path, vision_config={})
    with pytest.raises(UnsupportedError, match="text alone"):
        imported("vllm", source, tmp_path / "into")


def test_a_model_that_vllm_does_not_know_is_refused_in_one_line(written, tmp_path):
    source = changed(written, tmp_path, architectures=["NobodyForCausalLM"])
    with pytest.raises(ModelworksError) as caught:
        opened("vllm", source)
    assert "\n" not in caught.value.message


def test_it_answers_as_it_was_imported(written, tmp_path):
    imported("vllm", written, tmp_path / "into")
    session = opened("vllm", tmp_path / "into", prefix_mib=0, slots=2)
    assert generated(session, "one two three", GREEDY).text == REST
    session.close()
