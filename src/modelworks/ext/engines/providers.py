"""Where ONNX Runtime computes: on the processor, or on an accelerator that it was built for.

No accelerator was there when this was written: what is tested is that one which is not there is
refused, by name and with the cure, and never replaced by the processor in silence.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.ext.engines import gpus

CPU: Final = "cpu"
_NAMES: Final = {
    CPU: "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_CHAINS: Final = {"cuda": ("cuda",), "tensorrt": ("tensorrt", "cuda")}
"""What takes the operators that the one before it does not; the processor comes last."""

_EXACT: Final = {"use_tf32": "0"}  # float32 stays float32: the graph says how precise it is
_CUDA: Final = {
    "tf32": ("use_tf32", {"on": "1", "off": "0"}),
    "cudnn_search": (
        "cudnn_conv_algo_search",
        {"exhaustive": "EXHAUSTIVE", "heuristic": "HEURISTIC", "default": "DEFAULT"},
    ),
}
"""Our settings -> ONNX Runtime's options of its CUDA provider."""

_TIMES: Final = 2  # weights, and what is computed from them, where nobody says better
_PLAN: Final = "plan.json"
_TAKEN: Final = {
    "trt_fp16_enable": bool,
    "trt_max_workspace_size": int,
    "trt_profile_min_shapes": str,
    "trt_profile_opt_shapes": str,
    "trt_profile_max_shapes": str,
}
"""Of a plan's options; where files are written is not for a file to say."""

_LARGEST_PLAN: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session computes, as its engine's settings say.

    Attributes:
        provider: `cpu`, `cuda` or `tensorrt`.
        number: of NVIDIA's device, in CUDA's order for this process.
        memory_mib: that the session's arena may take there; 0 = as much as it asks for.
        more: options of the CUDA provider by ONNX Runtime's names.
    """

    provider: str = CPU
    number: int = 0
    memory_mib: int = 0
    more: tuple[tuple[str, str], ...] = ()


OPTIONS: Final = ("provider", "device", "gpu_memory_mib", "tf32", "cudnn_search")
"""Settings of the engine that say where it computes."""


def place_of(extra: Mapping[str, str]) -> Place:
    """What an engine's settings say; `device=cuda:1` alone means the provider `cuda`.

    Raises:
        InvalidError: a value that cannot be, or two that contradict each other.
    """
    device = extra.get("device", "")
    provider = extra.get("provider") or ("cuda" if device.startswith("cuda") else CPU)
    if provider not in _NAMES:
        raise InvalidError(
            f"provider: '{provider[:40]}' is none of {', '.join(_NAMES)}", field="provider"
        )
    if provider == CPU:
        wrong = [name for name in OPTIONS[2:] if name in extra]
        if device not in {"", CPU}:
            wrong.append("device")
        if wrong:
            raise InvalidError(
                f"{wrong[0]}={extra[wrong[0]][:40]} goes with a GPU of NVIDIA's: device=cuda:0, or "
                "provider=cuda or tensorrt",
                field=wrong[0],
            )
        return Place()
    number = gpus.number_of(device, "cuda") if device else 0
    memory = extra.get("gpu_memory_mib", "0")
    if not (memory.isdecimal() and len(memory) < 8):
        raise InvalidError(
            f"gpu_memory_mib: '{memory[:40]}' is no number of MiB", field="gpu_memory_mib"
        )
    more = []
    for name, (key, values) in _CUDA.items():
        if name in extra:
            if extra[name] not in values:
                raise InvalidError(
                    f"{name}: '{extra[name][:40]}' is none of {', '.join(values)}", field=name
                )
            more.append((key, values[extra[name]]))
    return Place(provider, number, int(memory), tuple(more))


def chain(provider: str, folder: Path, place: Place | None = None) -> list[Any]:
    """What `InferenceSession` is given, the first choice first.

    Args:
        provider: `cpu`, `cuda` or `tensorrt`.
        folder: of the model; `plan.json` in it says how TensorRT is to be used.
        place: which device, and how; None = the first one.

    Raises:
        InvalidError: no such word, or a plan that is none.
        UnsupportedError: this ONNX Runtime was not built for it.
    """
    if provider not in _NAMES:
        raise InvalidError(
            f"provider: '{provider[:40]}' is none of {', '.join(_NAMES)}", field="provider"
        )
    if provider == CPU:
        return [_NAMES[CPU]]
    _refuse_absent(provider)
    place = place or Place(provider)
    plan = _plan(folder) if provider == "tensorrt" else {}
    cuda = _EXACT | dict(place.more)
    if place.number:
        plan = plan | {"device_id": str(place.number)}
        cuda["device_id"] = str(place.number)
    if place.memory_mib:
        cuda |= {
            "gpu_mem_limit": str(place.memory_mib << 20),
            "arena_extend_strategy": "kSameAsRequested",
        }
    told: dict[str, dict[str, str]] = {"cuda": cuda, "tensorrt": plan}
    chosen = [(_NAMES[one], told[one]) for one in _CHAINS[provider]]
    return [*chosen, (_NAMES[CPU], {})]


def session(file: Path, settings: ort.SessionOptions, place: Place) -> ort.InferenceSession:
    """A session that computes where it was asked to.

    Raises:
        InvalidError: as `chain`.
        UnsupportedError: the accelerator cannot be had: ONNX Runtime would take the processor.
        UnavailableError: it has not the memory that the model is taken to need.
        Exception: ONNX Runtime's own; it has no base.
    """
    provider = place.provider
    wanted = chain(provider, file.parent, place)
    if provider != CPU:
        _admit(file, place)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is asked for below
        found = ort.InferenceSession(str(file), settings, providers=wanted, enable_fallback=False)
    if _NAMES[provider] not in found.get_providers():
        raise UnsupportedError(
            f"provider={provider}: onnxruntime knows it and could not start it: no such device is "
            "there for this process, or its driver or libraries are missing; provider=cpu runs the "
            "form on the processor"
        )
    return found


def _admit(file: Path, place: Place) -> None:
    """Look at the device before anything of the model is read."""
    files = [file, *file.parent.glob("*.data")]
    weights = sum(one.stat().st_size for one in files if one.is_file())
    wanted = place.memory_mib << 20 or _TIMES * weights
    gpus.admit(place.number, wanted, f"provider={place.provider} device=cuda:{place.number}")


def _refuse_absent(provider: str) -> None:
    known = ort.get_available_providers()
    if _NAMES[provider] in known:
        return
    both = "onnxruntime and onnxruntime-gpu lie in one environment and overwrite each other: " * (
        _installed("onnxruntime") and _installed("onnxruntime-gpu")
    )
    raise UnsupportedError(
        f"provider={provider}: this onnxruntime has {', '.join(known)} alone: {both}pip uninstall "
        f"onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu=={ort.__version__} on a "
        "machine with NVIDIA's driver (never both in one environment); or provider=cpu"
    )


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _plan(folder: Path) -> dict[str, str]:
    """What `tensorrt_plan` wrote beside the model, as far as it is about the engine itself."""
    file = folder / _PLAN
    if not file.is_file():
        return {}
    try:
        if file.stat().st_size > _LARGEST_PLAN:
            raise ValueError("it is longer than 1 MiB")  # noqa: TRY301 - told with the others
        rows = json.loads(file.read_bytes())["onnxruntime_providers"]
        told: Any = next((row[1] for row in rows if row[0] == _NAMES["tensorrt"]), {})
        found = {name: told[name] for name in _TAKEN if name in told}
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise InvalidError(
            f"{_PLAN} beside the model is no plan for TensorRT: {str(error)[:80]}", field="provider"
        ) from error
    for name, value in found.items():
        if type(value) is not _TAKEN[name]:
            raise InvalidError(
                f"{_PLAN}: {name} is {str(value)[:40]!r}; {_TAKEN[name].__name__} is wanted",
                field="provider",
            )
    return {name: str(value) for name, value in found.items()}
