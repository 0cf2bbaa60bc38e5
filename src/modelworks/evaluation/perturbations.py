"""What goes wrong with rows on their way to a model: noise, gaps, mix-ups, wrong units, typos."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Final

import numpy as np

Columns = Mapping[str, Any]
"""Name -> one value a row: float64 (NaN = missing), int64, bool, or an object array of texts."""

KINDS: Final = ("noise", "missing", "swap_rows", "swap_columns", "scale", "typos")
_NOISE: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
_SHARES: Final = (0.05, 0.1, 0.25, 0.5)
_UNITS: Final = (0.001, 0.01, 100.0, 1000.0)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One way to spoil rows.

    Attributes:
        kind: of `KINDS`.
        intensity: standard deviations of noise; the share of cells; the factor of `scale`; the
            columns that are exchanged.
        column: that is spoiled; empty = all that can be.
        change: makes spoiled columns of good ones; the originals stay as they are.
    """

    kind: str
    intensity: float
    column: str
    change: Callable[[Columns, np.random.Generator], Columns]


def perturbations(columns: Columns, kinds: tuple[str, ...] = KINDS) -> Iterator[Perturbation]:
    """The ways that these columns can be spoiled in, by kind and rising intensity.

    Args:
        columns: of the good rows.
        kinds: that are wanted, of `KINDS`.
    """
    numbers = [name for name, column in columns.items() if column.dtype.kind in "fi"]
    texts = [name for name, column in columns.items() if column.dtype.kind == "O"]
    spoiled = {
        "noise": (numbers, _noise, _NOISE),
        "missing": ([*numbers, *texts], _missing, _SHARES),
        "swap_rows": (list(columns), _shuffled, _SHARES),
        "typos": (texts, _typos, _SHARES),
    }
    for kind in kinds:
        if kind == "swap_columns":
            yield from _exchanges(columns)
        elif kind == "scale":
            for factor, name in product(_UNITS, numbers):
                yield Perturbation(kind, factor, name, _each([name], _scaled, factor))
        else:
            names, act, sizes = spoiled[kind]
            for size in sizes if names else ():
                yield Perturbation(kind, size, "", _each(names, act, size))


def _each(
    names: list[str], act: Callable[[Any, float, np.random.Generator], Any], intensity: float
) -> Callable[[Columns, np.random.Generator], Columns]:
    def change(columns: Columns, rng: np.random.Generator) -> Columns:
        return {
            name: act(column, intensity, rng) if name in names else column
            for name, column in columns.items()
        }

    return change


def _exchanges(columns: Columns) -> Iterator[Perturbation]:
    """Neighbours of the same type, exchanged: what a wrong order of columns does."""
    for one, two in pairwise(columns):
        if columns[one].dtype.kind == columns[two].dtype.kind:

            def change(
                columns: Columns, _rng: np.random.Generator, one: str = one, two: str = two
            ) -> Columns:
                return {**columns, one: columns[two], two: columns[one]}

            yield Perturbation("swap_columns", 2, f"{one}, {two}", change)


def _noise(column: Any, size: float, rng: np.random.Generator) -> Any:
    known = column[np.isfinite(column)]
    spread = float(known.std()) if known.size else 0.0
    noisy = column + size * spread * rng.standard_normal(len(column))
    return np.rint(noisy).astype(np.int64) if column.dtype.kind == "i" else noisy


def _missing(column: Any, share: float, rng: np.random.Generator) -> Any:
    gone = rng.random(len(column)) < share
    if column.dtype.kind == "O":
        found = column.copy()
        found[gone] = None
        return found
    return np.where(gone, np.nan, column.astype(np.float64))


def _shuffled(column: Any, share: float, rng: np.random.Generator) -> Any:
    found = column.copy()
    mixed = rng.random(len(column)) < share
    found[mixed] = column[rng.integers(0, len(column), int(mixed.sum()))]
    return found


def _scaled(column: Any, factor: float, _rng: np.random.Generator) -> Any:
    found = column.astype(np.float64) * factor
    return np.rint(found).astype(np.int64) if column.dtype.kind == "i" else found


def _typos(column: Any, share: float, rng: np.random.Generator) -> Any:
    found = column.copy()
    for row in np.flatnonzero(rng.random(len(column)) < share):
        if found[row]:
            found[row] = _typo(found[row], rng)
    return found


def _typo(text: str, rng: np.random.Generator) -> str:
    """One slip: a letter lost, doubled, exchanged with the next one, or another in its place."""
    at = int(rng.integers(len(text)))
    slip = int(rng.integers(4))
    if slip == 0 and len(text) > 1:
        return text[:at] + text[at + 1 :]
    if slip == 1:
        return text[: at + 1] + text[at:]
    if slip == 2 and at + 1 < len(text):
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + _LETTERS[int(rng.integers(len(_LETTERS)))] + text[at + 1 :]
