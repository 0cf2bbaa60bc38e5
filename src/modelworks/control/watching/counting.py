"""What servers counted between two looks, as windows of a minute. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modelworks.control.exposition import values
from modelworks.core.series import Series
from modelworks.monitor.series.chunk import Key
from modelworks.monitor.series.names import MINUTE, STAGES
from modelworks.monitor.series.rollup import derived

REQUESTS: Final = "modelworks_requests_total"
BUCKETS: Final = "modelworks_request_duration_seconds_bucket"
SUMS: Final = "modelworks_request_duration_seconds_sum"
STARTED: Final = "modelworks_start_time_seconds"
MOST: Final = 60
"""Windows that one difference is spread over; what was counted earlier counts in the first."""

_OUTCOMES: Final = {
    "failed": "errors",
    "expired": "errors",
    "rejected": "rejected",
    "invalid": "invalid",
}
_COUNTS: Final = ("requests", "errors", "rejected", "invalid")
_STAGE: Final = {"total": STAGES[0], "queue": STAGES[1], "compute": STAGES[2]}

Counter = tuple[str, str, str, str]
"""Model, version, name of the series, upper bound of a bucket."""
Counters = dict[Counter, float]


@dataclass(frozen=True, slots=True)
class Look:
    """What a server had counted at one time.

    Attributes:
        deployment: whose server it is; empty = of none.
        started: when the server began, seconds since 1970: with its place it identifies it.
        at: end of the window that the look closes, seconds since 1970.
        counters: since the server began; of histograms the count of each bucket.
    """

    deployment: str
    started: float
    at: int
    counters: Counters


def counters(text: str) -> Counters:
    """The counters of an exposition.

    Raises:
        ValueError: a value that no count can have.
    """
    found: Counters = {}
    cumulative: dict[tuple[str, str, str], dict[float, tuple[str, float]]] = {}
    for name, labels, value in values(text, {REQUESTS, BUCKETS, SUMS}):
        model, version = labels.get("model", ""), labels.get("version", "")
        if not model:
            continue  # the request named none that exists
        if name == REQUESTS:
            for kind in _COUNTS:
                found.setdefault((model, version, kind, ""), 0.0)
            for kind in ("requests", _OUTCOMES.get(labels.get("outcome", ""), "")):
                if kind:
                    found[model, version, kind, ""] += value
            continue
        stage = _STAGE.get(labels.get("stage", ""), "")
        if stage and name == SUMS:
            found[model, version, f"{stage}_sum", ""] = value
        elif stage:
            bound = labels.get("le", "")
            cells = cumulative.setdefault((model, version, f"{stage}_bucket"), {})
            cells[float(bound)] = (bound, value)
    for key, cells in cumulative.items():
        found |= {(*key, bound): count for bound, count in each(cells)}
    return found


def each(cells: Mapping[float, tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """(bound, count) of each bucket, from counts at or under each bound."""
    below = 0.0
    for _, (bound, value) in sorted(cells.items()):
        yield bound, max(0.0, value - below)
        below = value


def started(text: str) -> float:
    """When the server began; 0 = it does not say."""
    for line in text.splitlines():
        if line.startswith(STARTED + " "):
            return float(line.split()[1])
    return 0.0


def windows(before: Look | None, now: Look, since: int) -> list[tuple[int, Counters]]:
    """(end, counts) of each window between two looks at one server.

    What was counted over several windows is spread evenly over them: nobody looked meanwhile.

    Args:
        before: the look before; None = there was none.
        now: this look.
        since: the end of the window that the last look at any server closed; 0 = none did.
    """
    if before is None:
        if not since or now.started < since - MINUTE:
            return []  # who was not seen before counts from now on
        # It began after the last look: whatever it counted came since then.
        before = Look(now.deployment, now.started, min(since, now.at - MINUTE), {})
    length = min(MOST, (now.at - before.at) // MINUTE)
    if length < 1:
        return []
    found = []
    for number in range(length):
        counts = {}
        for key, value in now.counters.items():
            total = value - before.counters.get(key, 0.0)
            share = _share(total, number, length) if total >= 0 else 0.0
            if share or key[2] in _COUNTS:
                counts[key] = share
        found.append((now.at - (length - 1 - number) * MINUTE, counts))
    return found


def _share(total: float, number: int, length: int) -> float:
    if total != int(total):
        return total / length
    return float(int(total) * (number + 1) // length - int(total) * number // length)


def series(found: Iterable[tuple[str, int, Counters]], labels: Mapping[str, str]) -> list[Series]:
    """The windows of all servers, added up.

    Args:
        found: deployment, end of the window, counts.
        labels: that all series have besides.
    """
    added: dict[tuple[str, str, str], dict[int, dict[tuple[str, str], float]]] = {}
    for deployment, end, counts in found:
        for (model, version, name, bound), value in counts.items():
            cells = added.setdefault((model, version, deployment), {}).setdefault(end, {})
            cells[name, bound] = cells.get((name, bound), 0.0) + value
    told: list[Series] = []
    for (model, version, deployment), ends in sorted(added.items()):
        base = {"model": model, "version": version, **labels}
        base |= {"deployment": deployment} if deployment else {}
        rows: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
        for end, cells in sorted(ends.items()):
            for (name, bound), value in [*cells.items(), *_figures(cells)]:
                times, numbers = rows.setdefault((name, bound), ([], []))
                times.append(float(end))
                numbers.append(value)
        for (name, bound), (times, numbers) in rows.items():
            more = {"le": bound} if bound else {}
            told.append(Series(name, base | more, times, numbers))
    return told


def _figures(
    cells: Mapping[tuple[str, str], float],
) -> Sequence[tuple[tuple[str, str], float]]:
    """Percentiles and means of one window."""
    keyed: dict[Key, float] = {
        (name, (("le", bound),) if bound else ()): value for (name, bound), value in cells.items()
    }
    return [((name, ""), value) for (name, _), value in derived(keyed).items()]
