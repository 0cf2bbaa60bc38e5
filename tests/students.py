"""Sources for passes that train: labels beside rows, classes in signatures, and a forest."""

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.testing import onnx_models
from modelworks.testing.pass_cases import answers
from modelworks.testing.passes import PassSource

KINDS = ("even", "none", "odd")


def labelled(source):
    """The same with labels: mostly what it answers itself."""
    with np.load(source.calibration) as file:
        inputs = dict(file)
    [logits] = answers("onnxruntime", source.folder, source.signature, inputs)
    labels = logits.argmax(axis=1)
    labels[::7] = (labels[::7] + 1) % logits.shape[1]
    file = source.folder.with_name(f"{source.folder.name}-labels.npy")
    np.save(file, labels)
    return replace(source, labels=file)


def classified(source, rows=120):
    """The same with ten classes in its signature, and more rows."""
    file = source.folder.with_name(f"{source.folder.name}-more.npz")
    shape = source.signature.inputs[0].shape[1:]
    values = np.random.default_rng(2).uniform(0, 1, (rows, *shape)).astype(np.float32)
    np.savez(file, x=values)
    signature = replace(source.signature, classes=tuple(range(10)))
    return replace(source, calibration=file, signature=signature)


def forest(folder):
    """A forest of scikit-learn's, whose labels are texts."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    numbers = np.random.default_rng(0)
    rows = numbers.normal(size=(400, 6)).astype(np.float32)
    labels = np.array(KINDS)[(rows[:, 0] > 0).astype(int) + (rows[:, 1] > 0.5)]
    model = RandomForestClassifier(30, max_depth=6, random_state=0).fit(rows, labels)
    folder.mkdir(parents=True)
    onnx.save(to_onnx(model, rows[:1], options={"zipmap": False}), folder / "model.onnx")
    return _source(folder, rows, TensorSpec("label", Datatype.BYTES, (None,), Role.LABEL))


def tolerant(folder):
    """Probabilities of a matrix, to which a missing value is a zero."""
    numbers = np.random.default_rng(0)
    folder.mkdir(parents=True)
    node = helper.make_node
    nodes = [
        node("IsNaN", ["X"], ["gone"]),
        node("Where", ["gone", "zero", "X"], ["known"]),
        node("MatMul", ["known", "w"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {"zero": np.float32(0), "w": numbers.normal(size=(6, 3)).astype("f4")}
    ends = [
        onnx_models.info(name, Datatype.FP32, (None, wide))
        for name, wide in (("X", 6), ("probabilities", 3))
    ]
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    return _source(folder, numbers.normal(size=(64, 6)).astype("f4"))


def _source(folder, rows, *labels):
    file = folder.with_name(f"{folder.name}-rows.npz")
    np.savez(file, X=rows)
    chances = TensorSpec("probabilities", Datatype.FP32, (None, 3), Role.PROBABILITIES)
    signature = Signature(
        (TensorSpec("X", Datatype.FP32, (None, 6)),), (*labels, chances), classes=KINDS
    )
    return PassSource(folder, "onnx", signature, file)


def faint(folder, rows=400):
    """Two classes told by a direction in which rows hardly differ, beside one in which they do."""
    numbers = np.random.default_rng(0)
    folder.mkdir(parents=True)
    turned, _ = np.linalg.qr(numbers.normal(size=(96, 96)))
    wide = numbers.normal(size=(rows, 96)) * np.array([*[30.0] * 16, 1.0, *[0.0] * 79])
    head = np.zeros((96, 2))
    head[16] = 3, -3
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["h"], "product"),
        helper.make_node("MatMul", ["h", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    ends = [
        onnx_models.info(name, Datatype.FP32, (None, size))
        for name, size in (("X", 96), ("probabilities", 2))
    ]
    constants = {"w": turned.T.astype("f4"), "head": head.astype("f4")}
    onnx_models.write(folder / "model.onnx", nodes, ends[:1], ends[1:], constants)
    file = folder.with_name(f"{folder.name}-rows.npz")
    np.savez(file, X=(wide @ turned).astype("f4"))
    signature = Signature(
        (TensorSpec("X", Datatype.FP32, (None, 96)),),
        (TensorSpec("probabilities", Datatype.FP32, (None, 2), Role.PROBABILITIES),),
        classes=(0, 1),
    )
    return PassSource(folder, "onnx", signature, file), (wide[:, 16] < 0).astype(np.int64)


def digits_cnn(folder, epochs):
    """A CNN of 90,000 weights on 8x8 digits, by PyTorch, and 450 rows that it never saw.

    Returns:
        The source with 1,347 rows and their labels; the other rows; theirs.
    """
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch import nn

    pixels, digits = load_digits(return_X_y=True)
    pixels = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    rows, others, labels, truth = train_test_split(
        pixels, digits, test_size=0.25, random_state=0, stratify=digits
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two of them wait for each other on a busy machine
    torch.manual_seed(0)
    layers = []
    for into, wide, pool in ((1, 32, False), (32, 64, True), (64, 64, True)):
        layers += [nn.Conv2d(into, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
    net = nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10), nn.Softmax(1)
    )
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    given, wanted = torch.from_numpy(rows), torch.from_numpy(labels)
    for _ in range(epochs):
        for some in torch.randperm(len(given)).split(64):
            optimizer.zero_grad()
            nn.functional.nll_loss(net(given[some]).log(), wanted[some]).backward()
            optimizer.step()
    torch.set_num_threads(threads)
    folder.mkdir(parents=True)
    torch.onnx.export(
        net.eval(), (given[:2],), str(folder / "model.onnx"), dynamo=False, input_names=["image"],
        output_names=["chances"], dynamic_axes={"image": {0: "n"}, "chances": {0: "n"}},
    )  # fmt: skip
    signature = Signature(
        (TensorSpec("image", Datatype.FP32, (None, 1, 8, 8)),),
        (TensorSpec("chances", Datatype.FP32, (None, 10), Role.PROBABILITIES),),
        classes=tuple(range(10)),
    )
    files = [folder.with_name(f"{folder.name}-{name}") for name in ("rows.npz", "labels.npy")]
    np.savez(files[0], image=rows)
    np.save(files[1], labels)
    return PassSource(folder, "onnx", signature, *files), others, truth
