"""Sources for passes that train: labels beside rows, classes in signatures, and a forest."""

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.testing import onnx_models, pass_models
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
