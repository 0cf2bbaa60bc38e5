"""The duty that turns what servers count into windows of a minute."""

from collections.abc import Callable, Mapping
from typing import Any

from modelworks.control.exposition import values
from modelworks.control.watching.asking import Server
from modelworks.control.watching.counting import Look, counters, series, started, windows
from modelworks.control.watching.duty import Done
from modelworks.core.series import Series
from modelworks.monitor.series.names import MINUTE

_MEMORY = "modelworks_model_memory_bytes"
_WAITING = "modelworks_queue_items"
_GAUGES = {_MEMORY: "model_memory_bytes", _WAITING: "model_queue_items"}


class Requests:
    """Requests, errors and latencies by model, version and deployment.

    Args:
        ask: what each server process says in its metrics.
        machine: empty = the only one; otherwise a label of every series.
    """

    every_s = float(MINUTE)
    deadline_s = 45.0

    def __init__(self, ask: Callable[[], list[tuple[Server, str]]], machine: str = "") -> None:
        self._ask = ask
        self._labels = {"machine": machine} if machine else {}
        self.name = f"requests {machine}".strip()[:40]

    def run(self, now: float, state: Mapping[str, Any]) -> Done:
        """See `Duty`."""
        end = int(now) // MINUTE * MINUTE
        since = int(state.get("at", 0))
        if end <= since:
            return Done(state=state)
        before = {key: _look(told) for key, told in state.get("servers", {}).items()}
        found, kept, silent, gauges = [], {}, [], []
        for server, text in self._ask():
            try:
                look = Look(server.deployment, started(text), end, counters(text))
                gauges += self._gauges(server, text, end)
            except ValueError as error:
                silent.append(f"{server.url}: {error}")
                continue
            key = f"{server.url} {look.started!r}"
            found += [(look.deployment, *one) for one in windows(before.get(key), look, since)]
            kept[key] = _told(look)
        said = "; ".join(silent)
        left = {"at": end, "servers": kept}
        return Done([*series(found, self._labels), *gauges], MINUTE, left, said)

    def _gauges(self, server: Server, text: str, end: int) -> list[Series]:
        told = []
        for name, labels, value in values(text, _GAUGES.keys()):
            more = {k: v for k, v in labels.items() if k in {"model", "version"}}
            more |= {"deployment": server.deployment} if server.deployment else {}
            told.append(Series(_GAUGES[name], more | self._labels, (float(end),), (value,)))
        return told


def _told(look: Look) -> dict[str, Any]:
    counts = [[*key, value] for key, value in look.counters.items() if value]
    return {
        "deployment": look.deployment,
        "started": look.started,
        "at": look.at,
        "counters": counts,
    }


def _look(told: Mapping[str, Any]) -> Look:
    counts = {tuple(row[:4]): float(row[4]) for row in told["counters"]}
    return Look(told["deployment"], told["started"], told["at"], counts)
