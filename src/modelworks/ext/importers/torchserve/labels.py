"""Gives a converted classifier what TorchServe's `image_classifier` did after it: probabilities."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from modelworks.core.imports import Imported
from modelworks.core.tensor import Role, Tensors, TensorSpec

_NAME = "probabilities"
_NOTE = (
    "A softmax follows the model, as in image_classifier; all classes are answered, not the five "
    "most likely."
)


def with_probabilities(imported: Imported, into: Path, labels: dict[str, str]) -> Imported:
    """A softmax over the only output, whose columns get the archive's labels.

    Args:
        imported: as converted; left as it is where its output is no `[rows, classes]`.
        into: folder of its `model.onnx`.
        labels: class names by index.
    """
    if len(imported.signature.outputs) != 1:
        return imported
    spec = imported.signature.outputs[0]
    if len(spec.shape) != 2 or spec.shape[1] is None or not spec.datatype.value.startswith("FP"):
        return imported
    _append(into / "model.onnx", spec)
    name = spec.name
    predict = imported.predict
    return replace(
        imported,
        signature=replace(
            imported.signature,
            outputs=(replace(spec, name=_NAME, role=Role.PROBABILITIES),),
            classes=_classes(labels, spec.shape[1]),
        ),
        predict=_softmaxed(predict, name) if predict else None,
        notes=(
            *(note for note in imported.notes if "softmax" not in note),
            _NOTE,
        ),
    )


def _append(path: Path, spec: TensorSpec) -> None:
    model = onnx.load(path, load_external_data=False)
    output = model.graph.output[0]
    model.graph.node.append(onnx.helper.make_node("Softmax", [spec.name], [_NAME], axis=1))
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(output)
    kept.name = _NAME
    del model.graph.output[:]
    model.graph.output.append(kept)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _classes(labels: dict[str, str], count: int) -> tuple[str, ...]:
    """One name a column; a name that two classes have is told apart by its index."""
    names = [labels.get(str(at), str(at)) for at in range(count)]
    twice = {name for name in names if names.count(name) > 1} if count <= 10_000 else set()
    return tuple(f"{name} ({at})" if name in twice else name for at, name in enumerate(names))


def _softmaxed(predict: Callable[[Tensors], Tensors], name: str) -> Callable[[Tensors], Tensors]:
    def softmaxed(tensors: Tensors) -> Tensors:
        scores: Any = np.asarray(predict(tensors)[name])
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return {_NAME: powers / powers.sum(axis=1, keepdims=True)}

    return softmaxed
