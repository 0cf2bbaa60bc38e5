"""A Llama written by hand, as Hugging Face keeps it and as GGUF: it says its story on.

A token is a place of the hidden vector. The one layer adds a little of all that the text held to
the last token's place (its keys are zero, so it looks at all alike), and the last matrix has what
follows a token. So the answer is known, and where two tokens may follow, all of the past decides:
a part of it that is forgotten, or comes from somebody else, changes the answer.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tiny_decoder import BEGIN, END, STORY, TEMPLATE, WIDE, tokenizer

LOOP = "abcdjklmpqyz"
"""It goes round and round."""
FORK = "ABC"
"""After C comes A or B, whichever the text has had more often, and then C again."""
CONTEXT = 512
HEADS, WIDTH = 5, 64
SIZE = HEADS * WIDTH
_INNER = 64
_SHARE = 0.05
_ADAPTER = "ten"
"""With this adapter it says ` ten` and nothing else."""


def weights() -> Mapping[str, np.ndarray]:
    """By the names that transformers have for them; a matrix is [out, in]."""
    words = tokenizer()
    count = words.get_vocab_size()
    assert count <= SIZE
    embedded = np.zeros((count, SIZE), np.float32)
    embedded[np.arange(count), np.arange(count)] = 1.0
    nothing = np.zeros((SIZE, SIZE), np.float32)
    layer = "model.layers.0."
    return {
        "model.embed_tokens.weight": embedded,
        f"{layer}input_layernorm.weight": np.ones(SIZE, np.float32),
        f"{layer}self_attn.q_proj.weight": nothing,
        f"{layer}self_attn.k_proj.weight": nothing.copy(),
        f"{layer}self_attn.v_proj.weight": np.eye(SIZE, dtype=np.float32),
        f"{layer}self_attn.o_proj.weight": np.eye(SIZE, dtype=np.float32) * _SHARE,
        f"{layer}post_attention_layernorm.weight": np.ones(SIZE, np.float32),
        f"{layer}mlp.gate_proj.weight": np.zeros((_INNER, SIZE), np.float32),
        f"{layer}mlp.up_proj.weight": np.zeros((_INNER, SIZE), np.float32),
        f"{layer}mlp.down_proj.weight": np.zeros((SIZE, _INNER), np.float32),
        "model.norm.weight": np.ones(SIZE, np.float32),
        "lm_head.weight": _following(words, count),
    }


def _following(words, count: int) -> np.ndarray:
    found = np.zeros((count, SIZE), np.float32)
    found[END, :count] = 0.2
    story, wide, loop = (words.encode(text).ids for text in (STORY, WIDE, LOOP))
    first, second, last = (words.encode(one).ids[0] for one in FORK)
    pairs = [*zip(story, [*story[1:], END], strict=True), *zip(wide, [*wide[1:], END], strict=True)]
    pairs += [*zip(loop, [*loop[1:], loop[0]], strict=True), (first, last), (second, last)]
    for token, after in pairs:
        found[:, token] = 0.0
        found[after, token] = 1.0
    found[:, last] = 0.0
    found[[first, second], last] = 1.0
    # What the text held speaks for itself, a little.
    found[first, first] = found[second, second] = 0.1
    return found


def adapter() -> tuple[np.ndarray, np.ndarray]:
    """Of `o_proj`: [1, in], [out, 1]."""
    down = np.ones((1, SIZE), np.float32)
    up = np.zeros((SIZE, 1), np.float32)
    up[tokenizer().encode(" nine").ids[0]] = 10.0
    return down, up


def decoder_folder(folder: Path) -> Path:
    """As transformers would save it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer()
    words.save(str(folder / "tokenizer.json"))
    marks = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(marks))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": words.get_vocab_size(),
        "hidden_size": SIZE,
        "intermediate_size": _INNER,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": WIDTH,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(dict(weights()), str(folder / "model.safetensors"), {"format": "pt"})
    home = folder / "adapters" / _ADAPTER
    home.mkdir(parents=True, exist_ok=True)
    down, up = adapter()
    name = "base_model.model.model.layers.0.self_attn.o_proj.lora_"
    save_file(
        {f"{name}A.weight": down, f"{name}B.weight": up}, str(home / "adapter_model.safetensors")
    )
    lora = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["o_proj"]}
    (home / "adapter_config.json").write_text(json.dumps({**lora, "task_type": "CAUSAL_LM"}))
    return folder


_GGUF = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
    "model.layers.0.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
    "model.layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
    "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
    "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
    "model.layers.0.self_attn.o_proj.weight": "blk.0.attn_output.weight",
    "model.layers.0.mlp.gate_proj.weight": "blk.0.ffn_gate.weight",
    "model.layers.0.mlp.up_proj.weight": "blk.0.ffn_up.weight",
    "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
}


def gguf_folder(folder: Path, *, pre: str = "gpt-2", context: int = CONTEXT) -> Path:
    """As llama.cpp's converter would write it, by its own library for that."""
    import gguf

    folder.mkdir(parents=True, exist_ok=True)
    made = gguf.GGUFWriter(str(folder / "model.gguf"), "llama")
    made.add_name("story")
    made.add_context_length(context)
    made.add_embedding_length(SIZE)
    made.add_block_count(1)
    made.add_feed_forward_length(_INNER)
    made.add_head_count(HEADS)
    made.add_head_count_kv(HEADS)
    made.add_layer_norm_rms_eps(1e-6)
    made.add_rope_dimension_count(WIDTH)
    said = json.loads(tokenizer().to_str())["model"]
    names = sorted(said["vocab"], key=said["vocab"].get)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    made.add_vocab_size(len(names))
    made.add_tokenizer_model("gpt2")
    made.add_tokenizer_pre(pre)
    made.add_token_list(names)
    made.add_token_types(
        [control if place in {BEGIN, END} else normal for place in range(len(names))]
    )
    made.add_token_merges([" ".join(pair) for pair in said["merges"]])
    made.add_bos_token_id(BEGIN)
    made.add_eos_token_id(END)
    made.add_add_bos_token(False)
    made.add_chat_template(TEMPLATE)
    for name, value in weights().items():
        made.add_tensor(_GGUF[name], value)
    _write(made)
    home = folder / "adapters"
    home.mkdir(exist_ok=True)
    lora = gguf.GGUFWriter(str(home / f"{_ADAPTER}.gguf"), "llama")
    lora.add_type(gguf.GGUFType.ADAPTER)
    lora.add_string(gguf.Keys.Adapter.TYPE, "lora")
    lora.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 1.0)
    down, up = adapter()
    lora.add_tensor("blk.0.attn_output.weight.lora_a", down)
    lora.add_tensor("blk.0.attn_output.weight.lora_b", up)
    _write(lora)
    return folder


def _write(made) -> None:
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()
