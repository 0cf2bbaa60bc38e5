"""How rows become calls, and a call in a process of its own."""

import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.tensor import Signature
from modelworks.sandbox import jobs
from modelworks.sandbox.jobs import Job
from modelworks.sandbox.limits import GIB, Limits
from modelworks.sandbox.watch import Progress

MEMORY: Final = 32 * GIB
"""Address space of a child: engines map much more than they use."""

_EVERYTHING: Final = 1 << 46
"""The same with accelerators, whose drivers map all of the machine's memory and theirs."""


def fixed_rows(signature: Signature) -> int | None:
    """Rows that every call must have; None = any number."""
    sizes = {spec.shape[0] for spec in signature.inputs if spec.shape}
    return max((size for size in sizes if size is not None), default=None)


def sizes_of(signature: Signature, wanted: Sequence[int]) -> tuple[int, ...]:
    """The numbers of rows of those wanted that a call of the model may have; rising."""
    fixed = fixed_rows(signature)
    return tuple(sorted(set(wanted))) if fixed is None else (fixed,)


def cuts(rows: int, sizes: Sequence[int]) -> list[slice]:
    """All rows as calls, in turn of every size, so that each size has about as many rows.

    What a form answers may depend on the rows beside (a scale over the whole call), and on their
    number (another engine): no size is left untried. What is left at the end makes a smaller call.

    Args:
        rows: in all.
        sizes: of calls; one alone takes only whole calls where `rows` is a multiple of it.
    """
    largest = max(sizes)
    turn = [size for size in sizes for _ in range(math.ceil(largest / size))]
    found, start = [], 0
    while start < rows:
        for size in turn:
            if start >= rows:
                break
            found.append(slice(start, min(start + size, rows)))
            start += size
    return found


def in_child(  # noqa: PLR0913 - a job has as many sides
    function: str,
    arguments: dict[str, Any],
    into: Path,
    *,
    reads: Sequence[Path],
    seconds: float,
    threads: int,
    progress: Progress | None = None,
    devices: Sequence[Path] = (),
) -> dict[str, Any]:
    """Call a function in a sandbox, in a folder of its own whose files then lie in `into`.

    Args:
        function: `module:function`.
        arguments: JSON values; `work` is added: the folder that it may write.
        into: an existing folder; files of the same names are replaced.
        reads: files and folders that it may read.
        seconds: until it is ended.
        threads: that it may use.
        progress: told each line that it reports.
        devices: files of accelerators that it may use.

    Raises:
        RefusedError: it took longer than `seconds`, or another limit was reached.
        CrashedError: it died.
        ModelworksError: raised by the function.
    """
    limits = Limits(
        memory_bytes=_EVERYTHING if devices else MEMORY,
        cpu_seconds=0,  # under such a limit Linux tells CPU time in ticks of milliseconds only
        wall_seconds=seconds,
        threads=threads,
    )
    if seconds <= 0:
        raise RefusedError("no time is left for it", field="budget")
    work = Path(tempfile.mkdtemp(prefix=".child-", dir=into)).resolve()
    try:
        job = Job(
            function,
            {**arguments, "work": str(work)},
            work,
            limits,
            tuple(reads),
            devices=tuple(devices),
        )
        try:
            value = jobs.run(job, progress).value
        except RefusedError as error:
            if "longer than" in error.message:
                raise RefusedError(
                    f"it took longer than the {seconds:.3g} s that were left for it: give it more "
                    "with --budget",
                    field="budget",
                ) from error
            raise
        for file in work.iterdir():
            if file.is_file() and not file.is_symlink():
                file.replace(into / file.name)
        return value
    finally:
        shutil.rmtree(work, ignore_errors=True)


def refuse_empty(rows: int) -> None:
    """There must be something to ask.

    Raises:
        InvalidError: no row.
    """
    if rows < 1:
        raise InvalidError("no rows to try a form on", field="eval")
