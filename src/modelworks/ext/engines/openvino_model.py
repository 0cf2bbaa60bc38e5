"""OpenVINO's library without its reporter, and what its models say of themselves."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.engines.agreement import one_line


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Let imports of these modules fail, as where they are not installed.

    `import openvino` alone imports openvino_telemetry, which writes an identity into the user's
    home and reports to its maker. Where that package is absent OpenVINO does without. A module that
    is imported already stays.
    """
    fresh = [name for name in names if name not in sys.modules]
    for name in fresh:
        sys.modules[name] = None  # type: ignore[assignment] # so is an import refused
    try:
        yield
    finally:
        for name in fresh:
            del sys.modules[name]


with hidden("openvino_telemetry"):
    import openvino as ov

__all__ = ["GROUP", "grouped", "hidden", "ov", "reason", "settings", "signature_of"]

GROUP: Final = ("modelworks", "dynamic_quantization")
"""Where a model's file says in which groups of activations it wants to be computed."""

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


def settings(threads: int, precision: str = "f32", group: int = 0) -> dict[str, Any]:
    """The shortest answer for one request at a time, as exact as the file.

    Without the hint for accuracy, OpenVINO computes float32 models in bfloat16 where the processor
    can, and rounds activations before compressed weights. Pinned threads double the time on a busy
    machine. No cache folder is set, so none is kept.

    Args:
        threads: that compute.
        precision: f32, bf16 or f16.
        group: activations are rounded to eight bits in groups of so many; 0 = they are not.
    """
    found = {
        "PERFORMANCE_HINT": "LATENCY",
        "EXECUTION_MODE_HINT": "ACCURACY" if precision == "f32" else "PERFORMANCE",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    return found | ({"DYNAMIC_QUANTIZATION_GROUP_SIZE": str(group)} if group else {})


def grouped(model: Any) -> str:
    """In which groups the file itself wants activations to be rounded; "0" = not at all."""
    return str(model.get_rt_info(list(GROUP)).value) if model.has_rt_info(list(GROUP)) else "0"


def signature_of(model: Any) -> Signature:
    """What a model takes and gives, in its own order.

    Raises:
        InvalidError: a type that no datatype stands for, or a tensor without a number of axes.
    """
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


def reason(error: BaseException) -> str:
    """OpenVINO's message without the places in its source that it begins with."""
    lines = [line.strip() for line in str(error)[:4000].splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return one_line(RuntimeError(" ".join(kept) or one_line(error)))
