"""What routes count: requests and copies by route and arm, refusals by reason."""

from typing import Any, Final

from modelworks.core.errors import (
    ForbiddenError,
    LimitedError,
    ModelworksError,
    NotFoundError,
    UnauthenticatedError,
)
from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.block import SERVER, Block

REQUESTS: Final = 0
"""Requests that fell to the arm and were given to its model."""
FALLBACKS: Final = 1
"""Requests that fell to the arm while its model was away, and were given to the fallback."""
ABSENT: Final = 2
"""The same where there was none."""
COPIED: Final = 3
"""Copies that the arm's model answered."""
COPIES_FAILED: Final = 4
"""Copies that it refused."""
COPIES_DROPPED: Final = 5
"""Copies that found no room, or no idle moment in time."""
_REASONS: Final[tuple[tuple[type[ModelworksError], str], ...]] = (
    (UnauthenticatedError, "unknown"),
    (ForbiddenError, "forbidden"),
    (LimitedError, "limited"),
    (NotFoundError, "not_found"),
    (ModelworksError, "other"),
)
_OUTCOMES: Final = (
    (COPIED, "answered"),
    (COPIES_FAILED, "failed"),
    (COPIES_DROPPED, "dropped"),
)


def count_refusal(block: Block, error: ModelworksError) -> None:
    """Note why a request was not let through."""
    place = next(at for at, (kind, _) in enumerate(_REASONS) if isinstance(error, kind))
    block.cells(SERVER)[place] += 1


def arms(block: Block) -> dict[tuple[str, str], Any]:
    """(route, arm) -> its cells, summed over the workers."""
    return {key: block.total(index) for key, index in sorted(block.models().items())}


def families(block: Block, generation: int, problem: str) -> list[Family]:
    """What is scraped of routes."""
    text = "Requests that fell to an arm, by what became of them."
    requests = Family("modelworks_route_requests", Kind.COUNTER, text)
    text = "Copies of requests for shadows, by what became of them."
    copies = Family("modelworks_route_copies", Kind.COUNTER, text)
    text = "Requests that were refused before a model was asked, by reason."
    refused = Family("modelworks_route_refusals", Kind.COUNTER, text)
    text = "Generation of the snapshot of routes that is in force in the worker that was asked."
    newest = Family("modelworks_route_generation", Kind.GAUGE, text)
    text = "1 where a newer snapshot of routes was refused."
    broken = Family("modelworks_route_problem", Kind.GAUGE, text)
    for (route, arm), cells in arms(block).items():
        pairs = {"route": route, "arm": arm}
        for place, outcome in ((REQUESTS, "asked"), (FALLBACKS, "fallback"), (ABSENT, "absent")):
            requests.add(int(cells[place]), {**pairs, "outcome": outcome})
        if any(cells[place] for place, _ in _OUTCOMES):
            for place, outcome in _OUTCOMES:
                copies.add(int(cells[place]), {**pairs, "outcome": outcome})
    totals = block.total(SERVER)
    for place, (_, reason) in enumerate(_REASONS):
        refused.add(int(totals[place]), {"reason": reason})
    newest.add(generation, {})
    broken.add(int(bool(problem)), {})
    return [requests, copies, refused, newest, broken]
