"""What an import may use at most, from the environment."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.sandbox.limits import GIB, Limits

MEMORY: Final = "MODELWORKS_IMPORT_MEMORY"
SECONDS: Final = "MODELWORKS_IMPORT_SECONDS"


def limits_of(environ: Mapping[str, str]) -> Limits:
    """Limits of the import sandbox; an empty variable counts as not set.

    `MODELWORKS_IMPORT_MEMORY` is the address space in GiB, `MODELWORKS_IMPORT_SECONDS` the time
    from start to answer; the CPU time follows it, for all the threads that a job may start.

    Raises:
        InvalidError: no number, or one that makes no sense; `field` names the variable.
    """
    limits = Limits()
    if memory := environ.get(MEMORY):
        gib = _number(memory, MEMORY, 0.25, 1024.0)
        limits = replace(limits, memory_bytes=int(gib * GIB))
    if seconds := environ.get(SECONDS):
        wall = _number(seconds, SECONDS, 1.0, 86_400.0)
        cpu = max(limits.cpu_seconds, int(wall * limits.threads))
        limits = replace(limits, wall_seconds=wall, cpu_seconds=cpu)
    return limits


def _number(text: str, field: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not low <= number <= high:
        raise InvalidError(
            f"{field} is '{text[:40]}': a number from {low:g} to {high:g} is wanted", field=field
        )
    return number
