"""Reads a snapshot with transformers, captures it, converts it, and keeps it for comparison."""

from inspect import signature as parameters_of
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript
import torch
import transformers

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.imports import Imported, ImportOptions, Ranges
from modelworks.core.seams import StepRunner
from modelworks.core.steps import InputSteps
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.ext.importers.huggingface import processors, sentence, tokens
from modelworks.ext.importers.huggingface.snapshot import Snapshot
from modelworks.ext.importers.huggingface.weights import open_weights
from modelworks.ext.importers.huggingface.wrap import Head, Wrapped, head_of, wrapped
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch import call, exporters, trial
from modelworks.ext.importers.torch.shapes import Lengths, Maker, Shapes, sizes
from modelworks.ext.importers.torch.source import DATATYPES, Source
from modelworks.plugins.load import load

_TEXT = ("input_ids", "attention_mask", "token_type_ids")
_LENGTHS = ((5,), (7,))  # of texts
_TEXTS = (
    b"",
    b"a short text",
    b"A somewhat longer one, with 3 numbers (1, 2.5) and an end.",
    "naïve café, Übergröße; 日本".encode(),
)


def read(snapshot: Snapshot, into: Path, options: ImportOptions) -> Imported:
    """Convert to `into/model.onnx`; errors as in `core.seams.Importer.read`."""
    opened = open_weights(snapshot, trust=options.trust)
    config = opened.model.config
    head = (
        sentence.head(snapshot)
        if snapshot.modules
        else head_of(snapshot.architecture, config, snapshot.classes, pooler=opened.pooler)
    )
    inputs = _inputs(opened.model, config)
    names = tuple(spec.name for spec in inputs)
    module = wrapped(opened.model, names, head)
    source = Source(snapshot.weights.value, module, inputs, names, module=module)
    shapes = Shapes(inputs, _LENGTHS, _maker(inputs, config))
    outputs = _outputs(module, shapes, head)
    try:
        conversion, _ = exporters.convert(source, shapes, outputs, into, options.exporter)
    except exporters.UnlikeError as error:
        raise UnsupportedError(error.message, field=error.field) from error
    ragged = processors.ragged(snapshot, inputs)
    signature = Signature(inputs, outputs, Layout.TENSORS, (), head.classes, ragged=ragged)
    made = tokens.tokenizer(snapshot, into, names)
    images = processors.image(snapshot, names)
    steps = (*made.steps, *images.steps)
    notes = (
        *opened.notes,
        head.note,
        *made.notes,
        *images.notes,
        "weights are served in float32",
        exporters.said(conversion),
    )
    return Imported(
        format="onnx",
        source_format=snapshot.weights.value,
        signature=signature,
        predict=call.predictor(source, inputs),
        environment={
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__,
        },
        ranges=_ranges(inputs, config),
        notes=tuple(note for note in notes if note),
        tolerance=trial.TOLERANCE,
        kind="network",
        sample=_sample(made.steps, signature, into),
        scanned=opened.names,
        steps=steps,
        conversion=conversion,
    )


def _inputs(model: Any, config: Any) -> tuple[TensorSpec, ...]:
    """What the model takes: texts or images.

    Raises:
        UnsupportedError: anything else.
    """
    taken = parameters_of(model.forward).parameters
    if "pixel_values" in taken and "input_ids" not in taken:
        return (_pixels(config),)
    if "input_ids" not in taken or "pixel_values" in taken:
        raise UnsupportedError(
            f"{type(model).__name__} takes {', '.join(list(taken)[:4])}: texts or images are served"
        )
    names = [name for name in _TEXT if name in taken]
    if not (getattr(config, "type_vocab_size", 0) or 0) > 1:
        names = [name for name in names if name != "token_type_ids"]
    return tuple(TensorSpec(n, Datatype.INT64, (None, None), allow_nan=False) for n in names)


def _pixels(config: Any) -> TensorSpec:
    size = getattr(config, "image_size", None)
    height, width = size if isinstance(size, list | tuple) else (size, size)
    if not isinstance(height, int) or not isinstance(width, int):
        raise UnsupportedError("the configuration does not say which size of images (image_size)")
    channels = int(getattr(config, "num_channels", 3))
    shape = (None, channels, height, width)
    return TensorSpec("pixel_values", Datatype.FP32, shape, allow_nan=False)


def _maker(inputs: tuple[TensorSpec, ...], config: Any) -> Maker:
    """Token numbers within the vocabulary, texts of different lengths, images of noise."""

    def make(rows: int, lengths: Lengths) -> list[torch.Tensor]:
        random = torch.Generator().manual_seed(rows)
        made = []
        for spec in inputs:
            shape = sizes(spec, rows, lengths)
            if spec.datatype is Datatype.FP32:
                made.append(torch.randn(shape, generator=random))
            elif spec.name == "attention_mask":
                made.append(_mask(shape))
            else:
                most = config.vocab_size if spec.name == "input_ids" else 2
                made.append(torch.randint(0, most, shape, generator=random))
        return made

    return make


def _mask(shape: list[int]) -> torch.Tensor:
    """The first text is as long as there is room, the others end before."""
    rows, length = shape
    ends = torch.tensor([max(1, length - row % length) for row in range(rows)])
    return (torch.arange(length)[None, :] < ends[:, None]).to(torch.int64)


def _outputs(module: Wrapped, shapes: Shapes, head: Head) -> tuple[TensorSpec, ...]:
    """Run on two sizes: an axis that changes is dynamic.

    Raises:
        UnsupportedError: outputs that are no plain tensors, or none.
        RefusedError: not the same twice.
    """
    try:
        with torch.no_grad():
            first, last = (module(*tensors) for tensors in shapes.apart)
            again = module(*shapes.example)
    except Exception as error:
        raise UnsupportedError(f"the model does not run: {reason(error)}") from error
    if not first:
        raise UnsupportedError("the model gives no tensors")
    specs: list[TensorSpec] = []
    for name, tensor in first.items():
        if not torch.equal(tensor.nan_to_num(), again[name].nan_to_num()):
            raise RefusedError("the model does not give the same answer twice")
        if tensor.dtype not in DATATYPES or tensor.ndim != last[name].ndim:
            raise UnsupportedError(f"the model's output {name} is not served ({tensor.dtype})")
        pairs = zip(tensor.shape, last[name].shape, strict=True)
        shape = tuple(a if a == b else None for a, b in pairs)
        role = head.role if not specs else Role.TENSOR
        specs.append(TensorSpec(name, DATATYPES[tensor.dtype], shape, role))
    if specs[0].role is Role.PROBABILITIES and len(head.classes) != specs[0].shape[-1]:
        raise InvalidError(
            f"config.json names {len(head.classes)} labels and the model has {specs[0].shape[-1]}",
            field="file",
        )
    return tuple(specs)


def _ranges(inputs: tuple[TensorSpec, ...], config: Any) -> dict[str, Ranges]:
    known = {
        "input_ids": Ranges(0, getattr(config, "vocab_size", 2) - 1),
        "attention_mask": Ranges(1, 1),
        "token_type_ids": Ranges(0, (getattr(config, "type_vocab_size", 1) or 1) - 1),
        "pixel_values": Ranges(-2.5, 2.5),
    }
    return {spec.name: known[spec.name] for spec in inputs}


def _sample(
    steps: tuple[InputSteps, ...], signature: Signature, into: Path
) -> dict[str, Any] | None:
    """Real texts, tokenized and padded: masks and unequal lengths are compared too."""
    if not steps:
        return None
    runner: StepRunner = load("steps", "tokenize")()
    texts = np.empty(len(_TEXTS), object)
    texts[:] = _TEXTS
    made = runner.open(steps[0], signature, into).run({steps[0].name: texts})
    return dict(made)
