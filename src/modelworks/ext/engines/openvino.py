"""Runs OpenVINO IR: one compiled model and one request, for the shortest answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import (
    UNLOADED,
    CrashedError,
    InvalidError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, Tensors
from modelworks.ext.engines.agreement import agree, conform, nothing, refuse_unknown, trim
from modelworks.ext.engines.gpus import number_of
from modelworks.ext.engines.openvino_model import grouped, ov, reason, settings, signature_of
from modelworks.ext.formats import ir
from modelworks.protocol.tensors import DTYPES

_PRECISIONS: Final = ("f32", "bf16", "f16")
_KNOWN: Final = ("precision", "reshape", "dynamic_quantization", "device")
_MOST_SHAPES: Final = 8
_LONGEST_AXIS: Final = 65_536
_CPU: Final = "CPU"
_OF_CPU: Final = ("INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING")  # other devices refuse them
_GROUPS: Final = ("0", "32", "64", "128")

Shapes = tuple[tuple[int, ...], ...]
"""Of all inputs, in the model's order."""


class OpenVinoSession:
    """One compiled model; the arrays it takes and gives follow `core.seams.Session`.

    Args:
        compiled: for inputs of any shape.
        signature: as registered.
        own: the model's.
        fixed: the same model compiled for shapes that come often.
    """

    apart = False

    def __init__(
        self,
        compiled: ov.CompiledModel,
        signature: Signature,
        own: Signature,
        fixed: dict[Shapes, ov.CompiledModel],
    ) -> None:
        self.signature = signature
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._fixed = {shapes: one.create_infer_request() for shapes, one in fixed.items()}
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
        if self._fixed:
            shapes = tuple(given[name].shape for name, _ in self._inputs)
            request = self._fixed.get(shapes, request)
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
            self._fixed = {}
            trim()


class OpenVinoEngine:
    """The engine `openvino`.

    Its own settings:
        precision: f32, bf16 or f16, of what it computes.
        reshape: sizes of the dynamic axes that come often, `1,16x32`: for each the model is
            compiled once more, for exactly these (up to a fifth less time, and memory for each);
            whatever else comes is computed as ever. The first number is the first dynamic axis of
            every input, and so on.
        dynamic_quantization: 32, 64 or 128: activations are rounded to eight bits in groups of so
            many where weights are of eight or four; 0 = they are not. As the file says, unless
            given; files that say nothing mean 0.
        device: cpu, or gpu:0 of Intel's where OpenVINO finds one.
    """

    name: ClassVar[str] = "openvino"
    formats: ClassVar[tuple[str, ...]] = ("openvino-ir",)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> OpenVinoSession:
        """Load `path`, or `model.xml` in it; see `core.seams.Engine.load`."""
        extra = refuse_unknown("openvino", options, _KNOWN)
        precision = _choice("precision", extra.get("precision", "f32"), _PRECISIONS)
        asked = _sizes(extra.get("reshape", ""))
        file = path / ir.MODEL if path.is_dir() else path
        if not file.is_file():
            raise InvalidError(f"no model file at {file}", field="path")
        ir.read(file)
        try:
            core = ov.Core()
            device = _device(core, extra.get("device", "cpu"))
            model = core.read_model(str(file))
            own = signature_of(model)
            group = extra.get("dynamic_quantization", "") or grouped(model)
            _choice("dynamic_quantization", group, _GROUPS)
            wanted = settings(options.threads, precision, int(group))
            if device != _CPU:
                wanted = {key: value for key, value in wanted.items() if key not in _OF_CPU}
            compiled = core.compile_model(model, device, wanted)
        except (RuntimeError, ValueError, TypeError) as error:
            raise InvalidError(
                f"{file.name} is no model that OpenVINO can load: {reason(error)}", field="file"
            ) from error
        if options.signature is not None:
            agree(options.signature, own)
        fixed = {shapes: _fixed(model, shapes, device, wanted) for shapes in _shapes(own, asked)}
        session = OpenVinoSession(compiled, options.signature or own, own, fixed)
        del core, model, compiled, fixed
        trim()
        return session


def _choice(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InvalidError(f"{name}: '{value[:40]}' is none of {', '.join(known)}", field=name)
    return value


def _sizes(text: str) -> list[tuple[int, ...]]:
    """`1,16x32` as numbers."""
    found = [tuple(one.strip().split("x")) for one in text.split(",")] if text else []
    good = all(n.isascii() and n.isdecimal() and len(n) < 6 for sizes in found for n in sizes)
    numbers = [tuple(int(n) for n in sizes) for sizes in found] if good else []
    small = all(1 <= n <= _LONGEST_AXIS for sizes in numbers for n in sizes)
    if not good or not small or len(found) > _MOST_SHAPES:
        raise InvalidError(
            f"reshape: '{text[:40]}' is not like 1,16x32 (at most {_MOST_SHAPES}, each from 1 to "
            f"{_LONGEST_AXIS})",
            field="reshape",
        )
    return numbers


def _shapes(own: Signature, asked: list[tuple[int, ...]]) -> list[Shapes]:
    """The inputs' shapes for each of the sizes.

    Raises:
        InvalidError: an input has more dynamic axes than there are sizes, or none has any.
    """
    free = max(spec.shape.count(None) for spec in own.inputs) if asked else 0
    for sizes in asked:
        if len(sizes) != free:
            told = "x".join(map(str, sizes))
            raise InvalidError(
                f"reshape: '{told}' has {len(sizes)} sizes, and the model's inputs have {free} "
                "dynamic axes",
                field="reshape",
            )
    found = []
    for sizes in asked:
        left = [iter(sizes) for _ in own.inputs]
        found.append(
            tuple(
                tuple(next(mine) if size is None else size for size in spec.shape)
                for spec, mine in zip(own.inputs, left, strict=True)
            )
        )
    return found


def _device(core: ov.Core, told: str) -> str:
    """OpenVINO's name of a device that is there.

    Raises:
        InvalidError: it is none.
        UnsupportedError: OpenVINO does not find it.
    """
    if told == "cpu":
        return _CPU
    number = number_of(told, "gpu")
    there = [str(one) for one in core.available_devices]
    known = {f"GPU.{number}"} | ({"GPU"} if number == 0 else set())  # a single one has no number
    found = next((one for one in there if one in known), None)
    if found is None:
        raise UnsupportedError(
            f"device={told}: OpenVINO finds {', '.join(there) or 'none'} here: Intel's GPU needs "
            "its compute runtime (intel-opencl-icd) and a process that may open "
            "/dev/dri/renderD128; or device=cpu"
        )
    return found


def _fixed(
    model: ov.Model, shapes: Shapes, device: str, wanted: dict[str, Any]
) -> ov.CompiledModel:
    """The model for these shapes alone."""
    copy = model.clone()
    try:
        copy.reshape(dict(enumerate(map(ov.PartialShape, map(list, shapes)))))
        return ov.Core().compile_model(copy, device, wanted)
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidError(
            f"reshape: the model cannot be compiled for {shapes[0]}: {reason(error)}",
            field="reshape",
        ) from error


def _tensor(array: Any, kind: Datatype, name: str) -> Any:
    if kind is Datatype.BF16:
        return ov.Tensor(np.array(array), ov.Shape(array.shape), ov.Type.bf16)
    if kind is not Datatype.BYTES:  # NumPy has two int64, and OpenVINO knows one
        own = DTYPES[kind]
        return ov.Tensor(array if array.dtype.num == own.num else array.view(own))
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
    why = reason(error)
    if "alloc" in why.lower():
        return CrashedError(f"the engine ran out of memory: {why}")
    return InvalidError(f"the model refuses this input: {why}")
