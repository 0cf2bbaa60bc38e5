"""Alerts in Feishu (Lark), by a custom robot of a group, signed where it asks for that.

https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from modelworks.core.alerts import Alert, Notification
from modelworks.core.errors import UnavailableError
from modelworks.ext.notifiers.given import address, checked, secret
from modelworks.ext.notifiers.posting import post, refused
from modelworks.ext.notifiers.words import cut, facts, fitted, sign, title

_MOST: Final = 16_000
"""Bytes of the text; the message as a whole may have 20 KB."""
_BUSY: Final = {11232, 11233}
"""Too often."""
_COLOURS: Final = {"critical": "red", "warning": "orange", "info": "blue"}


class FeishuNotifier:
    """See `core.seams.Notifier`."""

    name: ClassVar[str] = "feishu"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url_file": "a file with the robot's URL (https://open.feishu.cn/open-apis/bot/v2/hook/...)",
        "url_variable": "an environment variable with it",
        "secret_file": "a file with the key that the robot wants messages signed with",
        "secret_variable": "an environment variable with it",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings)
        url = address(secret(settings, "url"), "url_file")
        key = secret(settings, "secret", required=False)
        body = content(told)
        if key:
            at = int(time.time())
            body = {"timestamp": str(at), "sign": signature(key, at), **body}
        answer = post(url, body, "Feishu", secrets=(key,)).json()
        code = answer.get("code", answer.get("StatusCode"))
        if code in _BUSY:
            raise UnavailableError(f"Feishu is busy: code {code}", retry_after=60)
        if code != 0:
            message = answer.get("msg", answer.get("StatusMessage"))
            raise refused("Feishu", code, message, (key, url.rpartition("/")[2]))


def signature(key: str, at: int) -> str:
    """HMAC-SHA256 of nothing, with `SECONDS, newline, KEY` as the key, in base64."""
    found = hmac.new(f"{at}\n{key}".encode(), b"", hashlib.sha256).digest()
    return base64.b64encode(found).decode()


def content(told: Notification) -> dict[str, Any]:
    """The card."""
    colour = _COLOURS[told.severity.value] if told.firing else "green"
    text = fitted([_said(alert) for alert in told.alerts], _MOST)
    elements: list[dict[str, Any]] = [{"tag": "markdown", "content": text}]
    if told.url:
        link = {"tag": "plain_text", "content": "More"}
        button = {"tag": "button", "text": link, "url": told.url, "type": "default"}
        elements.append({"tag": "action", "actions": [button]})
    head = {"tag": "plain_text", "content": cut(title(told), 200)}
    return {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {"title": head, "template": colour},
            "elements": elements,
        },
    }


def _said(alert: Alert) -> str:
    lines = [f"{sign(alert)} **{_escaped(alert.rule)}**: {_escaped(cut(alert.summary, 1000))}"]
    lines += facts(alert, lambda line: _escaped(cut(line, 500)))
    if alert.runbook:
        lines.append(f"[runbook]({alert.runbook})")
    return "\n".join(lines)


_SIGNS: Final = {sign: f"&#{ord(sign)};" for sign in "&<>*_~`[]()#!\\"}


def _escaped(text: str) -> str:
    """Feishu takes the signs of its Markdown, and of its tags, as HTML entities."""
    return "".join(_SIGNS.get(sign, sign) for sign in text).replace("\n", " ")
