"""What every explainer is asked: rows, a background and options, held against each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import CrashedError, InvalidError

OPTIONS: Final = ("artifact", "features", "samples", "seed")
SAMPLES: Final = 4096
"""Calls a row, where nobody says otherwise."""
_CHUNK: Final = 8192


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an explainer, checked.

    Attributes:
        rows: rows x features.
        background: rows x features.
        features: names, in the order of the columns.
        seed: of what is drawn.
        samples: calls a row at most.
        artifact: the model's file or folder; None = it is not at hand.
    """

    rows: Any
    background: Any
    features: tuple[str, ...]
    seed: int
    samples: int
    artifact: Path | None

    @classmethod
    def of(cls, rows: Any, background: Any, options: Mapping[str, Any]) -> "Asked":
        """Check them.

        Raises:
            InvalidError: no table, tables of different widths, an unknown or impossible option.
        """
        rows, background = _table(rows, "rows"), _table(background, "background")
        if rows.shape[1] != background.shape[1]:
            raise InvalidError(
                f"the background has {background.shape[1]} features, the rows {rows.shape[1]}",
                field="background",
            )
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise InvalidError(
                f"'{unknown[0]}' is no option; there are {', '.join(OPTIONS)}", field=unknown[0]
            )
        width = rows.shape[1]
        names = tuple(options.get("features") or (f"x{place}" for place in range(width)))
        if len(names) != width or len(set(names)) != width:
            raise InvalidError(
                f"features: {width} different names are wanted, got {len(names)}", field="features"
            )
        seed, samples = options.get("seed", 0), options.get("samples", SAMPLES)
        for name, value, lowest in (("seed", seed, 0), ("samples", samples, 1)):
            if type(value) is not int or not lowest <= value <= 1 << 31:
                raise InvalidError(
                    f"{name}: {value} is no integer from {lowest} to {1 << 31}", field=name
                )
        artifact = options.get("artifact")
        return cls(rows, background, names, seed, samples, Path(artifact) if artifact else None)


class Counted:
    """A model's `predict` whose rows are counted and whose answers are checked.

    Attributes:
        calls: rows that it was asked.
        flat: it answers one number a row.
    """

    def __init__(self, predict: Callable[[Any], Any]) -> None:
        self.calls = 0
        self.flat = False
        self._predict = predict
        self._width = 0

    def __call__(self, rows: Any) -> Any:
        """Rows x classes; one class where it answers one number a row.

        Raises:
            CrashedError: the answer has another number of rows or is no number.
        """
        parts = [self._ask(rows[at : at + _CHUNK]) for at in range(0, len(rows), _CHUNK)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _ask(self, rows: Any) -> Any:
        self.calls += len(rows)
        answer = np.asarray(self._predict(rows), dtype=np.float64)
        self.flat = answer.ndim == 1
        table = answer.reshape(len(answer), -1) if answer.size else answer.reshape(0, 1)
        width = self._width or table.shape[1]
        if table.shape != (len(rows), width):
            raise CrashedError(
                f"the model answered {len(rows)} rows with an array of shape {list(answer.shape)}"
            )
        if not np.isfinite(table).all():
            raise CrashedError("the model answered with a number that is not finite")
        self._width = width
        return table


def shaped(values: Any, *, flat: bool) -> Any:
    """Without the last axis where the model answers one number a row."""
    return values[..., 0] if flat else values


def _table(values: Any, name: str) -> Any:
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidError(f"{name}: no table of numbers: {error}", field=name) from error
    if table.ndim != 2 or not table.size:
        raise InvalidError(
            f"{name}: rows x features are wanted, got the shape {list(table.shape)}", field=name
        )
    return table
