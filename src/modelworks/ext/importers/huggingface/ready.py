"""Snapshots whose model is ONNX already: taken as it is, its tokenizer and labels with it."""

from dataclasses import replace
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.ext.importers.huggingface import processors
from modelworks.ext.importers.huggingface.snapshot import Snapshot
from modelworks.ext.importers.onnx import check

_PROBABILITIES = "probabilities"
_LEAST = 13  # Softmax of one axis


def read(snapshot: Snapshot, into: Path, options: ImportOptions) -> Imported:
    """Check and copy the graph; errors as in `core.seams.Importer.read`."""
    file = snapshot.files[0]
    bare = check.read(file.parent, into, replace(options, sample=None))
    names = tuple(spec.name for spec in bare.signature.inputs)
    text = processors.tokenizer(snapshot, into, names)
    image = processors.image(snapshot, names)
    signature, note = _with_labels(snapshot, bare.signature, into / "model.onnx")
    signature = replace(signature, ragged=processors.ragged(snapshot, signature.inputs))
    notes = (*bare.notes, *text.notes, *image.notes, *((note,) if note else ()))
    return replace(
        bare,
        source_format=snapshot.weights.value,
        signature=signature,
        notes=notes,
        steps=(*text.steps, *image.steps),
    )


def _with_labels(snapshot: Snapshot, signature: Signature, file: Path) -> tuple[Signature, str]:
    """A classifier's probabilities beside its logits, as an output more."""
    signature = replace(signature, layout=Layout.TENSORS, features=())
    only = signature.outputs[0]
    classes = snapshot.classes
    classifies = snapshot.architecture.endswith(
        ("ForSequenceClassification", "ForImageClassification")
    )
    single = snapshot.config.get("problem_type") in {None, "single_label_classification"}
    if not (classifies and single and len(classes) > 1 and only.name == "logits"):
        return signature, ""
    if only.datatype is not Datatype.FP32 or len(only.shape) != 2:
        return signature, ""
    model = onnx.load(file, load_external_data=False)
    if next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0) < _LEAST:
        return signature, ""
    node = helper.make_node("Softmax", [only.name], [_PROBABILITIES], axis=-1)
    model.graph.node.append(node)
    axes: list[str | int | None] = [f"{_PROBABILITIES}_batch", len(classes)]
    model.graph.output.append(
        helper.make_tensor_value_info(_PROBABILITIES, TensorProto.FLOAT, axes)
    )
    file.write_bytes(model.SerializeToString(deterministic=True))
    spec = TensorSpec(_PROBABILITIES, Datatype.FP32, (None, len(classes)), Role.PROBABILITIES)
    outputs = (*signature.outputs, spec)
    note = "probabilities (softmax of the logits) stand beside the graph's own outputs"
    return replace(signature, outputs=outputs, classes=classes), note
