"""Alerts as incidents of PagerDuty (Events API v2); one a group, so that it ends with the group.

https://developer.pagerduty.com/docs/events-api-v2-overview
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from modelworks.core.alerts import Notification
from modelworks.core.ids import iso
from modelworks.ext.notifiers.given import address, checked, secret
from modelworks.ext.notifiers.posting import post
from modelworks.ext.notifiers.words import cut, facts, title

URL: Final = "https://events.pagerduty.com/v2/enqueue"
_SUMMARY: Final = 1024
_ALERTS: Final = 100


class PagerDutyNotifier:
    """See `core.seams.Notifier`."""

    name: ClassVar[str] = "pagerduty"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "key_file": "a file with the integration key (Events API v2)",
        "key_variable": "an environment variable with it",
        "url": f"of the API, where it is not {URL}",
        "source": "where incidents say that they come from (modelworks)",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings)
        key = secret(settings, "key")
        url = address(settings.get("url") or URL, "url")
        source = settings.get("source") or "modelworks"
        post(url, content(told, key, source), "PagerDuty", secrets=(key,))


def content(told: Notification, key: str, source: str) -> dict[str, Any]:
    """The event: the group fires, or all of it has ended."""
    event: dict[str, Any] = {"routing_key": key, "dedup_key": cut(told.key, 255)}
    if not told.firing:
        return {**event, "event_action": "resolve"}
    first = min(alert.since_ns for alert in told.firing)
    links = [{"href": told.url, "text": "More"}] if told.url else []
    links += [
        {"href": alert.runbook, "text": f"Runbook: {alert.rule}"}
        for alert in told.firing[:10]
        if alert.runbook
    ]
    said = "; ".join(alert.summary for alert in told.firing[:3])
    details = {
        f"{number}. {alert.rule}": [cut(alert.summary, 1000), *facts(alert)]
        for number, alert in enumerate(told.firing[:_ALERTS], 1)
    }
    payload = {
        "summary": cut(f"{title(told)}: {said}", _SUMMARY),
        "source": source,
        "severity": told.severity.value,
        "timestamp": iso(first),
        "custom_details": details,
    }
    if told.group.get("model"):
        payload["component"] = told.group["model"]
    return {
        **event,
        "event_action": "trigger",
        "payload": payload,
        "links": links,
        "client": "Modelworks",
    }
