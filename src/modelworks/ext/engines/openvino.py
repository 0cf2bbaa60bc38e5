"""Runs OpenVINO IR on the CPU: one compiled model and one request, for the shortest answer."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import UNLOADED, CrashedError, InvalidError, UnavailableError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.ext.engines.agreement import (
    agree,
    conform,
    nothing,
    one_line,
    refuse_unknown,
    trim,
)
from modelworks.ext.formats import ir


@contextmanager
def _unwatched() -> Iterator[None]:
    """Import OpenVINO without its reporter.

    `import openvino` alone imports openvino_telemetry, which writes an identity into the user's
    home and reports to its maker. Where that package is absent OpenVINO does without.
    """
    name = "openvino_telemetry"
    hide = name not in sys.modules
    if hide:
        sys.modules[name] = None  # type: ignore[assignment] # so is an import refused
    try:
        yield
    finally:
        if hide:
            del sys.modules[name]


with _unwatched():
    import openvino as ov

_TYPES: Final = {
    "boolean": Datatype.BOOL,
    "u8": Datatype.UINT8,
    "u16": Datatype.UINT16,
    "u32": Datatype.UINT32,
    "u64": Datatype.UINT64,
    "i8": Datatype.INT8,
    "i16": Datatype.INT16,
    "i32": Datatype.INT32,
    "i64": Datatype.INT64,
    "f16": Datatype.FP16,
    "f32": Datatype.FP32,
    "f64": Datatype.FP64,
    "bf16": Datatype.BF16,
    "string": Datatype.BYTES,
}
_PRECISIONS: Final = ("f32", "bf16", "f16")


class OpenVinoSession:
    """One compiled model; the arrays it takes and gives follow `core.seams.Session`."""

    apart = False

    def __init__(self, compiled: ov.CompiledModel, signature: Signature, own: Signature) -> None:
        self.signature = signature
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._inputs = [(spec.name, spec.datatype) for spec in own.inputs]
        names = [spec.name for spec in own.outputs]
        self._outputs = [(names.index(s.name), s.datatype) for s in signature.outputs]
        self._stateful = bool(self._request.query_state())

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once; see `core.seams.Session.infer`."""
        request = self._request
        if request is None:
            raise UnavailableError(UNLOADED)
        given = conform(inputs, self.signature)
        if any(array.size == 0 for array in given.values()):
            return nothing(given, self.signature)
        tensors = [_tensor(given[name], kind, name) for name, kind in self._inputs]
        try:
            if self._stateful:  # what one caller sent must not change what the next one gets
                request.reset_state()
            for place, tensor in enumerate(tensors):
                request.set_input_tensor(place, tensor)
            request.start_async()  # the other way makes a dictionary of all outputs first
            request.wait()
            return [_array(request.get_output_tensor(place), kind) for place, kind in self._outputs]
        except MemoryError as error:
            raise CrashedError("the engine ran out of memory") from error
        except (RuntimeError, ValueError, TypeError) as error:
            raise _failure(error) from error

    def close(self) -> None:
        """Drop the model and hand free pages back to the system."""
        if self._request is not None:
            self._request = None
            trim()


class OpenVinoEngine:
    """The engine `openvino`. Its own setting: `precision` (f32, bf16, f16) of what it computes."""

    name: ClassVar[str] = "openvino"
    formats: ClassVar[tuple[str, ...]] = ("openvino-ir",)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> OpenVinoSession:
        """Load `path`, or `model.xml` in it; see `core.seams.Engine.load`."""
        extra = refuse_unknown("openvino", options, ("precision",))
        precision = extra.get("precision", "f32")
        if precision not in _PRECISIONS:
            raise InvalidError(
                f"precision: '{precision}' is none of {', '.join(_PRECISIONS)}", field="precision"
            )
        file = path / ir.MODEL if path.is_dir() else path
        if not file.is_file():
            raise InvalidError(f"no model file at {file}", field="path")
        ir.read(file)
        try:
            core = ov.Core()
            model = core.read_model(str(file))
            own = _signature(model)
            compiled = core.compile_model(model, "CPU", _settings(options.threads, precision))
        except (RuntimeError, ValueError, TypeError) as error:
            raise InvalidError(
                f"{file.name} is no model that OpenVINO can load: {_reason(error)}", field="file"
            ) from error
        if options.signature is not None:
            agree(options.signature, own)
        session = OpenVinoSession(compiled, options.signature or own, own)
        del core, model, compiled
        trim()
        return session


def _settings(threads: int, precision: str) -> dict[str, Any]:
    """The shortest answer for one request at a time, as exact as the file.

    Without the hint for accuracy, OpenVINO computes float32 models in bfloat16 where the processor
    can. Pinned threads double the time on a busy machine. No cache folder is set, so none is kept.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "EXECUTION_MODE_HINT": "ACCURACY" if precision == "f32" else "PERFORMANCE",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }


def _signature(model: Any) -> Signature:
    return Signature(
        _specs([(port, port.get_node()) for port in model.inputs], "input"),
        _specs(
            [(port, port.get_node().input_value(0).get_node()) for port in model.outputs], "output"
        ),
    )


def _specs(ports: list[tuple[Any, Any]], side: str) -> tuple[TensorSpec, ...]:
    specs, seen = [], set()
    for place, (port, node) in enumerate(ports):
        name = _name(port, node, side)
        if name in seen:  # one tensor that is an output twice
            name = f"{name}_{place}"
        seen.add(name)
        kind = port.get_element_type().get_type_name()
        if kind not in _TYPES:
            raise InvalidError(
                f"{side} '{name}' has elements of OpenVINO's type {kind}, which no datatype of the "
                "Open Inference Protocol stands for",
                field=name,
            )
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic:
            raise InvalidError(
                f"{side} '{name}' has no fixed number of axes; convert the model with a shape",
                field=name,
            )
        lengths = tuple(None if axis.is_dynamic else axis.get_length() for axis in shape)
        specs.append(TensorSpec(name, _TYPES[kind], lengths))
    return tuple(specs)


def _name(port: Any, node: Any, side: str) -> str:
    """The same name each time: a tensor may have several, and they come as a set."""
    names = port.get_names()
    friendly = str(node.get_friendly_name())
    if friendly in names or not names:
        return friendly or side
    return str(min(names, key=lambda name: (len(name), name)))


def _tensor(array: Any, kind: Datatype, name: str) -> Any:
    if kind is Datatype.BF16:
        return ov.Tensor(np.array(array), ov.Shape(array.shape), ov.Type.bf16)
    if kind is not Datatype.BYTES:
        return ov.Tensor(array)
    texts = array.ravel().tolist()
    if not all(isinstance(text, bytes) for text in texts):
        raise InvalidError(f"input '{name}': BYTES elements are wanted", field=name)
    if any(text.endswith(b"\0") for text in texts):
        raise InvalidError(
            f"input '{name}': a text ends in a zero byte, which OpenVINO does not keep", field=name
        )
    return ov.Tensor(np.array(texts, dtype=np.bytes_).reshape(array.shape))


def _array(tensor: Any, kind: Datatype) -> Any:
    """A copy of an output, which the next call overwrites."""
    if kind is Datatype.BF16:
        return tensor.data.view(np.uint16).copy()
    if kind is not Datatype.BYTES:
        return tensor.data.copy()
    data = tensor.bytes_data
    result = np.empty(data.size, object)
    result[:] = data.ravel().tolist()
    return result.reshape(data.shape)


def _failure(error: Exception) -> InvalidError | CrashedError:
    """What the model refused is the caller's; what the engine could not do is ours."""
    reason = _reason(error)
    if "alloc" in reason.lower():
        return CrashedError(f"the engine ran out of memory: {reason}")
    return InvalidError(f"the model refuses this input: {reason}")


def _reason(error: BaseException) -> str:
    """OpenVINO's message without the places in its source that it begins with."""
    lines = [line.strip() for line in str(error)[:4000].splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return one_line(RuntimeError(" ".join(kept) or one_line(error)))
