"""NNCF as passes use it: without a word, without its reporter, on as many threads as are granted.

NNCF (Neural Network Compression Framework) works on OpenVINO's models here. It would import torch
to ask whether a model is one of torch's; that takes seconds and is refused.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final

from modelworks.core.errors import CrashedError, ModelworksError
from modelworks.core.optimizing.passes import PassFacts, Setting
from modelworks.ext.engines.openvino_model import hidden, ov, reason, settings
from modelworks.ext.passes.onnx_parts import refused_keep

__all__ = [
    "CALIBRATING",
    "calibrating",
    "changed",
    "check_keep",
    "ignored",
    "nncf",
    "quietly",
    "smoothing",
]

_ABSENT: Final = ("openvino_telemetry", "torch")
_LOGGERS = logging.getLoggerClass()
with hidden(*_ABSENT):
    import nncf
    from nncf.openvino import engine as nncf_engine
    from nncf.openvino.graph.metatypes.groups import QUANTIZE_AGNOSTIC_OPERATIONS
logging.setLoggerClass(_LOGGERS)  # it puts its own in place for everybody
nncf.set_log_level(logging.CRITICAL)

_CARRYING: Final = frozenset(
    {name for kind in QUANTIZE_AGNOSTIC_OPERATIONS for name in kind.op_names} | {"FakeQuantize"}
)
_UNPACKING: Final = frozenset({"Convert", "Subtract", "Multiply", "Reshape"})
_SMALL: Final = frozenset({"i8", "u8", "i4", "u4", "int8_t", "uint8_t", "int4_t", "uint4_t"})

CALIBRATING: Final = (
    Setting(
        "preset",
        default="auto",
        help="symmetric activations (performance), or asymmetric ones (mixed)",
        choices=("auto", "performance", "mixed"),
    ),
    Setting(
        "model_type",
        default="auto",
        help="transformers need care with attention; auto looks for a softmax before a product",
        choices=("auto", "none", "transformer"),
    ),
    Setting(
        "smooth_quant",
        default=0.95,
        help="of a transformer: how far outliers of activations move into weights; 0 = not at all",
        least=0.0,
        most=1.0,
    ),
    Setting("fast_bias_correction", default=True, help="False: exact, and many times slower"),
    Setting(
        "subset_size", default=300, help="calibration rows that are used", least=1, most=10_000
    ),
)
"""Settings of every pass that calibrates."""


class _Engine(nncf_engine.OVNativeEngine):  # type: ignore[misc] # no types
    """As NNCF's own, which takes all cores and pins their threads."""

    threads = 1

    def __init__(self, model: ov.Model, use_fp32_precision: bool = True) -> None:  # noqa: FBT001, FBT002 - NNCF's
        precision = "f32" if use_fp32_precision else "bf16"
        wanted = settings(type(self).threads, precision)
        compiled = ov.Core().compile_model(model, "CPU", wanted)
        stateful = nncf_engine.model_has_state(model)
        self.engine = nncf_engine.OVCompiledModelEngine(compiled, stateful)


@contextmanager
def quietly(facts: PassFacts, threads: int) -> Iterator[None]:
    """NNCF at work: no progress bars, no warnings; what it raises becomes one line.

    Raises:
        CrashedError: it failed.
    """
    own = nncf_engine.OVNativeEngine
    _Engine.threads = threads
    nncf_engine.OVNativeEngine = _Engine
    try:
        with hidden(*_ABSENT), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ModelworksError, OSError, MemoryError):
        raise
    except Exception as error:  # libraries raise what they like
        raise CrashedError(f"{facts.name} failed: {reason(error)[:200]}") from error
    finally:
        nncf_engine.OVNativeEngine = own


def calibrating(model: ov.Model, given: Any, keep: Sequence[str]) -> dict[str, Any]:
    """Arguments of NNCF's functions that calibrate.

    Args:
        model: to look for attention in.
        given: settings by name, see `CALIBRATING`.
        keep: operators that stay in float.
    """
    preset, kind = given["preset"], given["model_type"]
    transformer = kind == "transformer" or (kind == "auto" and _attends(model))
    return {
        "preset": None if preset == "auto" else nncf.QuantizationPreset(preset),
        "target_device": nncf.TargetDevice.CPU,
        "subset_size": given["subset_size"],
        "fast_bias_correction": given["fast_bias_correction"],
        "model_type": nncf.ModelType.TRANSFORMER if transformer else None,
        "ignored_scope": ignored(keep),
    }


def smoothing(given: Any) -> Any:
    """NNCF's advanced parameters."""
    alpha = given["smooth_quant"] or -1
    return nncf.AdvancedQuantizationParameters(
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=alpha)
    )


def ignored(keep: Sequence[str]) -> Any:
    """NNCF's words for operators that stay as they are."""
    return nncf.IgnoredScope(names=list(keep)) if keep else None


def check_keep(facts: PassFacts, model: ov.Model, keep: Sequence[str]) -> None:
    """Refuse names that no operator has.

    Raises:
        InvalidError: such a name.
    """
    if keep:
        names = [str(one.get_friendly_name()) for one in model.get_ordered_ops()]
        refused_keep(facts, keep, names)


def _attends(model: ov.Model) -> bool:
    """Whether a softmax weighs what a product then sums up."""
    for one in model.get_ordered_ops():
        kind = one.get_type_name()
        if kind == "ScaledDotProductAttention":
            return True
        if kind == "Softmax":
            readers = _readers(one, _CARRYING)
            if any(reader.get_type_name() == "MatMul" for reader in readers):
                return True
    return False


def changed(model: ov.Model) -> tuple[str, ...]:
    """Names of the operators that compute on rounded numbers or have rounded weights, in order.

    What only carries numbers on (reshapes, transposes) does not count.
    """
    operators = model.get_ordered_ops()
    found: set[str] = set()
    for one in operators:
        kind = one.get_type_name()
        if kind == "FakeQuantize":
            through = _CARRYING
        elif kind == "Constant" and one.get_element_type().get_type_name() in _SMALL:
            through = _UNPACKING
        else:
            continue
        found.update(str(reader.get_friendly_name()) for reader in _readers(one, through))
    return tuple(name for one in operators if (name := str(one.get_friendly_name())) in found)


def _readers(start: Any, through: frozenset[str]) -> list[Any]:
    """Operators that use what one gives, past those that only carry it on."""
    found, seen, left = [], set(), [start]
    while left:
        for output in left.pop().outputs():
            for reader in (target.get_node() for target in output.get_target_inputs()):
                name = reader.get_friendly_name()
                if name in seen:
                    continue
                seen.add(name)
                kind = reader.get_type_name()
                if kind in through:
                    left.append(reader)
                elif kind != "Result":
                    found.append(reader)
    return found
