"""Alerts in WeCom, by a robot of a group.

https://developer.work.weixin.qq.com/document/path/91770
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from modelworks.core.alerts import Alert, Notification
from modelworks.core.errors import UnavailableError
from modelworks.ext.notifiers.given import address, checked, secret
from modelworks.ext.notifiers.posting import post, refused
from modelworks.ext.notifiers.words import cut, facts, fitted, markdown, sign, title

_MOST: Final = 4096
"""Bytes of the text, UTF-8."""
_BUSY: Final = {-1, 45009, 45033}
"""System busy; more than 20 messages in a minute."""


class WeComNotifier:
    """See `core.seams.Notifier`."""

    name: ClassVar[str] = "wecom"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url_file": "a file with the robot's URL, its key in it",
        "url_variable": "an environment variable with it",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings)
        url = address(secret(settings, "url"), "url_file")
        answer = post(url, content(told), "WeCom").json()
        code = answer.get("errcode")
        if code in _BUSY:
            raise UnavailableError(f"WeCom is busy: code {code}", retry_after=60)
        if code != 0:
            raise refused("WeCom", code, answer.get("errmsg"), (url.rpartition("=")[2],))


def content(told: Notification) -> dict[str, Any]:
    """The message."""
    more = [f"[more]({told.url})"] if told.url else []
    room = _MOST - sum(len(one.encode()) + 2 for one in more)
    parts = [f"### {markdown(cut(title(told), 200))}", *map(_said, told.alerts)]
    text = fitted(parts, room)
    return {"msgtype": "markdown", "markdown": {"content": "\n\n".join([text, *more])}}


def _said(alert: Alert) -> str:
    colour = "info" if alert.ended_ns else "warning"
    name = f'<font color="{colour}">{markdown(alert.rule)}</font>'
    lines = [f"{sign(alert)} {name}: {markdown(cut(alert.summary, 500))}"]
    lines += [f"> {line}" for line in facts(alert, lambda line: markdown(cut(line, 300)))]
    if alert.runbook:
        lines.append(f"> [runbook]({alert.runbook})")
    return "\n".join(lines)
