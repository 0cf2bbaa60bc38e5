"""One version of the served list in one worker: its state, and what answers for it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from modelworks.core.served import ServedModel
from modelworks.serving.lifetimes import Lifetimes
from modelworks.serving.live import Live

Key: TypeAlias = tuple[str, str]


class State(StrEnum):
    """Of one version in this server; the names are those of Triton's repository index."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


_MOVES: Final = {
    State.UNAVAILABLE: {State.LOADING, State.READY, State.UNLOADING},
    State.LOADING: {State.READY, State.UNAVAILABLE},
    State.READY: {State.UNLOADING, State.UNAVAILABLE},
    State.UNLOADING: {State.UNAVAILABLE},
}


@dataclass(slots=True)
class Entry:
    """One version of the list.

    Attributes:
        served: its line.
        state: of it.
        reason: why it is in that state, or what is the matter with it.
        live: what answers; there exactly while it is READY.
        fallen: loaded, and not able to answer for now: its process ended and is started again.
        dormant: not loaded, and the next request for it loads it.
        starts: it is loaded without being asked for.
        footprint: bytes that loading it took; 0 = it is not loaded.
        born: when it was loaded, seconds of `time.time`.
        failures: loads on demand in a row that failed.
        patient: until then, on the loop's clock, a request does not try again what has failed.
        lifetimes: its counters of loads and unloads; None = it was never loaded.
    """

    served: ServedModel
    state: State = State.UNAVAILABLE
    reason: str = "not loaded yet"
    live: Live | None = None
    fallen: Live | None = None
    dormant: bool = False
    starts: bool = True
    footprint: int = 0
    born: float = 0.0
    failures: int = 0
    patient: float = 0.0
    lifetimes: Lifetimes | None = None

    @property
    def key(self) -> Key:
        """Name and version."""
        return self.served.name, self.served.version

    @property
    def held(self) -> Live | None:
        """What holds memory."""
        return self.live or self.fallen

    def move(self, state: State, reason: str = "") -> None:
        """Change state, along the allowed moves only."""
        if state not in _MOVES[self.state]:
            raise RuntimeError(f"{self.served.name}: {self.state} cannot become {state}")
        self.state, self.reason = state, reason
