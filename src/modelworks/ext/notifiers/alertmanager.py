"""Alerts handed on to a Prometheus Alertmanager, which groups, silences and tells (API v2)."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from modelworks.core.alerts import Alert, AlertState, Notification
from modelworks.core.errors import InvalidError
from modelworks.ext.notifiers.given import address, checked, secret
from modelworks.ext.notifiers.posting import post

_KEEP: Final = 6 * 3600
_LONGEST: Final = 30 * 86_400


class AlertmanagerNotifier:
    """See `core.seams.Notifier`."""

    name: ClassVar[str] = "alertmanager"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url": "of the Alertmanager, http://HOST:9093",
        "keep": "seconds after which it ends an alert that it is not told of again (21600): more "
        "than the route's repeat_interval",
        "token_file": "a file whose content is sent as a bearer token",
        "token_variable": "an environment variable with that token",
        "ca": "authorities (PEM) of an https receiver",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings, ("url",))
        url = address(settings["url"], "url", plain=True).rstrip("/") + "/api/v2/alerts"
        keep = settings.get("keep", str(_KEEP))
        if not keep.isdecimal() or not 60 <= int(keep[:9]) <= _LONGEST:
            raise InvalidError(f"keep: seconds are wanted, 60 to {_LONGEST}", field="keep")
        token = secret(settings, "token", required=False)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        until = int(time.time()) + int(keep)
        body = [_alert(alert, told.url, until) for alert in told.alerts]
        ca = settings.get("ca", "")
        post(url, body, "Alertmanager", headers=headers, secrets=(token,), ca=ca)


def _alert(alert: Alert, url: str, until: int) -> dict[str, Any]:
    """Labels identify an alert there: nothing that changes may be one."""
    ended = alert.state is AlertState.RESOLVED
    annotations = {"summary": alert.summary, **alert.annotations}
    if alert.runbook:
        annotations["runbook_url"] = alert.runbook
    labels = {**alert.labels, "alertname": alert.rule, "severity": alert.severity.value}
    found = {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": _time(alert.since_ns / 1e9),
        "endsAt": _time(alert.ended_ns / 1e9 if ended else float(until)),
    }
    return {**found, "generatorURL": url} if url else found


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
