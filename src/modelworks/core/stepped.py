"""A model with steps before it: what its artifact's `steps.json` says."""

import json
from dataclasses import dataclass
from pathlib import Path

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Signature

STEPS = "steps.json"
FRONT = "steps.onnx"
MADE = "modelworks/"
"""Before the name of an input of the model: the tensor that a graph of steps makes for it."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """How the artifact's files work together.

    Attributes:
        outer: what callers send; its `steps` name their files relative to the artifact.
        model: what the model file itself takes and gives, steps that are part of it included.
        front: a graph of its own runs before the model (`steps.onnx`).
    """

    outer: Signature
    model: Signature
    front: bool = False

    @property
    def simple(self) -> bool:
        """Whether the model file alone takes what callers send."""
        return not self.front and all(item.in_graph for item in self.outer.steps)

    @property
    def files(self) -> tuple[str, ...]:
        """What of the artifact the steps need beside the model file, this file included."""
        named = {item.tokenize.tokenizer for item in self.outer.steps if item.tokenize is not None}
        return (STEPS, *([FRONT] if self.front else []), *sorted(named))


def write_stepped(folder: Path, stepped: Stepped) -> None:
    """Write `steps.json` into an artifact's folder."""
    (folder / STEPS).write_text(json.dumps(codec.encode(stepped), indent=1) + "\n")


def read_stepped(folder: Path) -> Stepped | None:
    """What an artifact's `steps.json` says; None where there is none.

    Raises:
        InvalidError: it cannot be understood.
    """
    try:
        data = json.loads((folder / STEPS).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InvalidError(f"{STEPS} cannot be read: {error}") from error
    return codec.decode(Stepped, data)
