"""Asks a child process where two forms part; the verb of this room."""

from pathlib import Path
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import InvalidError, RefusedError
from modelworks.evaluation.diverging.found import Parting
from modelworks.optimize import asking
from modelworks.optimize.calls import in_child, refuse_empty
from modelworks.optimize.forms import Form, Rows
from modelworks.sandbox.watch import Progress

TOLERATED: Final = (0.0, 1e6)
"""Between what a tolerance may lie; 0 = by the second form's bits."""


def parting(  # noqa: PLR0913 - the first four are the question, the rest has defaults
    first: Form,
    second: Form | None,
    rows: Rows,
    into: Path,
    *,
    tolerance: float = 0.0,
    blame: bool = False,
    seconds: float = 600.0,
    threads: int = 1,
    progress: Progress | None = None,
) -> Parting:
    """Follow two forms of one model to the first value at which they part.

    Args:
        first: that is right.
        second: the other; None = the first as its engine optimizes it, beside the first operator
            by operator.
        rows: for both, as the bare model takes them.
        into: an existing folder for the work.
        tolerance: distance of values from which on they differ, a share of their own size
            (`evaluation.diverging.meters`); 0 = by the fewest bits of the second form.
        blame: they are known to differ too much: at most half of the outputs' distance is
            tolerated.
        seconds: until it is ended.
        threads: that engines may use.
        progress: told each step.

    Raises:
        InvalidError: no rows, a tolerance that is none, a form that does not run.
        UnsupportedError: a format whose values nobody can look at.
        RefusedError: it takes longer, or more memory, than it may.
        CrashedError: an engine died.
        MissingExtraError: an engine is not installed.
    """
    low, high = TOLERATED
    if not low <= tolerance <= high:
        raise InvalidError(f"tolerance: {tolerance} is not from 0 to {high:g}", field="tolerance")
    refuse_empty(rows.count)
    arguments: dict[str, Any] = {
        "first": asking.told(first),
        "second": None if second is None else asking.told(second),
        "rows": str(rows.inputs.resolve()),
        "threads": threads,
        "tolerance": tolerance,
        "blame": blame,
    }
    reads = [first.folder, rows.inputs, *([] if second is None else [second.folder])]
    try:
        told = in_child(
            "modelworks.optimize.diverging.child:run",
            arguments,
            into,
            reads=reads,
            seconds=seconds,
            threads=threads,
            progress=progress,
        )
    except RefusedError as error:
        if error.field != "budget":
            raise
        raise RefusedError(
            f"following two forms took longer than {seconds:.3g} s: give fewer rows", field="rows"
        ) from error
    return codec.decode(Parting, told)
