"""The duty that evaluates the rules of alerts."""

from collections.abc import Mapping
from typing import Any

from modelworks.control.watching.duty import Done
from modelworks.monitor.alerts.service import Alerts
from modelworks.monitor.alerts.tick import Ticked


class Alerting:
    """Alerts of one tenant.

    Args:
        alerts: with a source of series.
        every_s: between two looks.
    """

    name = "alerts"
    deadline_s = 60.0

    def __init__(self, alerts: Alerts, every_s: float = 15.0) -> None:
        self._alerts = alerts
        self.every_s = every_s

    def run(self, now: float, state: Mapping[str, Any]) -> Done:  # noqa: ARG002 - see `Duty`
        """See `Duty`. What was not noted as told is told again: at least once."""
        done: Ticked = self._alerts.tick(int(now * 1e9))
        return Done(said=f"{done.failed} messages were not taken" if done.failed else "")
