"""Alerts in Slack, by an incoming webhook (docs.slack.dev, Incoming webhooks; Block Kit)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from modelworks.core.alerts import Alert, Notification
from modelworks.ext.notifiers.given import address, checked, secret
from modelworks.ext.notifiers.posting import post
from modelworks.ext.notifiers.words import cut, facts, sign, title

_HEADER: Final = 150
_SECTION: Final = 3000
_BLOCKS: Final = 50
_TEXT: Final = 4000
_URL: Final = 3000


class SlackNotifier:
    """See `core.seams.Notifier`."""

    name: ClassVar[str] = "slack"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url_file": "a file with the webhook's URL",
        "url_variable": "an environment variable with it",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings)
        url = address(secret(settings, "url"), "url_file")
        post(url, content(told), "Slack")


def content(told: Notification) -> dict[str, Any]:
    """The message: a header, a section an alert."""
    head = cut(title(told), _HEADER)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(head)}]
    most = _BLOCKS - 3
    blocks += [_section(_said(alert)) for alert in told.alerts[:most]]
    if len(told.alerts) > most:
        blocks.append(_section(f"and {len(told.alerts) - most} more"))
    if told.url and len(told.url) <= _URL:
        button = {"type": "button", "text": _plain("More"), "url": told.url}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": cut(_escaped(title(told)), _TEXT), "blocks": blocks}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": True}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _said(alert: Alert) -> str:
    lines = [f"{sign(alert)} *{_escaped(alert.rule)}*: {_escaped(alert.summary)}"]
    lines += facts(alert, _escaped)
    link = f"\n<{_escaped(alert.runbook)}|runbook>" if alert.runbook else ""
    return _whole("\n".join(lines), _SECTION - len(link)) + link


def _whole(text: str, most: int) -> str:
    """Cut, and not inside of `&amp;`."""
    found = cut(text, most)
    if found != text and "&" in found[-7:] and ";" not in found[found.rindex("&") :]:
        found = found[: found.rindex("&")] + "…"
    return found


def _escaped(text: str) -> str:
    """Slack's three signs: links and `<!channel>` are only text then."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
