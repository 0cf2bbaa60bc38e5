"""What a version's records say it answered: which column, of which form, and one row a request."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.tensor import Role, Signature
from modelworks.evaluation.columns import name_of
from modelworks.rollout.shadow.tally import Form

Signatures = Callable[[str], Signature]
"""Of a version, by its reference (`fraud:2.0.0`)."""
PLAIN: Final = ("id", "item", "at_ns", "version", "status", "total_ns", "queue_ns")
"""Columns of every record that are looked at."""


@dataclass(frozen=True, slots=True)
class Said:
    """Where a version's answer stands.

    Attributes:
        column: of the records.
        form: of it.
        classes: names that a label has; empty = they are not known, or it is a number.
    """

    column: str
    form: Form
    classes: tuple[str, ...] = ()


def said(signature: Signatures, ref: str) -> Said | None:
    """Of one version; None = it is not known, or has no output.

    The label is what callers get; without one the class with the largest probability, else the
    score, else the first output.
    """
    try:
        known = signature(ref)
    except (InvalidError, NotFoundError):
        return None
    classes = tuple(name_of(one) for one in known.classes)
    for role, form in _FORMS:
        spec = known.output(role)
        if spec is not None:
            if form is Form.LABELS and not classes and spec.datatype.name in _FLOATS:
                return Said(f"out.{spec.name}", Form.SCORES)  # a regression's number
            return Said(f"out.{spec.name}", form, classes if form is not Form.SCORES else ())
    return None


def alike(known: Mapping[str, Said | None]) -> bool:
    """Whether all arms say the same kind of thing."""
    return None not in known.values() and len({one.form for one in known.values() if one}) == 1


def labels(values: Iterable[Any], of: Said) -> list[str]:
    """Answers as names of classes."""
    found = []
    for value in values:
        one = _bare(value)
        if of.form is Form.PROBABILITIES and isinstance(one, list | tuple | np.ndarray):
            place = int(np.argmax(one)) if len(one) else 0
            found.append(of.classes[place] if place < len(of.classes) else str(place))
        elif of.form is Form.PROBABILITIES and isinstance(one, int | float):
            place = int(one >= _HALF)
            found.append(of.classes[place] if place < len(of.classes) else str(place))
        else:
            found.append(text(one))
    return found


def floats(values: Sequence[Any]) -> Any:
    """Numbers, [n]; NaN where an answer is none or several."""
    bare = [_bare(value) for value in values]
    return np.array(
        [float(one) if isinstance(one, int | float | np.number) else np.nan for one in bare]
    )


def text(value: Any) -> str:
    """One text for equal classes: `1`, `1.0`, `True` and `"1"`."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return name_of(float(value))
    return str(value)


def inside(columns: Mapping[str, Any], slice_: str, rows: Any) -> Any:
    """Which of some rows lie in a slice, `country=de`; a column of inputs needs no `in.`."""
    name, _, value = slice_.partition("=")
    known = [columns[one] for one in (f"in.{name}", name) if one in columns]
    column = next((one for one in known if any(value is not None for value in one)), None)
    if column is None:
        return np.zeros(len(np.asarray(columns["version"])[rows]), dtype=bool)
    return np.array([text(one) == value for one in np.asarray(column, dtype=object)[rows]], bool)


def of_slices(slices: Iterable[str]) -> list[str]:
    """The columns that slices may stand in."""
    names = [slice_.partition("=")[0] for slice_ in slices]
    return [column for name in names for column in (f"in.{name}", name)]


_HALF: Final = 0.5
_FLOATS: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})
_FORMS: Final = (
    (Role.LABEL, Form.LABELS),
    (Role.PROBABILITIES, Form.PROBABILITIES),
    (Role.SCORE, Form.SCORES),
    (Role.TENSOR, Form.SCORES),
)


def _bare(value: Any) -> Any:
    """A value that came as a list of one."""
    while isinstance(value, list | tuple | np.ndarray) and len(value) == 1:
        value = value[0]
    return value
