"""Hand-made candidates for tests of what stands on the registry: no model, no framework."""

from pathlib import Path
from typing import Any

from modelworks.core.model import ModelVersion, Verdict
from modelworks.core.optimizing.recipes import Recipe, RecipeStep
from modelworks.core.optimizing.variants import (
    BatchTime,
    Gate,
    Goal,
    Hardware,
    Measurement,
    Variant,
)
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.registry.publish import Publication


def signature(features: int = 3, output: str = "y") -> Signature:
    """One FP32 matrix in, one FP32 column out."""
    return Signature(
        (TensorSpec("x", Datatype.FP32, (None, features)),),
        (TensorSpec(output, Datatype.FP32, (None, 1)),),
    )


def candidate(
    folder: Path, content: bytes = b"model", name: str = "fraud", **more: Any
) -> Publication:
    """A folder with one file, as a publication of format `onnx`.

    Args:
        folder: made, and filled.
        content: of `model.onnx`.
        name: of the model.
        more: further fields of `Publication`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    return Publication(
        name=name,
        folder=folder,
        format="onnx",
        signature=more.pop("signature", signature()),
        **more,
    )


def measured(
    kind: str = "x86-64 avx2", p99_us: float = 100.0, wall_us: float = 800.0, size: int = 1000
) -> Measurement:
    """A measurement that nobody made: calls of 1 and 16 rows.

    Args:
        kind: of the hardware.
        p99_us: of a call of one row, wall microseconds.
        wall_us: of a call of 16 rows.
        size: bytes of the form.
    """
    few = BatchTime(1, 1.0, 0.9, 1.1, (p99_us,) * 3, (p99_us,) * 3, p99_us, 100)
    many = BatchTime(16, 1.0, 0.9, 1.1, (wall_us,) * 3, (wall_us,) * 3, wall_us, 100)
    return Measurement(Hardware("a processor", (), 2, kind), 1, (few, many), 0.1, 10 * size, size)


def variant(version: ModelVersion, name: str = "int8", **more: Any) -> Variant:
    """A variant of a version, in the version's own format: three times as fast by made-up figures.

    Args:
        version: that it is a form of.
        name: of it.
        more: further fields of `Variant`, in the place of these.
    """
    told: dict[str, Any] = {
        "recipe": Recipe((RecipeStep(name),)),
        "artifact": version.artifact,
        "signature": version.signature,
        "measurement": measured(p99_us=100.0, size=300),
        "source": measured(p99_us=300.0),
        "gates": (Gate("agreement", Verdict.PASSED, "all labels stay", value=1.0),),
        "goal": Goal(),
    }
    return Variant(version.name, str(version.version), name, **(told | more))
