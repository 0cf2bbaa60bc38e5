"""Train three models of one question, of a text, an image and a row each, for `claim.yaml`.

    python examples/graphs/train.py [FOLDER]      # writes three models and claims.json

Made-up insurance claims: what the customer wrote, a photograph of the meter (scikit-learn's
digits, 8 x 8) and four numbers. A claim is paid where two of the three speak for it. The models are
a bag of words with a logistic regression, a small convolutional network and a gradient boosting;
each knows a third of the truth, and the graph that asks all of them more than any of them.
"""

import json
import sys
from pathlib import Path

import joblib
import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

ROWS = 1500
LEARNT = 1200
KINDS = ("pay", "refuse")
_GOOD = ("pipe", "burst", "water", "kitchen", "floor", "soaked", "plumber", "called", "receipt")
_BAD = ("lost", "wallet", "maybe", "forgot", "unsure", "old", "broken", "already", "sold")
_PLAIN = ("the", "a", "my", "on", "in", "yesterday", "house", "and", "was", "it", "then", "we")


Array = np.ndarray


def claims(numbers: np.random.Generator) -> tuple[list[str], Array, Array, Array]:
    """Texts, images [rows, 1, 8, 8], numbers [rows, 4], and what was decided."""
    digits = load_digits()
    says = numbers.integers(0, 2, (ROWS, 3))  # of each part, whether it speaks for the claim
    texts = [" ".join(numbers.permutation(_words(numbers, good))) for good in says[:, 0]]
    zeros, ones = (np.flatnonzero(digits.target == digit) for digit in (3, 8))
    picked = [numbers.choice(ones if good else zeros) for good in says[:, 1]]
    images = (digits.images[picked] / 16).astype(np.float32)[:, None]
    table = numbers.normal(size=(ROWS, 4)).astype(np.float32)
    table[:, 0] = np.abs(table[:, 0]) * np.where(says[:, 2], 1, -1)
    return texts, images, table, np.where(says.sum(axis=1) >= 2, *KINDS)


def _words(numbers: np.random.Generator, good: int) -> list[str]:
    told = numbers.choice(_GOOD if good else _BAD, 3)
    return [*told, *numbers.choice(_PLAIN, 6)]


def convolution(images: Array, wanted: Array) -> dict[str, Array]:
    """Teach a network of one convolution; its weights."""
    torch.manual_seed(7)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(72, 2),
    )
    steps = torch.optim.Adam(net.parameters(), 0.01)
    x, y = torch.from_numpy(images), torch.from_numpy(wanted)
    for _ in range(120):
        steps.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        steps.step()
    return {name: value.detach().numpy() for name, value in net.named_parameters()}


def write_network(path: Path, weights: dict[str, Array]) -> None:
    """The network as ONNX: images in, one number a class out."""
    nodes = [
        helper.make_node("Conv", ["image", "0.weight", "0.bias"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "4.weight", "4.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "meter",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def main() -> None:
    """Train, save, say what each knows."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    texts, images, table, wanted = claims(np.random.default_rng(7))
    old, new = slice(0, LEARNT), slice(LEARNT, ROWS)
    letter = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts[old], wanted[old])
    numbers = GradientBoostingClassifier(n_estimators=30, random_state=7)
    numbers.fit(table[old], wanted[old])
    weights = convolution(images[old], (wanted[old] == KINDS[1]).astype(np.int64))
    joblib.dump(letter, folder / "letter.joblib")
    joblib.dump(numbers, folder / "numbers.joblib")
    write_network(folder / "meter.onnx", weights)
    rows = [
        {"letter": text, "meter": image.tolist(), "numbers": row.tolist(), "decided": str(said)}
        for text, image, row, said in zip(
            texts[new], images[new], table[new], wanted[new], strict=True
        )
    ]
    (folder / "claims.json").write_text(json.dumps(rows))
    print(f"letter alone: {letter.score(texts[new], wanted[new]):.3f} of {len(rows)} unseen claims")
    print(f"numbers alone: {numbers.score(table[new], wanted[new]):.3f}")


if __name__ == "__main__":
    main()
