"""Where ONNX Runtime computes: on the processor, or on an accelerator that it was built for.

No accelerator was there when this was written: what is tested is that one which is not there is
refused, by name and with the cure, and never replaced by the processor in silence.
"""

import json
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from modelworks.core.errors import InvalidError, UnsupportedError

CPU: Final = "cpu"
_NAMES: Final = {
    CPU: "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_CHAINS: Final = {"cuda": ("cuda",), "tensorrt": ("tensorrt", "cuda")}
"""What takes the operators that the one before it does not; the processor comes last."""

_EXACT: Final = {"use_tf32": "0"}  # float32 stays float32: the graph says how precise it is
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


def chain(provider: str, folder: Path) -> list[Any]:
    """What `InferenceSession` is given, the first choice first.

    Args:
        provider: `cpu`, `cuda` or `tensorrt`.
        folder: of the model; `plan.json` in it says how TensorRT is to be used.

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
    plan = _plan(folder) if provider == "tensorrt" else {}
    told: dict[str, dict[str, str]] = {"cuda": _EXACT, "tensorrt": plan}
    chosen = [(_NAMES[one], told[one]) for one in _CHAINS[provider]]
    return [*chosen, (_NAMES[CPU], {})]


def session(file: Path, settings: ort.SessionOptions, provider: str) -> ort.InferenceSession:
    """A session that computes where it was asked to.

    Raises:
        InvalidError: as `chain`.
        UnsupportedError: the accelerator cannot be had: ONNX Runtime would take the processor.
        Exception: ONNX Runtime's own; it has no base.
    """
    wanted = chain(provider, file.parent)
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
