"""Turns a PyTorch source into ONNX, quietly, and cleans what the exporter leaves in the file."""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import torch

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.tensor import TensorSpec
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch.source import DTYPES, Source

BATCH = "batch"
_ONE_FILE = 1_800_000_000  # bytes of weights; protobuf ends at 2 GiB
_SIZES = ((2, 5), (3, 7))  # batch and other dynamic axes of the two examples


def examples(inputs: Sequence[TensorSpec], largest: int = 10) -> list[list[torch.Tensor]]:
    """Two sets of inputs that differ in every dynamic axis; one set where there is none.

    Args:
        inputs: what the model takes.
        largest: integers are below it: they may be indices of an embedding.
    """
    generator = torch.Generator().manual_seed(0)
    dynamic = any(None in spec.shape for spec in inputs)
    return [
        [_example(spec, first, other, largest, generator) for spec in inputs]
        for first, other in (_SIZES if dynamic else _SIZES[:1])
    ]


def _example(
    spec: TensorSpec, first: int, other: int, largest: int, generator: torch.Generator
) -> torch.Tensor:
    shape = [
        (first if axis == 0 else other) if extent is None else extent
        for axis, extent in enumerate(spec.shape)
    ]
    dtype = DTYPES[spec.datatype]
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 2 if dtype is torch.bool else largest, shape, generator=generator).to(
        dtype
    )


def export(
    source: Source, inputs: Sequence[TensorSpec], outputs: Sequence[str], path: Path
) -> None:
    """Write `path`; weights above 1.8 GB go into a file beside it.

    Raises:
        InvalidError: the model does not take such inputs, or not in every batch size.
        UnsupportedError: it holds something that ONNX has no operator for.
    """
    names = [spec.name for spec in inputs]
    try:
        with _quiet():
            if source.format == "torch-script":
                _by_script(source, inputs, outputs, path)
            else:
                program = source.program or _capture(source, inputs)
                done: Any = torch.onnx.export(
                    program, dynamo=True, input_names=names, output_names=list(outputs),
                    external_data=False, verbose=False,
                )  # fmt: skip
                size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
                done.save(str(path), external_data=size > _ONE_FILE)
    except InvalidError:
        raise
    except Exception as error:
        raise UnsupportedError(
            f"PyTorch {torch.__version__} cannot express this model in ONNX ({_cause(error)})"
        ) from error


def _by_script(
    source: Source, inputs: Sequence[TensorSpec], outputs: Sequence[str], path: Path
) -> None:
    """Scripts are known to the older exporter only."""
    axes = {
        spec.name: {axis: _axis(spec, axis) for axis, n in enumerate(spec.shape) if n is None}
        for spec in inputs
    }
    if any(spec.shape[:1] == (None,) for spec in inputs):
        axes |= {name: {0: BATCH} for name in outputs}
    torch.onnx.export(
        source.module,
        tuple(examples(inputs)[0]),
        str(path),
        dynamo=False,
        input_names=[spec.name for spec in inputs],
        output_names=list(outputs),
        dynamic_axes=axes,
    )


def _capture(source: Source, inputs: Sequence[TensorSpec]) -> Any:
    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, extent in enumerate(spec.shape) if extent is None}
        for spec in inputs
    )
    arguments = tuple(examples(inputs)[0])
    try:
        return torch.export.export(source.module, arguments, dynamic_shapes=dynamic, strict=False)
    except Exception as error:
        if not any(dynamic):
            raise
        raise InvalidError(
            f"the model cannot be captured with the dynamic axes of --input ({_cause(error)}); "
            "write the number in place of -1 where the model is made for one size",
            field="inputs",
        ) from error


def _axis(spec: TensorSpec, axis: int) -> str:
    return BATCH if axis == 0 else f"{spec.name}_{axis}"


def _cause(error: BaseException) -> str:
    """PyTorch wraps the cause in pages; the first lines of the innermost error tell it."""
    inner = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    lines = [line for line in str(inner).splitlines() if line.strip()]
    return reason(type(inner)(" ".join(lines[:3])) if _plain(inner) else error, 240)


def _plain(error: BaseException) -> bool:
    return type(error) in {RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError}


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print, log and warn; errors still come as exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def tidy(path: Path, outputs: Sequence[TensorSpec], inputs: Sequence[TensorSpec]) -> None:
    """Take out the traces of the machine that exported, and name the axes as the signature does."""
    model = onnx.load(path, load_external_data=False)
    graphs: list[Any] = [model.graph, *model.functions]
    for holder in graphs:
        for node in holder.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    for holder in (model, model.graph):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    for value, spec in (
        *zip(model.graph.input, inputs, strict=True),
        *zip(model.graph.output, outputs, strict=True),
    ):
        _dims(value.type.tensor_type.shape, spec)
    model.graph.ClearField("value_info")  # names axes by the old names; engines infer it anew
    path.write_bytes(model.SerializeToString(deterministic=True))


def _dims(shape: Any, spec: TensorSpec) -> None:
    del shape.dim[:]
    for axis, extent in enumerate(spec.shape):
        if extent is None:
            shape.dim.add(dim_param=_axis(spec, axis))
        else:
            shape.dim.add(dim_value=extent)
