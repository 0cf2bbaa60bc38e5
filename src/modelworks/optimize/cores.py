"""One core for calls of one thread: the one that others use least."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_LOOK_S: Final = 0.1


def idlest(root: Path = Path("/"), look_s: float = _LOOK_S) -> int | None:
    """The core that was idle most in the next moment; None = there is no choice.

    Args:
        root: where `proc` is; another one in tests.
        look_s: seconds.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    ours = os.sched_getaffinity(0)
    before = _idle(root)
    if len(ours) < 2 or not before:
        return None
    time.sleep(look_s)
    after = _idle(root)
    gained = {core: after[core] - before[core] for core in ours if core in after and core in before}
    return max(gained, key=lambda core: (gained[core], core), default=None)


def _idle(root: Path) -> dict[int, int]:
    """Core -> ticks of idleness."""
    found = {}
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name.startswith("cpu") and name != "cpu":
                found[int(name[3:])] = int(ticks[3])
    return found


@contextmanager
def bound(core: int | None) -> Iterator[None]:
    """Run on that core alone; None = wherever the system likes."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    with suppress(OSError):  # the system may forbid it: then times are a little less steady
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)
