"""How calm the machine is: a spin of fixed work before, what others took of it during a run."""

import os
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.measure.processes import cpu_ns, tree

_LOOPS: Final = 20_000  # about a millisecond of Python
_STEAL: Final = 0.02
_OTHERS: Final = 0.25
_SPREAD: Final = 0.25


@dataclass(frozen=True, slots=True)
class Calibration:
    """The same piece of work, timed again and again on one core.

    Attributes:
        spins: how often.
        median_s: wall time of one.
        spread: (90th - 10th percentile) / median of the wall time.
        stolen: share of the wall time in which this thread did not run: others had the core.
    """

    spins: int
    median_s: float
    spread: float
    stolen: float


@dataclass(frozen=True, slots=True)
class Interference:
    """What the machine did beside the measurement.

    Attributes:
        seconds: watched.
        steal: share of all cores' time that the hypervisor gave to others.
        others: cores' worth of CPU time used by processes that are neither server nor generator.
        load: load average of the last minute, at the end.
        mhz: clock of the cores at the end, lowest and highest; empty where it is not told.
    """

    seconds: float
    steal: float
    others: float
    load: float
    mhz: tuple[float, ...] = ()

    @property
    def noisy(self) -> tuple[str, ...]:
        """Why figures of that time are not to be trusted to a few per cent; empty = calm."""
        found = []
        if self.steal > _STEAL:
            found.append(f"the hypervisor took {self.steal:.0%} of the cores' time")
        if self.others > _OTHERS:
            found.append(f"other processes used {self.others:.1f} cores")
        return tuple(found)


def calibrate(seconds: float = 0.3) -> Calibration:
    """Spin for a while; a calm core does the same work in the same time.

    Args:
        seconds: of wall time, about.
    """
    end = time.perf_counter() + seconds
    spans: list[float] = []
    began, used = time.perf_counter(), time.thread_time()
    while (now := time.perf_counter()) < end or len(spans) < 10:
        _spin()
        spans.append(time.perf_counter() - now)
    wall, cpu = time.perf_counter() - began, time.thread_time() - used
    tenths = statistics.quantiles(spans, n=10)
    middle = statistics.median(spans)
    return Calibration(
        len(spans), middle, (tenths[-1] - tenths[0]) / middle, max(0.0, 1 - cpu / wall)
    )


def said(found: Calibration) -> str:
    """A calibration in a few words."""
    return (
        f"{found.median_s * 1000:.2f} ms for the same work, {found.spread:.0%} apart between the "
        f"fastest and the slowest tenth, {found.stolen:.0%} of the time taken by others"
    )


def unsteady(found: Calibration) -> str:
    """Why a calibration shows no calm core; empty = it does."""
    if found.stolen > _STEAL:
        return f"others had this core for {found.stolen:.0%} of the calibration"
    if found.spread > _SPREAD:
        return f"the same work takes {found.spread:.0%} more or less time"
    return ""


def _spin() -> int:
    total = 0
    for number in range(_LOOPS):
        total += number
    return total


class Watch:
    """Looks at the whole machine from now on.

    Args:
        ours: processes of the measurement beside this one, such as the server's.
    """

    def __init__(self, ours: Iterable[int] = ()) -> None:
        self._ours = tuple(ours)
        self._at = time.monotonic()
        self._before = _cpu_times()
        self._used = self._used_ns()
        self._own = _own_s()

    def end(self) -> Interference:
        """What was seen since."""
        seconds = max(time.monotonic() - self._at, 1e-9)
        after = _cpu_times()
        busy, steal = (now - then for now, then in zip(after, self._before, strict=True))
        ours = sum(used - self._used.get(pid, 0) for pid, used in self._used_ns().items()) / 1e9 + (
            _own_s() - self._own
        )
        cores = os.cpu_count() or 1
        return Interference(
            seconds=seconds,
            steal=max(0.0, steal / seconds / cores),
            others=max(0.0, (busy - ours) / seconds),
            load=os.getloadavg()[0],
            mhz=_clock(),
        )

    def _used_ns(self) -> dict[int, int]:
        found = {pid: cpu_ns(pid) for pid in tree(self._ours) - {os.getpid()}}
        return {pid: used for pid, used in found.items() if used is not None}


def _own_s() -> float:
    """CPU time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _cpu_times() -> tuple[float, float]:
    """(busy, stolen) seconds of all cores together; zeros where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0, 0.0
    ticks = [int(field) for field in fields] + [0] * 8
    hertz = os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _wait, irq, soft, steal = ticks[:8]
    return (user + nice + system + irq + soft) / hertz, steal / hertz


def _clock() -> tuple[float, ...]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ()
    found = [float(line.rpartition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return (min(found), max(found)) if found else ()
