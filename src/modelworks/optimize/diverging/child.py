"""What runs in the sandbox's child: opens two forms and follows them to where they part."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.insides import Operator
from modelworks.core.seams import EngineOptions, View, Viewer
from modelworks.evaluation.diverging.deciding import decide, nearest, origin
from modelworks.evaluation.diverging.found import EXACT, TOLERANCES, Parting, Seen
from modelworks.evaluation.diverging.meters import BROKEN, Meter
from modelworks.evaluation.diverging.pairing import Pair, Stage, pairs
from modelworks.optimize import arrays
from modelworks.optimize.calls import fixed_rows
from modelworks.optimize.diverging.fused import fused
from modelworks.optimize.diverging.looking import Given, Looking, Numbers, Side
from modelworks.optimize.forms import Form
from modelworks.plugins.load import available, load

LOOKED: Final = 64
"""Rows whose inner values are followed: those whose outputs are farthest apart."""

Progress = Callable[[str], None]
_HALF: Final = 16
_COMPUTED: Final = (
    "the answers agree here, where halves are computed in float32; a processor that computes in "
    "halves shows it"
)
_NONE: Final = Operator("", "output", (), ())


def run(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The sandboxed function.

    Args:
        arguments: `first` and `second`: forms; `second` none = the first with its engine's
            optimizations beside the first without; `rows`: npz; `threads`; `tolerance`: 0 = by the
            second form's bits; `blame`: half of the outputs' distance where that is less.
        progress: told each step.

    Returns:
        A `Parting` as JSON values.

    Raises:
        UnsupportedError: a format whose values nobody can look at.
        InvalidError: a form that does not run.
    """
    forms = [codec.decode(Form, arguments[n]) for n in ("first", "second") if arguments[n]]
    inputs = arrays.load(Path(arguments["rows"]), forms[0].signature.inputs)
    looking = Looking(Given(inputs, fixed_rows(forms[0].signature) or 0), progress)
    views = [opened(form, arguments["threads"]) for form in forms]
    sides = [Side(views[0], served=len(views) > 1), Side(views[-1], served=True)]
    found = follow(looking, sides, arguments["tolerance"], blame=arguments["blame"])
    told: dict[str, Any] = codec.encode(found)
    return told


def opened(form: Form, threads: int) -> View:
    """Open a form by the viewer of its format.

    Raises:
        UnsupportedError: there is none.
        MissingExtraError: its library is not installed.
    """
    name = form.format
    if name not in available("viewers"):
        known = ", ".join(sorted(available("viewers"))) or "none"
        raise UnsupportedError(
            f"values inside of the format {name[:40]} cannot be looked at (of these they can: "
            f"{known})",
            field="form",
        )
    viewer: Viewer = load("viewers", name)()
    options = EngineOptions(
        threads=threads, signature=form.signature, extra=form.recipe.run.options
    )
    return viewer.open(form.folder, options)


def follow(
    looking: Looking, sides: Sequence[Side], tolerance: float, *, blame: bool = False
) -> Parting:
    """From the outputs to the first value that differs.

    Args:
        looking: with the rows.
        sides: as they are served; both may be of one view.
        tolerance: 0 = by the second form's bits.
        blame: they are known to differ: at most half of the outputs' distance is tolerated.
    """
    first, second = sides[0].view, sides[1].view
    tolerance = tolerance or TOLERANCES.get(second.inside.bits, EXACT)
    ends = _ends(first, second)
    count = looking.given.count
    meters = looking.measured(ends, sides, list(range(count)))
    unseen = [end.first for end, m in zip(ends, meters, strict=True) if not (m.rows or m.misfit)]
    if unseen:
        raise UnsupportedError(f"the output '{unseen[0][:80]}' cannot be looked at", field="form")
    outputs = tuple(
        Seen(end.first, BROKEN if meter.misfit else meter.apart(), end.stage)
        for end, meter in zip(ends, meters, strict=True)
    )
    if blame:
        tolerance = min(tolerance, max(one.apart for one in outputs) / 2)
    found = Parting(all(o.apart <= tolerance for o in outputs), tolerance, count, 0, outputs)
    rows = looking.given.farthest(_by_row(meters, count), LOOKED)
    if found.agree:
        return (
            _hidden(looking, first, second, rows, found) if second.inside.bits == _HALF else found
        )
    found = replace(found, looked=len(rows), notes=_misfits(ends, meters))
    if first is not second:
        inside = _inside(looking, first, second, rows, found)
        if inside.first is not None:
            return inside
        found = inside
    return fused(looking, sides, rows, found)


def _hidden(looking: Looking, first: View, second: View, rows: Numbers, found: Parting) -> Parting:
    """Halves that this processor computes in float32: what they hold is not what it answers by."""
    every = pairs(first.inside, second.inside)
    plain = [Side(view, served=False) for view in (first, second)]
    known = nearest(every, looking.measured(every, plain, rows)).values()
    worst = next((one for one in known if one.meter.endless or one.meter.nans), None)
    if worst is None:
        return found
    at = origin(worst, {}, found.tolerance)
    return replace(found, agree=False, looked=len(rows), first=at, notes=(_COMPUTED,))


def _inside(looking: Looking, first: View, second: View, rows: Numbers, found: Parting) -> Parting:
    """Operator by operator, without what engines make of several of them."""
    every = pairs(first.inside, second.inside)
    plain = [Side(view, served=False) for view in (first, second)]
    meters = looking.measured(every, plain, rows)
    decided = decide(every, meters, first.inside.outputs, found.tolerance)
    made = {pair.other.outputs for pair in every}
    alone = sum(one.outputs not in made for one in second.inside.operators)
    notes = list(found.notes)
    if decided.harmless:
        notes.append(f"{decided.harmless} other differences inside do not reach an output")
    return replace(
        found,
        first=next(iter(decided.origins), None),
        others=decided.origins[1:],
        adds=decided.adds,
        compared=sum(not meter.misfit for meter in meters),
        alone=alone,
        notes=tuple(notes),
    )


def _ends(first: View, second: View) -> list[Pair]:
    """The outputs that both have.

    Raises:
        UnsupportedError: there is none.
    """
    names = [name for name in first.inside.outputs if name in second.inside.outputs]
    if not names:
        raise UnsupportedError("the forms have no output in common", field="form")
    return [Pair(name, name, Stage.MADE, None, _NONE, ()) for name in names]


def _by_row(meters: Sequence[Meter], count: int) -> Any:
    """The distance of every row, of the output that is farthest there."""
    far = np.zeros(count)
    for meter in meters:
        one = meter.by_row()
        if len(one) == count:
            far = np.maximum(far, one)
    return far


def _misfits(ends: Sequence[Pair], meters: Sequence[Meter]) -> tuple[str, ...]:
    return tuple(
        f"'{end.first}' has shapes {meter.misfit}"
        for end, meter in zip(ends, meters, strict=True)
        if meter.misfit
    )
