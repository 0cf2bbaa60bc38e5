"""What a gateway counts, by route, arm and endpoint: plain numbers that the loop adds to."""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any, Final

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BOUNDS_S_ALL: Final = (*BOUNDS_S, 10.0, 30.0)
"""Upper ends of the latency histogram's buckets, seconds; one more behind them takes the rest."""
_NS: Final = [int(bound * 1e9) for bound in BOUNDS_S_ALL]
REASONS: Final = ("connect", "cut", "status", "timeout")
"""Why a try failed: no connection; cut off or malformed; a status of an ill server; no answer."""
MOST_GONE: Final = 64
"""Endpoints of one route that are gone and are told of one by one."""
GONE: Final = "gone"
"""What the others are called, together."""
LOST: Final = ("fallback", "refused", "cut")
"""What came of a request that its arm did not answer: the fallback did, the gateway did, or the
answer broke off (it is among the answers too)."""


class SeatCounts:
    """One endpoint of one arm of one route; a try is one request to it.

    Attributes:
        tries: begun.
        failures: by `REASONS`.
        ejections: how often it was put to rest.
    """

    __slots__ = ("ejections", "failures", "tries")

    def __init__(self) -> None:
        self.tries = 0
        self.failures = dict.fromkeys(REASONS, 0)
        self.ejections = 0

    def add(self, tries: int, failures: dict[str, int], ejections: int) -> None:
        """Add those of somebody else."""
        self.tries += tries
        self.ejections += ejections
        for reason, count in failures.items():
            self.failures[reason] += count


class Answers:
    """Answers of one arm.

    Attributes:
        statuses: by class, `2` to `5`.
        buckets: of the time until the first byte of the answer.
        sum_ns: of these times.
    """

    __slots__ = ("buckets", "statuses", "sum_ns")

    def __init__(self) -> None:
        self.statuses = [0] * 6
        self.buckets = [0] * (len(_NS) + 1)
        self.sum_ns = 0

    def answered(self, status: int, taken_ns: int) -> None:
        """One more."""
        self.statuses[status // 100] += 1
        self.buckets[bisect_left(_NS, taken_ns)] += 1
        self.sum_ns += taken_ns

    def told(self) -> tuple[list[int], list[int], int]:
        """As JSON values; `add` takes them again."""
        return self.statuses, self.buckets, self.sum_ns

    def add(self, told: Sequence[Any]) -> None:
        """Add those of somebody else."""
        statuses, buckets, sum_ns = told
        self.statuses = [a + b for a, b in zip(self.statuses, statuses, strict=True)]
        self.buckets = [a + b for a, b in zip(self.buckets, buckets, strict=True)]
        self.sum_ns += sum_ns


class ArmCounts(Answers):
    """One arm of one route; its own answers are those that callers got.

    Attributes:
        lost: requests that fell to it and that it did not answer, by `LOST`.
        copies: sent to it as a shadow.
        copies_failed: of them those without an answer.
        copied: answers to copies.
    """

    __slots__ = ("copied", "copies", "copies_failed", "lost")

    def __init__(self) -> None:
        super().__init__()
        self.lost = dict.fromkeys(LOST, 0)
        self.copies = 0
        self.copies_failed = 0
        self.copied = Answers()


class RouteCounts:
    """One route.

    Attributes:
        refused: by status: whom the gateway answered itself.
        retries: tries beyond the first.
        hedges: second tries while the first was under way.
        hedges_won: of them those whose answer was sent on.
        unaffordable: tries that the budget did not allow.
        fallbacks: requests that the fallback arm was asked.
        dropped: copies for shadows that found no room.
    """

    __slots__ = (
        *("arms", "dropped", "fallbacks", "hedges", "hedges_won", "refused", "retries", "seats"),
        "unaffordable",
    )

    def __init__(self) -> None:
        self.refused: dict[int, int] = {}
        self.retries = 0
        self.hedges = 0
        self.hedges_won = 0
        self.unaffordable = 0
        self.fallbacks = 0
        self.dropped = 0
        self.arms: dict[str, ArmCounts] = {}
        self.seats: dict[tuple[str, str], SeatCounts] = {}

    def arm(self, name: str) -> ArmCounts:
        """Of one arm."""
        return self.arms.setdefault(name, ArmCounts())

    def seat(self, arm: str, url: str) -> SeatCounts:
        """Of one endpoint."""
        return self.seats.setdefault((arm, url), SeatCounts())

    def forget_seats(self, present: set[tuple[str, str]]) -> None:
        """Keep no more than so many endpoints that are gone; of those before, only their sum.

        Args:
            present: arm and URL of those that are not gone.
        """
        gone = [key for key in list(self.seats) if key not in present and key[1] != GONE]
        for key in gone[: max(0, len(gone) - MOST_GONE)]:
            seat = self.seats.pop(key)
            self.seat(key[0], GONE).add(seat.tries, seat.failures, seat.ejections)

    def refuse(self, status: int) -> None:
        """One more that was answered here."""
        self.refused[status] = self.refused.get(status, 0) + 1


class Counts:
    """All routes; one that is gone from the snapshot keeps its numbers until the gateway ends.

    Attributes:
        routes: by name; `""` = requests that no route takes.
        pairs_dropped: pairs of answers that found no room on their way to the file.
    """

    __slots__ = ("pairs_dropped", "routes")

    def __init__(self) -> None:
        self.routes: dict[str, RouteCounts] = {}
        self.pairs_dropped = 0

    def route(self, name: str) -> RouteCounts:
        """Of one route."""
        return self.routes.setdefault(name, RouteCounts())

    def of(self, routes: Collection[str]) -> "Counts":
        """Those of some routes; they go on counting."""
        found = Counts()
        found.routes = {name: one for name in routes if (one := self.routes.get(name)) is not None}
        return found

    def told(self) -> dict[str, Any]:
        """As JSON values; `add` takes them again."""
        return {
            "pairs_dropped": self.pairs_dropped,
            "routes": {name: _route(counts) for name, counts in list(self.routes.items())},
        }

    def add(self, told: dict[str, Any]) -> None:
        """Add what another process, or an earlier one in our place, has counted."""
        self.pairs_dropped += told["pairs_dropped"]
        for name, of in told["routes"].items():
            route = self.route(name)
            for field in _PLAIN:
                setattr(route, field, getattr(route, field) + of[field])
            for status, count in of["refused"]:
                route.refused[status] = route.refused.get(status, 0) + count
            for arm, answers, lost, copies, failed, copied in of["arms"]:
                into = route.arm(arm)
                into.add(answers)
                for reason, count in lost.items():
                    into.lost[reason] += count
                into.copies += copies
                into.copies_failed += failed
                into.copied.add(copied)
            for arm, url, tries, failures, ejections in of["seats"]:
                route.seat(arm, url).add(tries, failures, ejections)


_PLAIN: Final = ("retries", "hedges", "hedges_won", "unaffordable", "fallbacks", "dropped")


def _route(counts: RouteCounts) -> dict[str, Any]:
    return {
        **{field: getattr(counts, field) for field in _PLAIN},
        "refused": list(counts.refused.items()),
        "arms": [
            (name, a.told(), a.lost, a.copies, a.copies_failed, a.copied.told())
            for name, a in list(counts.arms.items())
        ],
        "seats": [
            (arm, url, s.tries, s.failures, s.ejections)
            for (arm, url), s in list(counts.seats.items())
        ],
    }
