"""Alerts in Microsoft Teams, by a workflow's webhook: an Adaptive Card."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from modelworks.core.alerts import Alert, Notification
from modelworks.ext.notifiers.given import address, checked, secret
from modelworks.ext.notifiers.posting import post
from modelworks.ext.notifiers.words import cut, facts, markdown, sign, title

_MOST: Final = 28_000
"""Bytes; Teams takes 28 KB."""
_COLOURS: Final = {"critical": "Attention", "warning": "Warning", "info": "Accent"}


class TeamsNotifier:
    """See `core.seams.Notifier`."""

    name: ClassVar[str] = "teams"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url_file": "a file with the URL of the workflow (When a webhook request is received)",
        "url_variable": "an environment variable with it",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings)
        url = address(secret(settings, "url"), "url_file")
        post(url, content(told), "Teams")


def content(told: Notification) -> dict[str, Any]:
    """The message, with as many alerts as it may hold."""
    for count in range(min(len(told.alerts), 50), 0, -1):
        found = _message(told, count)
        if len(json.dumps(found, ensure_ascii=False).encode()) <= _MOST:
            return found
    return _message(told, 0)


def _message(told: Notification, count: int) -> dict[str, Any]:
    colour = _COLOURS[told.severity.value] if told.firing else "Good"
    head = {"size": "Large", "weight": "Bolder", "color": colour}
    body = [_block(markdown(cut(title(told), 500)), **head)]
    for alert in told.alerts[:count]:
        body += _blocks(alert)
    if len(told.alerts) > count:
        body.append(_block(f"and {len(told.alerts) - count} more"))
    links = [("More", told.url)] if told.url else []
    links += [(cut(f"Runbook: {a.rule}", 60), a.runbook) for a in told.alerts if a.runbook][:4]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": t, "url": url} for t, url in links],
        "msteams": {"width": "Full"},
    }
    kind = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": kind, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _blocks(alert: Alert) -> list[dict[str, Any]]:
    said = f"{sign(alert)} **{markdown(alert.rule)}**: {markdown(cut(alert.summary, 1000))}"
    rest = [_block(cut(line, 1000), isSubtle=True, spacing="None") for line in facts(alert)]
    for block in rest:
        block["text"] = markdown(str(block["text"]))
    return [_block(said, separator=True), *rest]


def _block(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True, **more}
