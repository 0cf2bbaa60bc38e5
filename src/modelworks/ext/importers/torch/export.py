"""Turns a PyTorch source into ONNX, quietly, and cleans what the exporter leaves in the file."""

import io
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.jit._trace import TracerWarning

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import Exporter
from modelworks.core.tensor import TensorSpec
from modelworks.ext.importers.reasons import disk_is_full
from modelworks.ext.importers.torch import call
from modelworks.ext.importers.torch.shapes import Shapes
from modelworks.ext.importers.torch.source import Source

BATCH = "batch"
_SCOPES = "pkg.torch.onnx.name_scopes"
_ONE_FILE = 1_800_000_000  # bytes of weights; protobuf ends at 2 GiB
_PASSED_OVER = ("Python boolean", "Python integer", "Python float", "Python number", "Python list")
"""What TorchScript's warnings say that a tensor becomes, and stays from then on."""
_NOISE = re.compile(r"\x1b\[[0-9;]*m| *For more information, run with TORCH_LOGS=\S+")
"""Colours, and how to debug PyTorch."""
_PAGES, _SHOWN = 4000, 240


class _Ordered(torch.nn.Module):
    """A source whose outputs come in order: TorchScript's exporter numbers them.

    Args:
        source: the network.
        outputs: their names.
    """

    def __init__(self, source: Source, outputs: Sequence[str]) -> None:
        super().__init__()
        self.inner = source.module
        self._source = source
        self._outputs = tuple(outputs)
        self.training = False  # the exporter puts back what it finds, into every module inside

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs."""
        found = call.named(self._source.call(*tensors))
        return tuple(found[name] for name in self._outputs)


def export(source: Source, shapes: Shapes, outputs: Sequence[str], path: Path, by: Exporter) -> str:
    """Write `path`; weights above 1.8 GB go into a file beside it.

    Args:
        source: the network.
        shapes: its inputs; the example is what the exporter sees.
        outputs: names, in order.
        path: the file to write.
        by: TORCHSCRIPT or DYNAMO.

    Returns:
        What speaks against relying on the result, or "".

    Raises:
        InvalidError: the model cannot be captured with its free axes.
        UnsupportedError: it holds something that ONNX has no operator for.
    """
    try:
        with _quiet() as told:
            if by is Exporter.TORCHSCRIPT:
                _by_torchscript(source, shapes, outputs, path)
            else:
                _by_dynamo(source, shapes, outputs, path)
    except (InvalidError, UnsupportedError, MemoryError):
        raise
    except Exception as error:
        if disk_is_full(error):
            raise
        raise UnsupportedError(
            f"PyTorch {torch.__version__} cannot express this model in ONNX ({_cause(error)})"
        ) from error
    return _passed_over(told)


def _by_dynamo(source: Source, shapes: Shapes, outputs: Sequence[str], path: Path) -> None:
    program = source.program or _capture(source, shapes)
    done: Any = torch.onnx.export(
        program, dynamo=True, input_names=[spec.name for spec in shapes.inputs],
        output_names=list(outputs), external_data=False, verbose=False,
    )  # fmt: skip
    done.save(str(path), external_data=_bytes(program.state_dict) > _ONE_FILE)


def _by_torchscript(source: Source, shapes: Shapes, outputs: Sequence[str], path: Path) -> None:
    if _bytes(source.module.state_dict()) > _ONE_FILE:
        raise UnsupportedError(
            "its weights are beyond 1.8 GB, which the exporter torchscript scatters over files"
        )
    scripted = source.format == "torch-script"
    axes = {
        spec.name: {axis: _axis(spec, axis) for axis, n in enumerate(spec.shape) if n is None}
        for spec in shapes.inputs
    }
    if any(spec.shape[:1] == (None,) for spec in shapes.inputs):
        axes |= {name: {0: BATCH} for name in outputs}
    with torch.no_grad(), _plain_attention():
        torch.onnx.export(
            source.module if scripted else _Ordered(source, outputs),
            tuple(shapes.example),
            str(path),
            dynamo=False,
            input_names=[spec.name for spec in shapes.inputs],
            output_names=list(outputs),
            dynamic_axes=axes,
        )


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as its single operators: the fused one is for running and has no ONNX form."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _bytes(state: dict[str, Any]) -> int:
    return sum(t.numel() * t.element_size() for t in state.values() if torch.is_tensor(t))


def _capture(source: Source, shapes: Shapes) -> Any:
    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, extent in enumerate(spec.shape) if extent is None}
        for spec in shapes.inputs
    )
    arguments = tuple(shapes.example)
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


def _passed_over(told: list[warnings.WarningMessage]) -> str:
    """What TorchScript says that it takes for a constant, with the line of code it stands in."""
    for warning in told:
        text = str(warning.message)
        if issubclass(warning.category, TracerWarning) and any(
            kind in text for kind in _PASSED_OVER
        ):
            kind = next(kind for kind in _PASSED_OVER if kind in text)
            place = f"{Path(warning.filename).name}, line {warning.lineno}"
            return f"a tensor becomes a {kind} in {place}, which it takes for a constant"
    return ""


def _axis(spec: TensorSpec, axis: int) -> str:
    return BATCH if axis == 0 else f"{spec.name}_{axis}"


def _cause(error: BaseException) -> str:
    """PyTorch wraps the cause in pages; the beginning of the innermost error tells it."""
    inner = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    told = inner if _plain(inner) else error
    text = " ".join(_NOISE.sub("", str(told)[:_PAGES]).split())
    said = f"{type(told).__name__}: {text or 'no reason given'}"
    return said if len(said) <= _SHOWN else said[: _SHOWN - 3] + "..."


def _plain(error: BaseException) -> bool:
    """Whether it says what is wrong: one of Python's own, or of the exporters'."""
    return type(error).__module__ == "builtins" or type(error).__module__.startswith("torch.onnx")


@contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Exporters print, log and warn; errors still come as exceptions, warnings as a list."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(record=True) as told,
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("always")
            # Torch's own checks of shapes warn too; its filter takes torch_mine.py for its own.
            own = r"torch\.(?!jit)"
            warnings.filterwarnings("ignore", category=TracerWarning, module=own)
            yield told
    finally:
        logging.disable(before)


def tidy(path: Path, outputs: Sequence[TensorSpec], inputs: Sequence[TensorSpec]) -> None:
    """Take out the traces of the machine that exported, and name the axes as the signature does."""
    model = onnx.load(path, load_external_data=False)
    graphs: list[Any] = [model.graph, *model.functions]
    _name_by_modules(model.graph.node)
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
    if len(model.graph.input) != len(inputs):
        kept = ", ".join(value.name for value in model.graph.input)
        raise UnsupportedError(f"the exporter left out inputs; its graph takes {kept or 'none'}")
    for value, spec in (
        *zip(model.graph.input, inputs, strict=True),
        *zip(model.graph.output, outputs, strict=True),
    ):
        _dims(value.type.tensor_type.shape, spec)
    model.graph.ClearField("value_info")  # names axes by the old names; engines infer it anew
    path.write_bytes(model.SerializeToString(deterministic=True))


def _name_by_modules(nodes: Iterable[Any]) -> None:
    """Name operators after the modules that they belong to, as TorchScript's exporter does.

    Dynamo's says it beside: `['', 'layers', 'layers.0', 'conv2d']` becomes `/layers.0/conv2d`.
    """
    seen: Counter[str] = Counter()
    for node in nodes:
        told = next((one.value for one in node.metadata_props if one.key == _SCOPES), "")
        scopes = [part.strip(" '\"") for part in told.strip("[]").split(",")]
        if len(scopes) > 1:
            name = "/".join(scopes[-2:] if scopes[-2] else ["", scopes[-1]])
            node.name = name if name.startswith("/") else f"/{name}"
            seen[node.name] += 1
            if seen[node.name] > 1:
                node.name += f":{seen[node.name]}"


def _dims(shape: Any, spec: TensorSpec) -> None:
    del shape.dim[:]
    for axis, extent in enumerate(spec.shape):
        if extent is None:
            shape.dim.add(dim_param=_axis(spec, axis))
        else:
            shape.dim.add(dim_value=extent)
