"""Parity: do a source model and its conversion predict the same? Pure: arrays in, a report out.

Two numbers agree when `|a - b| <= absolute + relative * |b|`, `b` being the source's; NaN equals
NaN. Labels agree when they are equal, or when the source's own scores of the two best classes lie
closer together than the tolerance, so that rounding alone decides (such rows are counted as ties).
Comparisons are made in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelworks.core.model import Verdict
from modelworks.core.tensor import Datatype, Role, Signature, Tensors, TensorSpec

Floats = NDArray[np.float64]
FAR_SHARE = 0.02
"""Of rows far from the training range that may differ, see `evaluation.trial`."""

_WORST = 5
_PREVIEW = 120


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What still counts as the same.

    Attributes:
        absolute: allowed difference of two numbers.
        relative: the same, as a share of the source's.
        share: of rows that may lie beyond.
        agreement: share of labels that must be equal.
        why: one sentence.
    """

    absolute: float = 1e-5
    relative: float = 1e-4
    share: float = 0.0
    agreement: float = 0.999
    why: str = "float32 keeps seven digits; a few operations in a row cost two or three of them"


TREES = Tolerance(
    share=0.001,
    why="a tree is a step function: where rounding moves a value across a threshold, one row in "
    "a thousand may fall on the other side",
)


def tolerance_for(kind: str, given: tuple[float, float] | None = None) -> Tolerance:
    """The rule for a kind of model (`core.imports.Imported.kind`).

    Args:
        kind: `trees` may have a share of rows beyond.
        given: the importer's own (absolute, relative).
    """
    base = TREES if kind == "trees" else Tolerance()
    if given is None:
        return base
    why = f"set by the importer for this model; {base.why}"
    return Tolerance(given[0], given[1], base.share, base.agreement, why)


class Rule(StrEnum):
    """How rows of one sort are judged; `evaluation.trial` says which are which."""

    STRICT = "strict"  # by the tolerance
    EASED = "eased"  # with slack, and a small share may differ
    REPORTED = "reported"  # not at all, only reported


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one sort, with what both models said.

    Attributes:
        name: `sample`, `range`, `missing`, ...
        inputs: as the source saw them.
        source: output name -> array, [rows, ...].
        converted: the same.
        slack: output name -> what is allowed beyond the tolerance, same shape as the output.
        rule: how these rows are judged.
    """

    name: str
    inputs: Tensors
    source: Tensors
    converted: Tensors
    slack: Tensors = field(default_factory=dict)
    rule: Rule = Rule.STRICT


@dataclass(frozen=True, slots=True)
class WorstRow:
    """One of the rows that differ most; `badness` sorts them, wrong labels first."""

    group: str
    row: int
    output: str
    inputs: str
    source: str
    converted: str
    badness: float


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output over all rows that count."""

    name: str
    max_absolute: float
    max_relative: float
    rows_off: int
    agreement: float
    ties: int


@dataclass(frozen=True, slots=True)
class GroupParity:
    """One sort of rows over all outputs; `rows_off` counts wrong labels too."""

    name: str
    rows: int
    rows_off: int
    max_absolute: float
    rule: Rule = Rule.STRICT


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What the comparison found; all numbers but those of `groups` are of the strict rows.

    Attributes:
        verdict: passed, failed, or skipped (nothing could be compared).
        rows: compared.
        rows_off: rows with a number beyond the tolerance.
        share_off: of all rows.
        agreement: share of equal labels; 1.0 where no output is a label.
        max_absolute: largest difference between two finite numbers.
        max_relative: the same as a share of the source's number, where that is over 1e-6.
        tolerance: by which it was judged.
        batch_sizes: in which the converted model ran.
        reasons: why it failed, one line each.
        outputs: by output.
        groups: by sort of rows.
        worst: rows that differ most.
        skipped: sorts of rows that were not compared, each with the reason.
    """

    verdict: Verdict
    rows: int
    rows_off: int
    share_off: float
    agreement: float
    max_absolute: float
    max_relative: float
    tolerance: Tolerance
    batch_sizes: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    outputs: tuple[OutputParity, ...] = ()
    groups: tuple[GroupParity, ...] = ()
    worst: tuple[WorstRow, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.verdict is Verdict.SKIPPED:
            return f"no row could be compared: {'; '.join(self.skipped) or 'no rows'}"
        numbers = (
            f"{self.rows} rows, largest difference {self.max_absolute:.2g} "
            f"(relative {self.max_relative:.2g})"
        )
        if self.agreement < 1:
            numbers += f", labels agree on {self.agreement:.2%}"
        apart = [g for g in self.groups if g.rule is Rule.REPORTED and g.rows_off]
        for group in apart:
            numbers += f"; {group.rows_off} of {group.rows} rows differ at '{group.name}'"
        return f"{numbers}: {'; '.join(self.reasons)}" if self.reasons else numbers


@dataclass(slots=True)
class _Difference:
    """One output of one group, compared."""

    off: NDArray[np.bool_]  # by row
    absolute: Floats  # by row, largest finite difference
    relative: Floats
    wrong: NDArray[np.bool_]  # labels, by row
    ties: NDArray[np.bool_]


def compare(
    groups: Sequence[Group],
    signature: Signature,
    tolerance: Tolerance,
    batch_sizes: Sequence[int] = (),
    skipped: Sequence[str] = (),
) -> ParityReport:
    """Judge what both models said.

    Args:
        groups: rows with both answers.
        signature: which output is what.
        tolerance: the rule.
        batch_sizes: that the converted model ran with; recorded.
        skipped: what was not compared and why; recorded.
    """
    by_output: dict[str, list[_Difference]] = {spec.name: [] for spec in signature.outputs}
    by_group: list[GroupParity] = []
    worst, reasons = [], []
    near_off = 0
    for group in groups:
        found = {}
        for spec in signature.outputs:
            reason = _misshapen(group, spec)
            if reason:
                reasons.append(reason)
                continue
            found[spec.name] = _difference(group, spec, signature, tolerance)
            if group.rule is Rule.STRICT:
                by_output[spec.name].append(found[spec.name])
        rows = _rows(group.source)
        off, wrong = np.zeros(rows, bool), np.zeros(rows, bool)
        for difference in found.values():
            off |= difference.off
            wrong |= difference.wrong
        near_off += int(off.sum()) if group.rule is Rule.STRICT else 0
        top = max((float(d.absolute.max(initial=0)) for d in found.values()), default=0.0)
        by_group.append(GroupParity(group.name, rows, int((off | wrong).sum()), top, group.rule))
        worst += _worst(group, found)
    outputs = tuple(_output(name, found) for name, found in by_output.items())
    rows = sum(group.rows for group in by_group if group.rule is Rule.STRICT)
    agreement = min((output.agreement for output in outputs), default=1.0)
    reasons += _reasons(near_off, rows, agreement, tolerance) + _eased_reasons(by_group)
    verdict = Verdict.FAILED if reasons else Verdict.PASSED if by_group else Verdict.SKIPPED
    return ParityReport(
        verdict=verdict,
        rows=rows,
        rows_off=near_off,
        share_off=near_off / rows if rows else 0.0,
        agreement=agreement,
        max_absolute=max((output.max_absolute for output in outputs), default=0.0),
        max_relative=max((output.max_relative for output in outputs), default=0.0),
        tolerance=tolerance,
        batch_sizes=tuple(batch_sizes),
        reasons=tuple(dict.fromkeys(reasons)),
        outputs=outputs,
        groups=tuple(by_group),
        worst=tuple(sorted(worst, key=lambda row: -row.badness)[:_WORST]),
        skipped=tuple(skipped),
    )


def _reasons(rows_off: int, rows: int, agreement: float, tolerance: Tolerance) -> list[str]:
    reasons = []
    if rows and rows_off / rows > tolerance.share:
        reasons.append(
            f"{rows_off} of {rows} rows lie beyond {tolerance.absolute:g} + "
            f"{tolerance.relative:g} x |source|"
            + (f" (allowed: {tolerance.share:.1%})" if tolerance.share else "")
        )
    if agreement < tolerance.agreement:
        reasons.append(f"labels agree on {agreement:.2%} (wanted: {tolerance.agreement:.1%})")
    return reasons


def _eased_reasons(groups: Sequence[GroupParity]) -> list[str]:
    eased = [group for group in groups if group.rule is Rule.EASED]
    rows, off = sum(group.rows for group in eased), sum(group.rows_off for group in eased)
    if not rows or off / rows <= FAR_SHARE:
        return []
    reason = (
        f"{off} of {rows} rows far from the training range differ by more than the rounding of "
        f"their inputs explains (allowed: {FAR_SHARE:.0%})"
    )
    return [reason]


def _rows(tensors: Tensors) -> int:
    return max((len(array) for array in tensors.values()), default=0)


def _misshapen(group: Group, spec: TensorSpec) -> str:
    if spec.name not in group.source or spec.name not in group.converted:
        return f"output '{spec.name}' is missing"
    ours, theirs = np.shape(group.converted[spec.name]), np.shape(group.source[spec.name])
    if ours != theirs:
        return f"output '{spec.name}' has shape {list(ours)} where the source has {list(theirs)}"
    return ""


def _exact(spec: TensorSpec) -> bool:
    """Whether values are compared as equal or not, instead of by distance."""
    return spec.role is Role.LABEL or spec.datatype in {Datatype.BYTES, Datatype.BOOL}


def _difference(
    group: Group, spec: TensorSpec, signature: Signature, tolerance: Tolerance
) -> _Difference:
    source, converted = group.source[spec.name], group.converted[spec.name]
    if not _exact(spec):
        return _numbers(source, converted, group.slack.get(spec.name), tolerance)
    rows = len(source)
    differ = _flat(as_text(source) != as_text(converted)).any(axis=1)
    ties = differ & _undecided(group, signature, tolerance)
    none = np.zeros(rows)
    return _Difference(np.zeros(rows, bool), none, none, differ & ~ties, ties)


def as_text(values: Any) -> NDArray[np.str_]:
    """Labels of any type in one comparable form: `1`, `1.0` and `True` stay what they say."""
    array = np.asarray(values)
    if array.dtype.kind in "biu":
        return array.astype(np.int64).astype(str)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.rint(array)).all():
        return array.astype(np.int64).astype(str)
    if array.dtype.kind == "O":
        plain = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in array.flat]
        return np.array([str(v) for v in plain], dtype=str).reshape(array.shape)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    return array.astype(str)


def _numbers(source: Any, converted: Any, slack: Any, tolerance: Tolerance) -> _Difference:
    a, b = _flat(_float(converted)), _flat(_float(source))
    with np.errstate(all="ignore"):
        distance = np.abs(a - b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        allowed = tolerance.absolute + tolerance.relative * np.abs(b)
        if slack is not None:
            allowed += _flat(_float(slack))
        off = ~same & ~((distance <= allowed) & np.isfinite(b))
        finite = np.where(np.isfinite(distance), distance, 0.0)
        relative = np.where(np.abs(b) > 1e-6, finite / np.abs(b), 0.0)
    rows = len(a)
    no = np.zeros(rows, bool)
    return _Difference(
        off.any(axis=1),
        finite.max(axis=1, initial=0),
        np.nan_to_num(relative, posinf=0).max(axis=1, initial=0),
        no,
        no,
    )


def _undecided(group: Group, signature: Signature, tolerance: Tolerance) -> NDArray[np.bool_]:
    """Rows whose two best classes are closer together, in the source, than the tolerance."""
    rows = _rows(group.source)
    spec = signature.output(Role.PROBABILITIES) or signature.output(Role.SCORE)
    if spec is None or spec.name not in group.source:
        return np.zeros(rows, bool)
    scores = _flat(_float(group.source[spec.name]))
    slack = _flat(_float(group.slack[spec.name])) if spec.name in group.slack else 0.0 * scores
    with np.errstate(all="ignore"):
        if scores.shape[1] == 1:
            gap, size = np.abs(scores[:, 0]), np.zeros(rows)
        else:
            best = np.sort(np.nan_to_num(scores, nan=-np.inf), axis=1)[:, -2:]
            gap, size = best[:, 1] - best[:, 0], np.abs(best[:, 1])
        allowed = 2 * (tolerance.absolute + tolerance.relative * size + slack.max(axis=1))
    return np.asarray(gap <= allowed)


def _float(values: Any) -> Floats:
    return np.asarray(values).astype(np.float64)


def _flat(values: Any) -> Any:
    return values.reshape(len(values), -1 if values.size else 0)


def _output(name: str, found: list[_Difference]) -> OutputParity:
    rows = sum(len(difference.off) for difference in found)
    wrong = sum(int(difference.wrong.sum()) for difference in found)
    return OutputParity(
        name=name,
        max_absolute=max((float(d.absolute.max(initial=0)) for d in found), default=0.0),
        max_relative=max((float(d.relative.max(initial=0)) for d in found), default=0.0),
        rows_off=sum(int(d.off.sum()) for d in found),
        agreement=1 - wrong / rows if rows else 1.0,
        ties=sum(int(d.ties.sum()) for d in found),
    )


def _worst(group: Group, found: dict[str, _Difference]) -> list[WorstRow]:
    worst = []
    for name, difference in found.items():
        badness = difference.absolute + difference.off * 1e6 + difference.wrong * 1e9
        rows = np.argsort(-badness, kind="stable")[:_WORST]
        worst += [
            _worst_row(group, name, int(row), float(badness[row])) for row in rows if badness[row]
        ]
    return worst


def _worst_row(group: Group, output: str, row: int, badness: float) -> WorstRow:
    return WorstRow(
        group=group.name,
        row=row,
        output=output,
        inputs=_show({k: v[row] for k, v in group.inputs.items() if np.ndim(v) and row < len(v)}),
        source=_show(group.source[output][row]),
        converted=_show(group.converted[output][row]),
        badness=min(badness, 1e300),
    )


def _show(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{key}={_show(item)}" for key, item in value.items())
    elif isinstance(value, np.ndarray):
        text = np.array2string(value.ravel()[:8], precision=9, separator=", ", max_line_width=10**6)
        text = text.replace("\n", " ")
    else:
        text = str(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 3] + "..."
