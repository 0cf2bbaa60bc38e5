"""Passes in the sandbox, as they are really called; and how one is killed in the middle."""

import atexit
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.optimizing.passes import Applied, PassJob, settled
from modelworks.core.seams import Pass
from modelworks.plugins.load import load
from modelworks.sandbox.jobs import Job, Warm
from modelworks.sandbox.limits import Limits

WRITING: Final = "writing"
_STAYS_S: Final = 60.0


class KilledError(Exception):
    """The pass was killed, as was asked."""


def run(arguments: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """The sandboxed function: apply a pass; `Applied` as JSON values.

    With `stops` it tells and waits to be killed when it first opens a file for writing, at the
    latest when it is done.
    """
    step: Pass = load("passes", arguments["pass"])()
    given = dict(arguments["job"])
    settings = settled(step.facts, given.pop("settings"))
    job = replace(codec.decode(PassJob, given), settings=settings)
    if arguments["stops"]:
        _stop_when_writing((job.into, Path("tmp").resolve()), progress)
    applied = step.apply(job)
    if arguments["stops"]:
        _stay(progress)
    result: dict[str, Any] = codec.encode(applied)
    return result


def _stop_when_writing(folders: tuple[Path, ...], progress: Callable[[str], None]) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str | bytes | Path):
            return
        mode, flags = arguments[1], arguments[2]
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else bool(flags & 3)
        path = Path(arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0])
        if writes and any(path.resolve().is_relative_to(folder) for folder in folders):
            _stay(progress)

    sys.addaudithook(hook)


def _stay(progress: Callable[[str], None]) -> None:
    progress(WRITING)
    time.sleep(_STAYS_S)


@cache
def warm(modules: tuple[str, ...]) -> Warm:
    """A sandbox that has imported them; it ends with this process."""
    host = Warm((*modules, __name__))
    host.__enter__()
    atexit.register(host.__exit__, None, None, None)
    return host


def apply(
    name: str, job: PassJob, work: Path, modules: tuple[str, ...], limits: Limits | None = None
) -> Applied:
    """Apply a pass in the sandbox.

    Args:
        name: of the pass.
        job: its `into` lies in `work`.
        work: what it may write.
        modules: see `warm`.
        limits: the sandbox's own unless given.

    Raises:
        ModelworksError: the pass's, or the sandbox's.
    """
    outcome = warm(modules).run(_order(name, job, work, limits or Limits()))
    return codec.decode(Applied, outcome.value)


def kill_in_the_middle(name: str, job: PassJob, work: Path, modules: tuple[str, ...]) -> None:
    """Apply it in the sandbox and kill its process when it begins to write."""

    def told(line: str) -> None:
        if line == WRITING:
            raise KilledError

    try:
        warm(modules).run(_order(name, job, work, Limits(), stops=True), told)
    except KilledError:
        return
    raise AssertionError("the pass ended before it was killed")


def _order(name: str, job: PassJob, work: Path, limits: Limits, *, stops: bool = False) -> Job:
    given = (job.source, job.calibration, job.labels)
    return Job(
        function=f"{__name__}:run",
        arguments={"pass": name, "job": codec.encode(job), "stops": stops},
        work=work,
        limits=limits,
        reads=tuple(path for path in given if path is not None),
    )
