"""Reads a PyTorch file, converts it, and keeps the source for comparison."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript
import torch

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.imports import Imported, ImportOptions, Runtime
from modelworks.core.seams import Engine, EngineOptions
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.ext.importers import layouts, samples
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch import call, export, native
from modelworks.ext.importers.torch.source import DATATYPES, DTYPES, Source, load
from modelworks.plugins import load as plugins

_WITH_CODE = {"torch-export", "torch-script"}
_TOLERANCE = (1e-4, 1e-3)  # absolute, relative: sums of thousands of float32 in another order


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Convert `path` to `into/model.onnx`; errors as in `core.seams.Importer.read`."""
    source = load(path, options.factory, trust=options.trust)
    _refuse_unread(path, source, options)
    sample = samples.read(options.sample) if options.sample else None
    inputs = source.inputs or _inputs(path, source, options.inputs, sample)
    if not source.inputs and not options.inputs:
        inputs = _settled(source, inputs)
    if options.runtime is Runtime.NATIVE:
        signature = _signature(inputs, _outputs(source, inputs), options.layout, sample)
        return native.keep(path, into, options, source, signature, sample)
    notes = list(source.notes)
    outputs, trouble = _converted(source, inputs, into)
    if trouble and any(spec.shape[:1] == (None,) for spec in inputs) and source.program is None:
        notes.append(f"The batch size is fixed at 1: {trouble}.")
        inputs = tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in inputs)
        outputs, trouble = _converted(source, inputs, into)
    if trouble:
        raise UnsupportedError(f"the converted model does not hold: {trouble}")
    signature = _signature(inputs, outputs, options.layout, sample)
    notes += _notes(source, signature)
    return Imported(
        format="onnx",
        source_format=source.format,
        signature=signature,
        predict=call.predictor(source, inputs),
        environment={
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__,
            "numpy": np.__version__,
        },
        notes=tuple(notes),
        tolerance=_TOLERANCE,
        kind="network",
        scanned=source.names,
        scan=source.scan,
        sample=samples.tensors(sample, signature) if sample else None,
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


def _converted(
    source: Source, inputs: tuple[TensorSpec, ...], into: Path
) -> tuple[tuple[TensorSpec, ...], str]:
    """Write `model.onnx` and try it; its outputs, and what is wrong with it, or ""."""
    outputs = _outputs(source, inputs)
    export.export(source, inputs, [spec.name for spec in outputs], into / "model.onnx")
    export.tidy(into / "model.onnx", outputs, inputs)
    return outputs, _trouble(source, inputs, outputs, into)


def _settled(source: Source, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Whole numbers in a sample may be meant as real ones: the model decides."""
    try:
        _outputs(source, inputs)
    except InvalidError:
        if all(spec.datatype is not Datatype.INT64 for spec in inputs):
            raise
        return tuple(replace(spec, datatype=Datatype.FP32) for spec in inputs)
    return inputs


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
        return tuple(replace(spec, allow_nan=False) for spec in given)
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
    return TensorSpec(name, kinds[array.dtype.kind], (None, *array.shape[1:]), allow_nan=False)


def _outputs(source: Source, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Run the source on two sizes: an axis that changes is dynamic.

    Raises:
        InvalidError: it does not take such inputs.
        RefusedError: it does not give the same twice.
    """
    try:
        runs = [call.run(source, tensors) for tensors in export.examples(inputs)]
        again = call.run(source, export.examples(inputs)[0])
    except (UnsupportedError, MemoryError):
        raise
    except Exception as error:
        shown = ", ".join(f"{spec.name}:{spec.datatype}{_brackets(spec)}" for spec in inputs)
        raise InvalidError(
            f"the model does not take {shown} ({reason(error)})", field="inputs"
        ) from error
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


def _trouble(
    source: Source, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], into: Path
) -> str:
    """Run the converted model on both sizes; what is wrong with it, or ""."""
    engine: Engine = plugins.load("engines", "onnxruntime")()
    session = engine.load(into, EngineOptions())
    try:
        for tensors in export.examples(inputs):
            rows = len(tensors[0]) if tensors and tensors[0].ndim else 1
            given = {s.name: call.array(t) for s, t in zip(inputs, tensors, strict=True)}
            got = session.infer(given)
            wanted = call.run(source, tensors)
            for spec, array in zip(outputs, got, strict=True):
                if tuple(array.shape) != tuple(wanted[spec.name].shape):
                    return f"for {rows} rows its output {spec.name} has shape {array.shape}"
    except InvalidError as error:
        return reason(error)
    finally:
        session.close()
    return ""


def _signature(
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    layout: Layout | None,
    sample: samples.Sample | None,
) -> Signature:
    inputs = tuple(replace(spec, allow_nan=False) for spec in inputs)
    return layouts.of_network(inputs, outputs, layout, sample)


def _notes(source: Source, signature: Signature) -> list[str]:
    notes = []
    if signature.batch_axis:
        notes.append("The first axis is the batch; it was checked at two sizes.")
    elif source.program is not None:
        notes.append(
            "The batch size is fixed, as in the exported program; export it with dynamic_shapes="
            "{'x': {0: torch.export.Dim('batch')}} to serve rows in batches."
        )
    notes.append("Outputs are as the network gives them: no softmax is assumed.")
    return notes
