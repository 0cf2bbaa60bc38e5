"""Runs ONNX models with onnxruntime: one session a model, quiet and small."""

import ctypes
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import onnxruntime as ort

from modelworks.core.errors import (
    UNLOADED,
    CrashedError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.seams import EngineOptions, Session
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.ext.engines import arena, providers
from modelworks.ext.engines.agreement import agree, trim
from modelworks.ext.engines.bound import ReusingSession, bindable

_TYPES: Final = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(bfloat16)": Datatype.BF16,
    "tensor(string)": Datatype.BYTES,
}
_BFLOAT16_ELEMENT: Final = 16  # onnx.TensorProto.BFLOAT16
_OPTIMIZATION: Final = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_EXECUTION: Final = {
    "sequential": ort.ExecutionMode.ORT_SEQUENTIAL,
    "parallel": ort.ExecutionMode.ORT_PARALLEL,
}
_QUIET: Final = 4  # fatal only: what fails is raised, and said once
_LONGEST_REASON: Final = 240
_TOO_NEW: Final = (
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        (
            "its IR version is {0} and this onnxruntime reads up to {1}: save it with "
            "`ir_version = {1}`, or with an older onnx"
        ),
    ),
    (
        re.compile(r"Opset (\d+) is under development.* is till opset (\d+)"),
        (
            "its operator set is {0} and this onnxruntime runs up to {1}: export it with "
            "`opset_version={1}` or lower"
        ),
    ),
)


class OnnxRuntimeSession:
    """One model in memory; the arrays it takes and gives follow `core.seams.Session`."""

    apart = False

    def __init__(self, session: ort.InferenceSession, signature: Signature) -> None:
        self.signature = signature
        self._session: ort.InferenceSession | None = session
        # `InferenceSession.run` asks again for every call what does not change: 1.3 us of it.
        self._run: Callable[..., Sequence[Any]] = session._sess.run  # noqa: SLF001 - measured
        self._names = [spec.name for spec in signature.outputs]
        specs = (*signature.inputs, *signature.outputs)
        self._bfloat16 = any(spec.datatype is Datatype.BF16 for spec in specs)
        self._text_inputs = [s.name for s in signature.inputs if s.datatype is Datatype.BYTES]
        self._text_outputs = [
            place for place, s in enumerate(signature.outputs) if s.datatype is Datatype.BYTES
        ]

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run once; see `core.seams.Session.infer`."""
        session = self._session
        if session is None:
            raise UnavailableError(UNLOADED)
        if self._text_inputs:
            inputs = self._with_text(inputs)
        try:
            outputs: Sequence[Any] = (
                self._run_values(session, inputs)
                if self._bfloat16
                else self._run(self._names, inputs, None)
            )
        except (MemoryError, UnicodeError) as error:
            raise CrashedError(f"the engine failed: {_reason(error)}") from error
        except Exception as error:  # onnxruntime has no base of its own
            raise _failure(error) from error
        if self._text_outputs:
            found = list(outputs)
            for place in self._text_outputs:
                found[place] = _to_bytes(found[place])
            return found
        return outputs

    def reusing(self) -> Session:
        """See `core.seams.Reusable`."""
        if self._session is None or self._bfloat16 or not bindable(self.signature):
            return self
        return ReusingSession(self, self._session)

    def close(self) -> None:
        """Drop the session and hand free pages back to the system."""
        if self._session is not None:
            self._session = None
            self._run = _unloaded
            arena.shrink()
            trim()

    def _with_text(self, inputs: Tensors) -> dict[str, Any]:
        """BYTES arrays as arrays of `str`, the only form of strings that onnxruntime takes."""
        changed = dict(inputs)
        for name in self._text_inputs:
            if name in changed:
                changed[name] = _to_str(changed[name], name)
        return changed

    def _run_values(self, session: ort.InferenceSession, inputs: Tensors) -> list[Any]:
        """The way through OrtValue, for models with BF16 tensors, which numpy does not know."""
        kinds = {spec.name: spec.datatype for spec in self.signature.inputs}
        values = {
            name: _bfloat16_value(array, name)
            if kinds.get(name) is Datatype.BF16
            else ort.OrtValue.ortvalue_from_numpy(_contiguous(array))
            for name, array in inputs.items()
        }
        results = session.run_with_ort_values(self._names, values)
        return [
            _bfloat16_array(value) if spec.datatype is Datatype.BF16 else value.numpy()
            for spec, value in zip(self.signature.outputs, results, strict=True)
        ]


def _unloaded(*_: Any) -> Sequence[Any]:
    raise UnavailableError(UNLOADED)


class OnnxRuntimeEngine:
    """The engine `onnxruntime`.

    Its own settings:
        provider: cpu, cuda or tensorrt: where it computes (`providers`).
        device: cuda:1, of several; alone it means provider=cuda.
        gpu_memory_mib: of the device that the session may take; refused where less is free.
        tf32, cudnn_search: on or off; exhaustive, heuristic or default. Of CUDA.
        optimization: of the graph as it is loaded: all, extended, basic, disabled.
        execution: sequential or parallel; with parallel, `inter_threads` operators at a time.
        arena: common, own or off: where intermediate tensors lie.
    """

    name: ClassVar[str] = "onnxruntime"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    experimental: ClassVar[bool] = False

    def load(self, path: Path, options: EngineOptions) -> OnnxRuntimeSession:
        """Load `path`, or `model.onnx` in it; see `core.seams.Engine.load`."""
        file = _model_file(Path(path))
        settings = _settings(options)
        place = providers.place_of(dict(options.extra))
        try:
            session = providers.session(file, settings, place)
        except ModelworksError:
            raise
        except Exception as error:  # onnxruntime has no base of its own
            raise InvalidError(
                f"{file.name} is no model that onnxruntime can load: {_reason(error, file)}"
            ) from error
        own = _signature(session)
        if options.signature is not None:
            agree(options.signature, own)
        trim()  # parsing leaves several times the file's size behind
        return OnnxRuntimeSession(session, options.signature or own)


def _model_file(path: Path) -> Path:
    file = path / "model.onnx" if path.is_dir() else path
    if not file.is_file():
        raise InvalidError(f"no model file at {file}", field="path")
    if file.stat().st_size == 0:
        raise InvalidError(f"{file.name} is empty", field="path")
    return file


def _settings(options: EngineOptions) -> ort.SessionOptions:
    extra = dict(options.extra)
    for name in providers.OPTIONS:
        extra.pop(name, None)
    settings = ort.SessionOptions()
    settings.log_severity_level = _QUIET
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = _threads(extra.pop("inter_threads", "1"))
    settings.graph_optimization_level = _choice(
        "optimization", extra.pop("optimization", "all"), _OPTIMIZATION
    )
    _choice("arena", extra.pop("arena", "common"), _ARENAS)(settings)
    settings.execution_mode = _choice("execution", extra.pop("execution", "sequential"), _EXECUTION)
    # Spinning threads eat the core that the server itself runs on.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if extra:
        unknown = min(extra)
        raise InvalidError(
            f"onnxruntime has no option '{unknown[:40]}'; known are arena, execution, "
            f"inter_threads, optimization, {', '.join(providers.OPTIONS)}",
            field=unknown,
        )
    return settings


def _own_arena(settings: ort.SessionOptions) -> None:
    settings.enable_cpu_mem_arena = settings.enable_mem_pattern = True


def _no_arena(settings: ort.SessionOptions) -> None:
    settings.enable_cpu_mem_arena = settings.enable_mem_pattern = False


_ARENAS: Final = {"common": arena.use, "own": _own_arena, "off": _no_arena}


def _choice(option: str, value: str, known: dict[str, Any]) -> Any:
    try:
        return known[value]
    except KeyError:
        raise InvalidError(
            f"{option}: '{value[:40]}' is none of {', '.join(known)}", field=option
        ) from None


def _threads(value: str) -> int:
    if not value.isdecimal() or len(value) > 3 or not 1 <= int(value) <= 256:
        raise InvalidError(
            f"inter_threads: '{value[:40]}' is no number from 1 to 256", field="extra"
        )
    return int(value)


def _signature(session: ort.InferenceSession) -> Signature:
    return Signature(
        tuple(_spec(node, "input") for node in session.get_inputs()),
        tuple(_spec(node, "output") for node in session.get_outputs()),
    )


def _spec(node: Any, side: str) -> TensorSpec:
    datatype = _TYPES.get(node.type)
    if datatype is None:
        raise InvalidError(
            f"{side} '{node.name}' is a {node.type}, and only plain tensors can be served; "
            f"{_cure(node.type)}",
            field=node.name,
        )
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape)
    return TensorSpec(node.name, datatype, shape)


def _cure(kind: str) -> str:
    if kind.startswith("seq(map"):
        return "convert the classifier again with options={'zipmap': False}"
    if kind.startswith("optional"):
        return "export the model with that input always present"
    return "export the model with tensors only"


def _failure(error: Exception) -> InvalidError | CrashedError:
    """What the model refused is the caller's; what the engine could not do is ours."""
    reason = _reason(error)
    if isinstance(error, InvalidError | CrashedError):
        return error
    if "alloc" in reason.lower():
        return CrashedError(f"the engine ran out of memory: {reason}")
    return InvalidError(f"the model refuses this input: {reason}")


def _reason(error: BaseException, file: Path | None = None) -> str:
    """The last, telling part of a message of onnxruntime, in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    if file is not None:
        text = text.replace(f"Load model from {file} failed:", "").replace(str(file), file.name)
        if "Protobuf parsing failed" in text:
            text = "not an ONNX file, or cut short"
    for pattern, cure in _TOO_NEW:
        if found := pattern.search(text):
            return cure.format(*found.groups())
    if len(text) <= _LONGEST_REASON:
        return text
    # A place in its source and a signature come before what is wrong: the end tells more.
    start = _LONGEST_REASON // 3 if "/onnxruntime_src/" in text else _LONGEST_REASON - 3
    return text[:start] + "..." + text[len(text) - (_LONGEST_REASON - 3 - start) :]


def _to_str(array: Any, name: str) -> Any:
    try:
        texts = [value.decode() for value in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise InvalidError(f"input '{name}': the text is no UTF-8: {error}", field=name) from error
    except AttributeError as error:
        raise InvalidError(f"input '{name}': BYTES elements are wanted", field=name) from error
    return _objects(texts, array.shape)


def _to_bytes(array: Any) -> Any:
    return _objects([value.encode() for value in array.ravel().tolist()], array.shape)


def _objects(values: list[Any], shape: tuple[int, ...]) -> Any:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result.reshape(shape)


def _bfloat16_value(array: Any, name: str) -> ort.OrtValue:
    if array.dtype != np.uint16:
        raise InvalidError(
            f"input '{name}': BF16 is wanted as uint16 patterns, not {array.dtype}", field=name
        )
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(_contiguous(array), _BFLOAT16_ELEMENT)


def _contiguous(array: Any) -> Any:
    """Row-major; numpy's own function would make an axis for a scalar."""
    return np.ascontiguousarray(array).reshape(array.shape)


def _bfloat16_array(value: ort.OrtValue) -> Any:
    shape = value.shape()
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, dtype=np.uint16)
    memory = ctypes.string_at(value.data_ptr(), 2 * count)
    return np.frombuffer(memory, dtype=np.uint16).reshape(shape)
