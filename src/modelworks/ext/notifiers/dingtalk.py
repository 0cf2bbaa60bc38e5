"""Alerts in DingTalk, by a robot of a group, signed where it asks for that.

https://open.dingtalk.com/document/robots/custom-robot-access
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

from modelworks.core.alerts import Alert, Notification
from modelworks.core.errors import UnavailableError
from modelworks.ext.notifiers.given import address, checked, secret
from modelworks.ext.notifiers.posting import post, refused
from modelworks.ext.notifiers.words import cut, facts, fitted, markdown, sign, title

_MOST: Final = 18_000
"""Bytes of the text; the message as a whole may have 20,000."""
_BUSY: Final = {-1, 130101, 410100}
"""System busy; more than 20 messages in a minute."""


class DingTalkNotifier:
    """See `core.seams.Notifier`."""

    name: ClassVar[str] = "dingtalk"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url_file": "a file with the robot's URL, its access_token in it",
        "url_variable": "an environment variable with it",
        "secret_file": "a file with the key that the robot wants messages signed with (SEC...)",
        "secret_variable": "an environment variable with it",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings)
        url = address(secret(settings, "url"), "url_file")
        key = secret(settings, "secret", required=False)
        if key:
            at = int(time.time() * 1000)
            mark = "&" if "?" in url else "?"
            url += f"{mark}timestamp={at}&sign={quote(signature(key, at), safe='')}"
        answer = post(url, content(told), "DingTalk", secrets=(key,)).json()
        code = answer.get("errcode")
        if code in _BUSY:
            raise UnavailableError(f"DingTalk is busy: code {code}", retry_after=60)
        if code != 0:
            raise refused("DingTalk", code, answer.get("errmsg"), (key, *_tokens(url)))


def signature(key: str, at: int) -> str:
    """HMAC-SHA256 of `MILLISECONDS, newline, KEY` with the key, in base64."""
    text = f"{at}\n{key}".encode()
    return base64.b64encode(hmac.new(key.encode(), text, hashlib.sha256).digest()).decode()


def content(told: Notification) -> dict[str, Any]:
    """The message."""
    head = cut(title(told), 100)
    more = [f"[more]({told.url})"] if told.url else []
    parts = [f"### {markdown(head)}", *map(_said, told.alerts)]
    text = fitted(parts, _MOST - sum(len(one.encode()) + 2 for one in more))
    return {
        "msgtype": "markdown",
        "markdown": {"title": head, "text": "\n\n".join([text, *more])},
        "at": {"isAtAll": False},
    }


def _said(alert: Alert) -> str:
    lines = [f"{sign(alert)} **{markdown(alert.rule)}**: {markdown(cut(alert.summary, 1000))}"]
    lines += [f"> {line}" for line in facts(alert, lambda line: markdown(cut(line, 500)))]
    if alert.runbook:
        lines.append(f"> [runbook]({alert.runbook})")
    return "\n\n".join(lines)


def _tokens(url: str) -> list[str]:
    return [part.partition("=")[2] for part in url.partition("?")[2].split("&")]
