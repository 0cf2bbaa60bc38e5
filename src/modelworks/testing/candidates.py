"""Hand-made candidates for tests of what stands on the registry: no model, no framework."""

from pathlib import Path
from typing import Any

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
