"""Reads a PyTorch file, converts it, and keeps the source for comparison."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript
import torch

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.imports import Conversion, Imported, ImportOptions, Runtime
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.ext.importers import layouts, samples
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch import call, exporters, native, parting, trial
from modelworks.ext.importers.torch.exporters import UnlikeError
from modelworks.ext.importers.torch.shapes import Shapes, accepted, random
from modelworks.ext.importers.torch.source import DATATYPES, DTYPES, Source, load
from modelworks.ext.importers.torch.trial import Asked

_WITH_CODE = {"torch-export", "torch-script"}


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Convert `path` to `into/model.onnx`; errors as in `core.seams.Importer.read`."""
    source = load(path, options.factory, trust=options.trust)
    _refuse_unread(path, source, options)
    sample = samples.read(options.sample) if options.sample else None
    inputs = source.inputs or _inputs(path, source, options.inputs, sample)
    shapes = _shapes(source, inputs, settle=not source.inputs and not options.inputs)
    outputs = _outputs(source, shapes)
    if options.runtime is Runtime.NATIVE:
        taken = tuple(replace(spec, allow_nan=False) for spec in shapes.inputs)
        signature = _signature(taken, outputs, options.layout, sample)
        return native.keep(path, into, options, source, signature, sample)
    shapes, conversion, asked, notes = _converted(source, shapes, outputs, into, options)
    taken = _with_missing(shapes.inputs, conversion, asked)
    signature = _signature(taken, asked.outputs, options.layout, sample)
    return Imported(
        format="onnx",
        source_format=source.format,
        signature=signature,
        predict=call.predictor(source, shapes.inputs),
        environment={
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__,
            "numpy": np.__version__,
        },
        notes=(*source.notes, *notes, *_notes(source, signature, conversion, asked)),
        tolerance=trial.TOLERANCE,
        kind="network",
        scanned=source.names,
        scan=source.scan,
        sample=samples.tensors(sample, signature) if sample else None,
        conversion=conversion,
        lengths=(shapes.lengths[0][0], shapes.lengths[1][0]),
        parting=partial(parting.told, source, into, shapes.inputs),
    )


def _refuse_unread(path: Path, source: Source, options: ImportOptions) -> None:
    """What the user said and the file says itself is refused, never passed over."""
    if options.inputs and source.inputs:
        raise InvalidError(
            f"--input means nothing for {path.name}: the file has its inputs; leave it out",
            field="inputs",
        )
    if options.factory and source.format in _WITH_CODE:
        raise InvalidError(
            f"--factory means nothing for {path.name}: the file holds its own code; leave it out",
            field="factory",
        )


def _shapes(source: Source, inputs: tuple[TensorSpec, ...], *, settle: bool) -> Shapes:
    """Sizes that the source takes.

    Args:
        source: the network.
        inputs: as the file, the user or a sample says.
        settle: whole numbers in a sample may be meant as real ones: the model decides.

    Raises:
        InvalidError: it does not take such inputs in any size.
    """
    shapes, refusal = _tried(source, inputs)
    if refusal and settle and any(spec.datatype is Datatype.INT64 for spec in inputs):
        real = tuple(replace(spec, datatype=Datatype.FP32, allow_nan=True) for spec in inputs)
        again, still = _tried(source, real)
        if still is None:
            return again
    if refusal is not None:
        shown = ", ".join(f"{spec.name}:{spec.datatype}{_brackets(spec)}" for spec in inputs)
        raise InvalidError(
            f"the model does not take {shown} ({reason(refusal)})", field="inputs"
        ) from refusal
    return shapes


def _tried(source: Source, inputs: tuple[TensorSpec, ...]) -> tuple[Shapes, Exception | None]:
    def once(*tensors: torch.Tensor) -> object:
        return call.run(source, tensors)

    return accepted(inputs, random(inputs), once)


def _converted(
    source: Source,
    shapes: Shapes,
    outputs: tuple[TensorSpec, ...],
    into: Path,
    options: ImportOptions,
) -> tuple[Shapes, Conversion, Asked, list[str]]:
    """Write `model.onnx`, for one row at a time where no form is right for more of them.

    Raises:
        UnsupportedError: no form is right for one row either.
    """
    try:
        return shapes, *exporters.convert(source, shapes, outputs, into, options.exporter), []
    except UnlikeError as error:
        if source.program is not None or all(s.shape[:1] != (None,) for s in shapes.inputs):
            raise UnsupportedError(error.message, field=error.field) from error
        note = f"The batch size is fixed at 1: {error.message}."
    single = tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in shapes.inputs)
    shapes = replace(shapes, inputs=single, make=random(single))
    outputs = _outputs(source, shapes)
    try:
        return shapes, *exporters.convert(source, shapes, outputs, into, options.exporter), [note]
    except UnlikeError as error:
        raise UnsupportedError(error.message, field=error.field) from error


def _inputs(
    path: Path, source: Source, given: tuple[TensorSpec, ...], sample: samples.Sample | None
) -> tuple[TensorSpec, ...]:
    """The inputs that the user described, by words or by a sample.

    Raises:
        InvalidError: neither; the message shows what to type.
    """
    if given:
        for spec in given:
            if spec.datatype not in DTYPES:
                raise InvalidError(f"a network takes no {spec.datatype}", field="inputs")
        return given
    if sample is not None:
        return _sampled(source, sample)
    first = source.arguments[0] if source.arguments else "x"
    more = f" (and one for each of {', '.join(source.arguments[1:])})" * (len(source.arguments) > 1)
    raise InvalidError(
        f"{path.name}: the file does not say what its inputs look like; say it: --input "
        f"{first}:FP32[-1,3,32,32]{more}, where -1 is the batch, or --sample FILE.npy",
        field="inputs",
    )


def _sampled(source: Source, sample: samples.Sample) -> tuple[TensorSpec, ...]:
    arguments = source.arguments or ("x",)
    if sample.named and set(sample.columns) >= set(arguments):
        return tuple(_like(name, sample.columns[name]) for name in arguments)
    if len(arguments) > 1:
        raise InvalidError(
            f"the model takes {', '.join(arguments)}: a sample with these names is wanted (.npz)",
            field="sample",
        )
    columns = list(sample.columns.values())
    if len(columns) == 1:
        return (_like(arguments[0], columns[0]),)
    if any(column.dtype == object or column.ndim != 1 for column in columns):
        raise InvalidError("columns of numbers are wanted in the sample", field="sample")
    return (_like(arguments[0], np.stack(columns, axis=1)),)


def _like(name: str, array: Any) -> TensorSpec:
    kinds = {"f": Datatype.FP32, "i": Datatype.INT64, "u": Datatype.INT64, "b": Datatype.BOOL}
    if array.dtype.kind not in kinds:
        raise InvalidError(f"column '{name}' of the sample holds no numbers", field="sample")
    return TensorSpec(name, kinds[array.dtype.kind], (None, *array.shape[1:]))


def _outputs(source: Source, shapes: Shapes) -> tuple[TensorSpec, ...]:
    """Run the source on two sizes: an axis that changes is dynamic.

    Raises:
        RefusedError: it does not give the same twice.
        UnsupportedError: the rank of an output depends on the size.
    """
    runs = [call.run(source, tensors) for tensors in shapes.apart]
    again = call.run(source, shapes.example)
    first, last = runs[0], runs[-1]
    if any(not torch.equal(first[n].nan_to_num(), again[n].nan_to_num()) for n in first):
        raise RefusedError(
            "the model does not give the same answer twice: call model.eval() before it is "
            "exported, and take random operations out"
        )
    specs = []
    for name, tensor in first.items():
        other = last[name].shape
        if len(other) != tensor.ndim:
            raise UnsupportedError(f"the rank of output {name} depends on the input")
        shape = tuple(n if n == m else None for n, m in zip(tensor.shape, other, strict=True))
        score = shape in {(None, 1), (None,)} and tensor.dtype.is_floating_point
        role = Role.SCORE if score else Role.TENSOR
        specs.append(TensorSpec(name, DATATYPES[tensor.dtype], shape, role))
    return tuple(specs)


def _brackets(spec: TensorSpec) -> str:
    return f"[{','.join('-1' if extent is None else str(extent) for extent in spec.shape)}]"


def _with_missing(
    inputs: tuple[TensorSpec, ...], conversion: Conversion, asked: Asked
) -> tuple[TensorSpec, ...]:
    """Missing values are legal where the network fills them in itself, and its form too."""
    kept = next(attempt for attempt in conversion.attempts if attempt.by == conversion.by)
    legal = asked.missing is not None and kept.missing
    return tuple(replace(spec, allow_nan=legal and call.is_real(spec)) for spec in inputs)


def _signature(
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    layout: Layout | None,
    sample: samples.Sample | None,
) -> Signature:
    return layouts.of_network(inputs, outputs, layout, sample)


def _notes(source: Source, signature: Signature, conversion: Conversion, asked: Asked) -> list[str]:
    notes = [exporters.said(conversion)]
    if signature.batch_axis:
        notes.insert(0, "The first axis is the batch; it was checked at 1, 2, 7 and 16 rows.")
    elif source.program is not None:
        notes.append(
            "The batch size is fixed, as in the exported program; export it with dynamic_shapes="
            "{'x': {0: torch.export.Dim('batch')}} to serve rows in batches."
        )
    if asked.refused:
        notes.append(f"The network itself does not take {asked.refused[0]}.")
    if asked.missing is not None:
        legal = any(spec.allow_nan for spec in signature.inputs)
        notes.append(
            "Missing values are legal: the network answers them with numbers."
            if legal
            else "Missing values are refused: the converted form answers them otherwise."
        )
    notes.append("Outputs are as the network gives them: no softmax is assumed.")
    return notes
