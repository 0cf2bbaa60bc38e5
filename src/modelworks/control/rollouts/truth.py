"""What became known of an arm's answers: right or wrong, by slice, as feedback joins records."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from modelworks.control.rollouts.evidence import Further
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.records import Scan
from modelworks.core.rollouts import Plan, Sums
from modelworks.core.tensor import Signature
from modelworks.monitor.feedback.joining import Join
from modelworks.monitor.quality.plan import Plan as Judged
from modelworks.monitor.quality.plan import plan_of
from modelworks.monitor.quality.rows import TRUTH

_WRONG: Final = "wrong_rate"
_RIGHT: Final = "accuracy"
_HALF: Final = 0.5
NAMES: Final = frozenset({_WRONG, _RIGHT})
"""Metrics that come from here."""


def truth(
    plan: Plan,
    join: Join,
    signature: Callable[[str], Signature],
    since_ns: int,
    until_ns: int,
    tenant: str = "default",
) -> dict[str, Further]:
    """Version -> what the truth says of its answers.

    Args:
        plan: whose metrics and slices are asked for.
        join: of records and feedback.
        signature: of a version (`fraud:1.0.0`).
        since_ns: requests from then on.
        until_ns: and before.
        tenant: whose.
    """
    wanted = {one.name for one in (plan.primary, *plan.guardrails)} & NAMES
    if not wanted:
        return {}
    judged = {name: _judged(signature, f"{plan.route}:{name}") for name in _arms(plan)}
    sums: dict[str, dict[str, list[int]]] = {}
    for joined in join.window(Scan(tenant, plan.route, "", since_ns, until_ns)):
        columns = joined.batch.columns
        if TRUTH not in columns:
            continue
        told = np.asarray(columns[TRUTH], dtype=object)
        known = np.array([one is not None for one in told], dtype=bool)
        version = np.array([str(one) for one in columns["version"]])
        for name, of in judged.items():
            mine = known & (version == name)
            said = _said(columns, of, mine)
            if said is None:
                continue
            right = np.array(
                [_text(a) == _text(b) for a, b in zip(said, told[mine], strict=True)], dtype=bool
            )
            _count(sums.setdefault(name, {}), "*", right)
            for slice_ in plan.slices:
                inside = _inside(columns, slice_, mine)
                _count(sums[name], slice_, right[inside])
    return {name: _further(found, wanted) for name, found in sums.items()}


def _arms(plan: Plan) -> tuple[str, ...]:
    return (plan.stable, *plan.candidates)


def _judged(signature: Callable[[str], Signature], ref: str) -> Judged | None:
    """How a version's answers are held to the truth; None = they cannot be."""
    try:
        return plan_of(signature(ref))
    except (InvalidError, NotFoundError):
        return None


def _said(columns: Mapping[str, Any], of: Judged | None, mine: Any) -> list[Any] | None:
    """The class that a version said, row by row; None = it cannot be told."""
    if of is None or not mine.any():
        return None
    if of.label and of.label in columns:
        return list(np.asarray(columns[of.label], dtype=object)[mine])
    if not of.score or of.score not in columns:
        return None
    found = []
    for score in np.asarray(columns[of.score], dtype=object)[mine]:
        several = isinstance(score, list | tuple | np.ndarray)
        place = int(np.argmax(score)) if several else int(float(score) >= _HALF)
        found.append(of.classes[place] if place < len(of.classes) else place)
    return found


def _text(value: Any) -> str:
    """One text for equal classes: `1`, `1.0`, `True` and `"1"`."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _inside(columns: Mapping[str, Any], slice_: str, mine: Any) -> Any:
    """Which of some rows lie in a slice, `country=de`; a column of inputs needs no `in.`."""
    name, _, value = slice_.partition("=")
    column = columns.get(f"in.{name}", columns.get(name))
    if column is None:
        return np.zeros(int(mine.sum()), dtype=bool)
    return np.array([_text(one) == value for one in np.asarray(column, dtype=object)[mine]], bool)


def _count(found: dict[str, list[int]], slice_: str, right: Any) -> None:
    cells = found.setdefault(slice_, [0, 0])
    cells[0] += len(right)
    cells[1] += int(right.sum())


def _further(found: Mapping[str, list[int]], wanted: set[str]) -> Further:
    by_slice = {slice_: _sums(cells[0], cells[1], wanted) for slice_, cells in found.items()}
    return Further(by_slice.pop("*", {}), by_slice)


def _sums(count: int, right: int, wanted: set[str]) -> dict[str, Sums]:
    told = {_RIGHT: Sums(count=count, total=right), _WRONG: Sums(count=count, total=count - right)}
    return {name: told[name] for name in sorted(wanted)}
