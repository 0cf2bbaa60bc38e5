"""The environment that JAX functions are converted in: exact versions that work together."""

from functools import cache
from pathlib import Path


@cache
def requirements() -> tuple[str, ...]:
    """Requirement lines of JAX, jax2onnx and what both need, all pinned."""
    text = Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
