"""A form of a version on this machine, and the rows that forms are tried on."""

from dataclasses import dataclass
from pathlib import Path

from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.tensor import Signature


@dataclass(frozen=True, slots=True)
class Form:
    """What passes made, or what was imported.

    Attributes:
        recipe: how it came to be and how it is run.
        folder: with its files.
        format: of them.
        signature: of the version: the model's own inputs where it has steps before it.
    """

    recipe: Recipe
    folder: Path
    format: str
    signature: Signature


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in files, so that a process of their own can read them.

    Attributes:
        inputs: npz, an array a model input, all with the same first axis.
        count: of rows.
        labels: npy, one a row; None = nobody told the truth.
        slices: json, name -> numbers of its rows; None = there are none.
        made_up: nobody gave rows: they were drawn from what the signature says.
    """

    inputs: Path
    count: int
    labels: Path | None = None
    slices: Path | None = None
    made_up: bool = False
