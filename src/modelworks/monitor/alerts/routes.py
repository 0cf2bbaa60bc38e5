"""Routes, laid out: what each has said or inherits, and which of them an alert takes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from modelworks.core.alerts import Alert, Severity
from modelworks.monitor.alerts.match import matches
from modelworks.protocol.manifest.alerts.routing import RouteOfAlerts

GROUP_BY: Final = ("model",)
WAIT, INTERVAL, REPEAT = 30, 300, 14_400


@dataclass(frozen=True, slots=True)
class Flat:
    """One route with everything said.

    Attributes:
        path: where it stands: `0/2`, `0/2!1` for its second escalation.
        receiver: who is told.
        group_by: labels.
        wait: seconds before a group's first message.
        interval: seconds between messages of something new.
        repeat: seconds between messages of nothing new.
        after: seconds that an alert has to have fired for without being acknowledged.
        severity: at least this, in messages; None = as it is.
    """

    path: str = "0"
    receiver: str = ""
    group_by: tuple[str, ...] = GROUP_BY
    wait: int = WAIT
    interval: int = INTERVAL
    repeat: int = REPEAT
    after: int = 0
    severity: Severity | None = None


class Router:
    """Where alerts go.

    Args:
        root: takes every alert.
    """

    def __init__(self, root: RouteOfAlerts) -> None:
        self._root = root

    def of(self, alert: Alert) -> list[Flat]:
        """Every route that tells of an alert, its escalations among them."""
        return list(_down(self._root, _laid(self._root, Flat(), "0"), alert))


def _down(route: RouteOfAlerts, flat: Flat, alert: Alert) -> Iterator[Flat]:
    taken = False
    for place, inner in enumerate(route.routes):
        if matches(inner.match, alert):
            taken = True
            yield from _down(inner, _laid(inner, flat, f"{flat.path}/{place}"), alert)
            if not inner.go_on:
                return
    if taken:
        return
    yield flat
    for place, one in enumerate(route.escalate):
        yield replace(
            flat,
            path=f"{flat.path}!{place}",
            receiver=one.receiver,
            wait=0,
            after=one.after,
            severity=one.severity,
        )


def _laid(route: RouteOfAlerts, above: Flat, path: str) -> Flat:
    return Flat(
        path=path,
        receiver=route.receiver or above.receiver,
        group_by=above.group_by if route.group_by is None else tuple(route.group_by),
        wait=above.wait if route.group_wait is None else route.group_wait,
        interval=above.interval if route.group_interval is None else route.group_interval,
        repeat=above.repeat if route.repeat_interval is None else route.repeat_interval,
    )
