"""Which replicas to start and which to end. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from modelworks.core.deployment import Phase
from modelworks.core.local import LocalShare

_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Known:
    """A replica that there is.

    Attributes:
        name: of it.
        revision: number.
        digest: of the share that it was started for.
        phase: of it.
    """

    name: str
    revision: int
    digest: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do now.

    Attributes:
        start: new replicas: name and share.
        end: names of those that are to drain.
    """

    start: tuple[tuple[str, LocalShare], ...]
    end: tuple[str, ...]


def decide(name: str, shares: Sequence[LocalShare], known: Iterable[Known]) -> Changes:
    """As many of each share as are wanted, and none of others.

    Replicas that run the same revision with other words (after an update of Modelworks) go when
    those that take their place are ready.

    Args:
        name: of the deployment.
        shares: that are wanted; one a revision.
        known: all replicas; those that end already count for their name alone.
    """
    every = list(known)
    here = [one for one in every if one.phase is not Phase.STOPPING]
    names = {one.name for one in every}
    start: list[tuple[str, LocalShare]] = []
    end: list[str] = []
    for share in shares:
        of = [one for one in here if one.revision == share.revision]
        own = [one for one in of if one.digest == share.digest]
        for _ in range(share.replicas - len(own)):
            new = _free(f"{name}-{share.revision}", names)
            names.add(new)
            start.append((new, share))
        end += [one.name for one in _least_first(own)[: max(0, len(own) - share.replicas)]]
        if sum(one.phase is Phase.READY for one in own) >= share.replicas:
            end += [one.name for one in of if one.digest != share.digest]
    wanted = {share.revision for share in shares}
    end += [one.name for one in here if one.revision not in wanted]
    return Changes(tuple(start), tuple(end))


def wait_s(crashes: int) -> float:
    """Before a replica is started again that ended so many times in a row."""
    return float(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(crashes - 1, 10)))


def _least_first(replicas: Sequence[Known]) -> list[Known]:
    """Those that would be missed least: not ready ones, then the last."""
    return sorted(replicas, key=lambda one: (one.phase is Phase.READY, -_place(one.name)))


def _free(head: str, names: set[str]) -> str:
    return next(f"{head}-{n}" for n in range(len(names) + 1) if f"{head}-{n}" not in names)


def _place(name: str) -> int:
    return int(name.rpartition("-")[2])
