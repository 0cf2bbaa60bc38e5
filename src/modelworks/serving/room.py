"""Room for one more model: the limit, who leaves for it, and the numbers when nobody can."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import UnavailableError
from modelworks.serving.entries import Entry, Key
from modelworks.serving.footprints import Footprint
from modelworks.serving.memory import MIB, Machine, machine

SETTLE_S: Final = 3.0
"""A model that was loaded so lately is not evicted: it would be loaded again at once."""
_AFTER: Final = 5


class NoRoomError(UnavailableError):
    """A model does not fit.

    Attributes:
        passing: it will when what is busy, or was loaded just now, can leave.
    """

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message, retry_after=_AFTER)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Tenant:
    """A loaded model, as far as eviction is concerned.

    Attributes:
        key: of it.
        size: bytes that are got by evicting it.
        used: when it last answered, or was loaded; Unix seconds.
        free: it may leave now: not pinned, not busy, not loaded just now.
        pinned: it never leaves.
    """

    key: Key
    size: int
    used: float
    free: bool
    pinned: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for so many bytes.

    Attributes:
        evict: who leaves, the one that was not used for longest first.
        fits: that is enough.
        later: it would be when those who may not leave now can.
    """

    evict: tuple[Key, ...]
    fits: bool
    later: bool


def plan(wanted: int, room: int, tenants: Iterable[Tenant]) -> Plan:
    """Decide who leaves. Nobody is evicted in vain.

    Args:
        wanted: bytes.
        room: bytes that are free; may be negative.
        tenants: everyone who is loaded.
    """
    leaving: list[Key] = []
    movable = room
    for tenant in sorted(tenants, key=lambda t: t.used):
        if tenant.pinned:
            continue
        movable += tenant.size
        if tenant.free and room < wanted:
            leaving.append(tenant.key)
            room += tenant.size
    if room >= wanted:
        return Plan(tuple(leaving), fits=True, later=False)
    return Plan((), fits=False, later=movable >= wanted)


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one worker.

    Attributes:
        bytes: that it may use.
        of_system: nobody set it: it is what cgroup or machine have, less a reserve.
    """

    bytes: int
    of_system: bool

    def room(self, used: int, system: Machine | None) -> int:
        """Bytes that are free.

        Args:
            used: by this worker and the processes of its models.
            system: as it is now.
        """
        room = self.bytes - used
        if system is not None:  # others live here too
            room = min(room, system.available - system.reserve // 4)
        return room


def limit_of(total: int, workers: int) -> Limit | None:
    """A worker's share.

    Args:
        total: bytes for the whole server; 0 = what the system has, less a reserve.
        workers: that share it.

    Returns:
        None where nothing was set and the system does not say what it has.
    """
    if total:
        return Limit(total // workers, of_system=False)
    found = machine()
    return Limit((found.total - found.reserve) // workers, of_system=True) if found else None


def refusal(entry: Entry, wanted: Footprint, room: int, limit: Limit, decided: Plan) -> NoRoomError:
    """Why a model is not loaded, with the numbers."""
    served = entry.served
    known = "as measured before" if wanted.measured else "estimated from its files"
    whose = "what the system has, less a reserve" if limit.of_system else "--memory-limit"
    who = (
        "models that could leave are busy or were loaded just now: try again"
        if decided.later
        else "nothing more can be evicted: raise the limit, unload or unpin a model"
    )
    return NoRoomError(
        f"model '{served.name}' version {served.version} needs {_mb(wanted.bytes)} ({known}), and "
        f"{_mb(max(0, room))} of {_mb(limit.bytes)} are free in this worker ({whose}); {who}",
        passing=decided.later,
    )


def _mb(size: int) -> str:
    return f"{size / MIB:.4g} MiB"
