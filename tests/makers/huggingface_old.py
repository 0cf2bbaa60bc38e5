"""Writes a classifier and its tokenizer with an older transformers: `python ... FOLDER`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

folder = Path(sys.argv[1])
torch.manual_seed(0)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "very", "##ly"]
(folder / "vocab.txt").write_text("\n".join(words) + "\n")
tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
config = BertConfig(
    vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=32, max_position_embeddings=40, id2label={0: "bad", 1: "good"},
)  # fmt: skip
model = BertForSequenceClassification(config).eval()
model.save_pretrained(folder / "model")
tokenizer.save_pretrained(folder / "model")
texts = ["good film", "badly", "a very very bad film", "Good!"]
with torch.no_grad():
    rows = [
        torch.softmax(model(**tokenizer(t, return_tensors="pt")).logits, -1)[0].tolist()
        for t in texts
    ]
(folder / "texts.json").write_text(json.dumps(texts))
np.save(folder / "expected.npy", np.array(rows))
