"""What a simulation found, and how sure one can be of it."""

from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import beta


@dataclass(frozen=True)
class Outcome:
    """Of one method in one setting.

    `false` is the share of experiments without a difference where one was found at any look;
    `low` its lower 99 % bound (Clopper and Pearson), which may not exceed `declared`. `power` is
    the share found at any look where there is a difference; `best` the same of the best method
    that is known and may be looked at at any time, tuned for the same horizon; `planned` that of a
    test whose horizon and looks were fixed before. `stop` is the median share of the horizon at
    which it was found.
    """

    method: str
    setting: str
    declared: float
    experiments: int
    looks: int
    false: float
    low: float
    power: float | None = None
    best: float | None = None
    rival: str = ""
    stop: float | None = None
    planned: float | None = None
    naive: bool = False  # shown for comparison: it is known to break its word

    @property
    def kept(self):
        """Whether the measured rate does not refute the declared one."""
        return self.low <= self.declared

    @property
    def ratio(self):
        """Power over the rival's."""
        return self.power / self.best if self.power is not None and self.best else None

    def document(self):
        """As JSON."""
        return asdict(self) | {"kept": self.kept, "ratio": self.ratio}


def lower(hits, count, level=0.99):
    """Lower bound of a share."""
    return float(beta.ppf(1 - level, hits, count - hits + 1)) if hits else 0.0


def ever(crossed):
    """(share of the rows of [experiments, looks] with any, how many)."""
    hits = int(np.asarray(crossed).any(-1).sum())
    return hits / len(crossed), hits


def judged(method, setting, declared, none, some=None, rival=None, times=None, **more):
    """From crossings [experiments, looks] without a difference, with one, and the rival's."""
    false, hits = ever(none)
    power = best = stop = None
    if some is not None:
        power = ever(some)[0]
        first = np.asarray(some)[np.asarray(some).any(-1)].argmax(-1)
        stop = float(np.median(times[first])) if len(first) else None
    if rival is not None:
        best = ever(rival)[0]
    return Outcome(
        *(method, setting, declared, len(none), none.shape[-1]),
        *(false, lower(hits, len(none)), power, best, more.get("name", ""), stop),
        naive=more.get("naive", False),
        planned=ever(more["planned"])[0] if "planned" in more else None,
    )
