"""A gateway's counts as Prometheus and OpenMetrics read them."""

from collections.abc import Iterable
from typing import Final

from modelworks.gateway.counts import BOUNDS_S_ALL, Answers, Counts
from modelworks.gateway.table import Table
from modelworks.protocol.openmetrics import Family, Kind

_PLAIN: Final = (
    ("retries", "Tries beyond a request's first, for an answer that failed."),
    ("hedges", "Second tries while the first was under way."),
    ("hedges_won", "Second tries whose answer was the caller's."),
    ("unaffordable", "Further tries that the budget did not allow."),
    ("fallbacks", "Requests that the fallback arm was asked."),
    ("shadow_dropped", "Copies for shadows that found no room."),
)


def families(
    counts: Counts, table: Table | None, in_flight: int, connections: int, began: float
) -> list[Family]:
    """All of them.

    Args:
        counts: of all workers.
        table: in force; None = there is none yet.
        in_flight: requests without an answer.
        connections: of callers.
        began: the gateway, all workers together, seconds since 1970.
    """
    made = [*counted(counts, began), *_now(table)]
    made.append(_gauge("in_flight", "Requests without an answer, in this worker.", in_flight))
    made.append(_gauge("connections", "Open connections of callers, in this worker.", connections))
    pairs = Family(
        "modelworks_gateway_pairs_dropped", Kind.COUNTER, "Pairs of answers that were not kept."
    )
    pairs.add(counts.pairs_dropped)
    return [*made, pairs]


def counted(counts: Counts, began: float) -> list[Family]:
    """What is counted by route, and since when; the arguments are those of `families`."""
    start = Family(
        "modelworks_start_time_seconds",
        Kind.GAUGE,
        "When the gateway began, since 1970; a worker that is replaced changes it not.",
    )
    start.add(began)
    return [start, *_routes(counts), *_arms(counts), *_seats(counts)]


def _routes(counts: Counts) -> Iterable[Family]:
    for name, text in _PLAIN:
        family = Family(f"modelworks_gateway_{name}", Kind.COUNTER, text)
        field = "dropped" if name == "shadow_dropped" else name
        for route, of in list(counts.routes.items()):
            if route:
                family.add(getattr(of, field), {"route": route})
        yield family
    refused = Family(
        "modelworks_gateway_refused",
        Kind.COUNTER,
        "Requests that the gateway answered itself, by status.",
    )
    for route, of in list(counts.routes.items()):
        for status, count in sorted(of.refused.items()):
            refused.add(count, {"route": route, "status": str(status)})
    yield refused


def _arms(counts: Counts) -> Iterable[Family]:
    requests = Family(
        "modelworks_gateway_requests", Kind.COUNTER, "Answers sent on, by class of status."
    )
    latency = Family(
        "modelworks_gateway_latency_seconds",
        Kind.HISTOGRAM,
        "From the whole request to the first byte of its answer.",
    )
    lost = Family(
        "modelworks_gateway_lost",
        Kind.COUNTER,
        "Requests that fell to an arm and that it did not answer, by what came of them.",
    )
    copies = Family(
        "modelworks_gateway_shadow_copies", Kind.COUNTER, "Copies sent to an arm as a shadow."
    )
    failed = Family(
        "modelworks_gateway_shadow_failed", Kind.COUNTER, "Of them those without an answer."
    )
    answers = Family(
        "modelworks_gateway_shadow_answers", Kind.COUNTER, "Answers to copies, by class of status."
    )
    copied = Family(
        "modelworks_gateway_shadow_latency_seconds",
        Kind.HISTOGRAM,
        "From sending a copy to the first byte of its answer.",
    )
    for route, of in list(counts.routes.items()):
        for arm, numbers in list(of.arms.items()):
            labels = {"route": route, "arm": arm}
            _answered(requests, latency, labels, numbers)
            for reason, count in numbers.lost.items():
                lost.add(count, {**labels, "to": reason})
            copies.add(numbers.copies, labels)
            failed.add(numbers.copies_failed, labels)
            if numbers.copies:
                _answered(answers, copied, labels, numbers.copied)
    return requests, latency, lost, copies, failed, answers, copied


def _answered(requests: Family, latency: Family, labels: dict[str, str], numbers: Answers) -> None:
    for kind, count in enumerate(numbers.statuses):
        if count:
            requests.add(count, {**labels, "code": f"{kind}xx"})
    _histogram(latency, labels, numbers)


def _seats(counts: Counts) -> Iterable[Family]:
    tries = Family(
        "modelworks_gateway_endpoint_tries", Kind.COUNTER, "Requests sent to an endpoint."
    )
    failures = Family(
        "modelworks_gateway_endpoint_failures", Kind.COUNTER, "Tries that failed, by reason."
    )
    ejections = Family(
        "modelworks_gateway_endpoint_ejections", Kind.COUNTER, "How often it was put to rest."
    )
    for route, of in list(counts.routes.items()):
        for (arm, url), seat in list(of.seats.items()):
            labels = {"route": route, "arm": arm, "endpoint": url}
            tries.add(seat.tries, labels)
            ejections.add(seat.ejections, labels)
            for reason, count in seat.failures.items():
                failures.add(count, {**labels, "reason": reason})
    return tries, failures, ejections


def _now(table: Table | None) -> Iterable[Family]:
    generation = table.generation if table is not None else -1
    yield _gauge("snapshot_generation", "Of the routes in force; -1 = none yet.", generation)
    ready = Family(
        "modelworks_gateway_endpoint_ready", Kind.GAUGE, "As the last health check found it."
    )
    outstanding = Family(
        "modelworks_gateway_endpoint_outstanding",
        Kind.GAUGE,
        "Requests under way, from this worker.",
    )
    for url, place in list(table.places.items()) if table is not None else ():
        ready.add(int(place.ready), {"endpoint": url})
        outstanding.add(place.outstanding, {"endpoint": url})
    yield ready
    yield outstanding


def _histogram(family: Family, labels: dict[str, str], numbers: Answers) -> None:
    buckets = list(numbers.buckets)
    total = 0
    bounds = []
    for bound, count in zip(BOUNDS_S_ALL, buckets, strict=False):
        total += count
        bounds.append((f"{bound:g}", total))
    family.spread(labels, bounds, total + buckets[-1], numbers.sum_ns / 1e9)


def _gauge(name: str, text: str, value: float) -> Family:
    family = Family(f"modelworks_gateway_{name}", Kind.GAUGE, text)
    family.add(value)
    return family
