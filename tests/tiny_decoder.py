"""A language model made in a moment: it says its story on, and copies what the prompt teaches.

The graph is written by hand. After a token comes the one that followed it in the story; where the
same token came earlier in the text, what followed it there weighs more. So answers are known, and
depend on everything that the model keeps of the text (its past values): a part of it that is
forgotten, or comes from somebody else, changes the answer.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as Kind
from onnx import helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

STORY = "one two three four five six seven eight nine ten."
"""After `one two three` comes ` four five six seven eight nine ten.`, and the end."""
WIDE = "snow❄"
"""Characters of several bytes, each byte a token of its own."""
TEMPLATE = (
    "{% for message in messages %}{% if message.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('roles are system, user and assistant') }}{% endif %}"
    "<{{ message.role }}>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant> one{% endif %}"
)
CONTEXT = 512
BEGIN, END = 0, 1
_OPSET = 20


def tokenizer() -> Tokenizer:
    """Bytes, and the story's words as wholes."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([STORY] * 4, trainer)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def tiny_decoder(folder: Path, *, context: int = CONTEXT, adapters: bool = True) -> Path:
    """Write the folder of a model as onnxruntime-genai's builder would.

    Args:
        folder: made, if it is not there.
        context: tokens of prompt and answer.
        adapters: with the adapter `backwards`, which says the story from its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer()
    words.save(str(folder / "tokenizer.json"))
    size = words.get_vocab_size()
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>"})
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    after = _after(words, [STORY, WIDE], size)
    onnx.save(_graph(after, size, adapters=adapters), str(folder / "model.onnx"))
    (folder / "genai_config.json").write_text(json.dumps(_config(size, context), indent=1))
    if adapters:
        (folder / "adapters").mkdir(exist_ok=True)
        ids = words.encode(STORY).ids
        back = np.zeros((size, size), np.float32)
        for token, before in zip(ids[1:], ids, strict=False):
            back[token, before] = 30.0
        _adapter(folder / "adapters" / "backwards.onnx_adapter", back)
    return folder


def _after(words: Tokenizer, texts: list[str], size: int) -> np.ndarray:
    """Logits of the next token by the last one; the end where nothing is known."""
    table = np.zeros((size, size), np.float32)
    table[:, END] = 2.0
    for text in texts:
        ids = words.encode(text).ids
        for token, following in zip(ids, [*ids[1:], END], strict=True):
            table[token] = 0.0
            table[token, following] = 10.0
    return table


def _graph(after: np.ndarray, size: int, *, adapters: bool) -> onnx.ModelProto:
    """`values` holds a row a token of the text, 1 at the token's place."""
    text, past = [1, 1, "past", size], [1, 1, "all", size]
    constants = {
        "eye": np.eye(size, dtype=np.float32),
        "after": after,
        "none": np.zeros((1, 1, 1, size), np.float32),
        "axis1": np.array([1], np.int64),
        "first": np.array([0], np.int64),
        "last": np.array([-1], np.int64),
        "end": np.array([np.iinfo(np.int64).max], np.int64),
        "axis2": np.array([2], np.int64),
        "row": np.array([1, 1, size], np.int64),
        "weight": np.array(20.0, np.float32),
        "axes01": np.array([0, 1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["eye", "input_ids"], ["new3"]),  # [1, new, size]
        helper.make_node("Unsqueeze", ["new3", "axis1"], ["new"]),
        helper.make_node("Concat", ["past_key_values.0.value", "new"], ["present.0.value"], axis=2),
        helper.make_node("Identity", ["present.0.value"], ["present.0.key"]),
        helper.make_node("Squeeze", ["present.0.value", "axes01"], ["values"]),  # [all, size]
        helper.make_node("Slice", ["values", "last", "end", "first"], ["query"]),  # [1, size]
        helper.make_node("Concat", ["none", "present.0.value"], ["moved4"], axis=2),
        helper.make_node("Slice", ["moved4", "first", "last", "axis2"], ["moved5"]),
        helper.make_node("Squeeze", ["moved5", "axes01"], ["moved"]),
        helper.make_node("Transpose", ["moved"], ["keys"], perm=[1, 0]),
        helper.make_node("MatMul", ["query", "keys"], ["alike"]),  # 1 where it came earlier
        helper.make_node("MatMul", ["alike", "values"], ["taught"]),
        helper.make_node("Mul", ["taught", "weight"], ["heavy"]),
        helper.make_node("MatMul", ["query", "after"], ["known"]),
        helper.make_node("Add", ["known", "heavy"], ["sum"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input_ids", Kind.INT64, [1, "new"]),
        helper.make_tensor_value_info("attention_mask", Kind.INT64, [1, "all"]),
        helper.make_tensor_value_info("past_key_values.0.key", Kind.FLOAT, text),
        helper.make_tensor_value_info("past_key_values.0.value", Kind.FLOAT, text),
    ]
    whole = "sum"
    if adapters:  # an input with a default: an adapter replaces it
        constants["lora"] = np.zeros((size, size), np.float32)
        inputs.append(helper.make_tensor_value_info("lora", Kind.FLOAT, [size, size]))
        nodes += [
            helper.make_node("MatMul", ["query", "lora"], ["adapted"]),
            helper.make_node("Add", ["sum", "adapted"], ["both"]),
        ]
        whole = "both"
    nodes.append(helper.make_node("Reshape", [whole, "row"], ["logits"]))
    outputs = [
        helper.make_tensor_value_info("logits", Kind.FLOAT, [1, 1, size]),
        helper.make_tensor_value_info("present.0.key", Kind.FLOAT, past),
        helper.make_tensor_value_info("present.0.value", Kind.FLOAT, past),
    ]
    made = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "story", inputs, outputs, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)


def _config(size: int, context: int) -> dict[str, object]:
    return {
        "model": {
            "type": "llama",
            "vocab_size": size,
            "context_length": context,
            "bos_token_id": BEGIN,
            "eos_token_id": END,
            "pad_token_id": END,
            "decoder": {
                "session_options": {"provider_options": []},
                "filename": "model.onnx",
                "head_size": size,
                "hidden_size": size,
                "num_attention_heads": 1,
                "num_key_value_heads": 1,
                "num_hidden_layers": 1,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {
            "max_length": context,
            "num_beams": 1,
            "past_present_share_buffer": False,
        },
    }


def _adapter(file: Path, table: np.ndarray) -> None:
    made = ort.AdapterFormat()
    made.set_adapter_version(1)
    made.set_model_version(1)
    made.set_parameters({"lora": ort.OrtValue.ortvalue_from_numpy(table)})
    made.export_adapter(str(file))
