"""What a form's calls take of the processor's energy, as its own counters (RAPL) tell.

A counter is of a whole package: what else runs there, and what an idle core takes, counts too. So
forms take turns, like the source form, and of each the median turn counts.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import ModelworksError
from modelworks.core.seams import Session
from modelworks.core.tensor import Tensors

NOTE: Final = "energy is that of the whole processor: what others did on it meanwhile counts too"
_RAPL: Final = Path("sys/class/powercap")
_PACKAGE: Final = "package"
_TURNS: Final = 5
_TURN_S: Final = 0.1  # counters move about every millisecond


@dataclass(frozen=True, slots=True)
class Counter:
    """The energy of one processor package.

    Attributes:
        path: file of microjoules since some moment.
        most: the largest number that it shows; behind it it begins again at 0.
    """

    path: Path
    most: int


def energy_counters(root: Path = Path("/")) -> tuple[Counter, ...]:
    """A counter a processor package; none where one of them cannot be read by this user.

    Zones within a package are parts of it, and `psys`, the whole platform, has packages within:
    none of them is counted a second time.

    Args:
        root: where `sys` is; another one in tests.
    """
    found = []
    for folder in sorted((root / _RAPL).glob("intel-rapl:*")):
        if folder.name.count(":") != 1:  # a part of a package
            continue
        try:
            if not (folder / "name").read_text().startswith(_PACKAGE):
                continue
            int((folder / "energy_uj").read_text())
            most = int((folder / "max_energy_range_uj").read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError):  # a part of the energy would be told as all of it
            return ()
        found.append(Counter((folder / "energy_uj").resolve(), most))
    return tuple(found)


def read(counters: Sequence[Counter]) -> tuple[int, ...]:
    """What each says: microjoules.

    Raises:
        OSError: one cannot be read any more.
        ValueError: one says no number.
    """
    return tuple(int(one.path.read_text()) for one in counters)


def joules(counters: Sequence[Counter], before: Sequence[int], after: Sequence[int]) -> float:
    """What was used between two readings, between which a counter may have begun again once."""
    total = 0
    for counter, first, last in zip(counters, before, after, strict=True):
        total += last - first if last >= first else last + counter.most - first
    return total / 1e6


def joules_a_row(
    sessions: Sequence[Session | None],
    given: Sequence[Tensors],
    rows: int,
    counters: Sequence[Counter],
) -> list[float | None]:
    """Joules a row of each form, in turns; None where they cannot be read, or the form failed.

    Args:
        sessions: loaded; None = not in it.
        given: calls of the same number of rows.
        rows: of a call.
        counters: of this machine.
    """
    used: list[list[float]] = [[] for _ in sessions]
    if counters:
        for _ in range(_TURNS):
            for session, mine in zip(sessions, used, strict=True):
                if session is not None:
                    mine.extend(_turn(session, given, rows, counters))
    return [statistics.median(mine) if len(mine) == _TURNS else None for mine in used]


def _turn(
    session: Session, given: Sequence[Tensors], rows: int, counters: Sequence[Counter]
) -> list[float]:
    """Joules a row of one turn; nothing where it failed or nothing was counted."""
    try:
        session.infer(given[0])  # others had the caches
        calls, began, before = 0, time.perf_counter(), read(counters)
        while not calls or time.perf_counter() - began < _TURN_S:
            session.infer(given[calls % len(given)])
            calls += 1
        spent = joules(counters, before, read(counters))
    except (OSError, ValueError, ModelworksError):
        return []
    return [spent / calls / rows] if spent > 0 else []


def told(counters: Sequence[Counter]) -> list[Any]:
    """As JSON values, for a child."""
    return [[str(one.path), one.most] for one in counters]


def heard(values: Sequence[Any]) -> tuple[Counter, ...]:
    """The same back again."""
    return tuple(Counter(Path(path), most) for path, most in values)
