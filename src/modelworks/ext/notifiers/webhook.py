"""Alerts to any program: JSON over HTTP, signed."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from modelworks.core.alerts import Alert, Notification
from modelworks.core.ids import iso
from modelworks.ext.notifiers.given import address, checked, secret
from modelworks.ext.notifiers.posting import post

MOST: Final = 1000
"""Alerts of one message; more are only counted."""


class WebhookNotifier:
    """See `core.seams.Notifier`.

    With a secret, `X-Modelworks-Signature: t=SECONDS,v1=HEX` is the HMAC-SHA256 of `SECONDS.BODY`.
    `Idempotency-Key` is the same for what is told again because nobody answered.
    """

    name: ClassVar[str] = "webhook"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url": "where it is posted to, http:// or https://",
        "url_file": "a file with the URL, where it is a secret",
        "url_variable": "an environment variable with the URL",
        "secret_file": "a file with the key that messages are signed with",
        "secret_variable": "an environment variable with that key",
        "token_file": "a file whose content is sent as a bearer token",
        "token_variable": "an environment variable with that token",
        "ca": "authorities (PEM) of an https receiver",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings)
        url = settings.get("url") or secret(settings, "url")
        url = address(url, "url", plain=bool(settings.get("url")))
        key = secret(settings, "secret", required=False)
        token = secret(settings, "token", required=False)
        body = json.dumps(content(told), ensure_ascii=False).encode()
        headers = {"Idempotency-Key": _key(told)}
        if key:
            headers["X-Modelworks-Signature"] = signature(key, body, int(time.time()))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        ca = settings.get("ca", "")
        post(url, body, "the webhook", headers=headers, secrets=(key, token), ca=ca)


def content(told: Notification) -> dict[str, Any]:
    """What is posted."""
    return {
        "version": 1,
        "key": told.key,
        "status": "firing" if told.firing else "resolved",
        "severity": told.severity.value,
        "group": dict(told.group),
        "repeated": told.repeated,
        "url": told.url,
        "alerts": [_alert(alert) for alert in told.alerts[:MOST]],
        "more": max(0, len(told.alerts) - MOST),
    }


def signature(key: str, body: bytes, at: int) -> str:
    """The header's value."""
    found = hmac.new(key.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={found}"


def _alert(alert: Alert) -> dict[str, Any]:
    finite = abs(alert.value) < float("inf")
    return {
        "rule": alert.rule,
        "labels": dict(alert.labels),
        "state": alert.state.value,
        "severity": alert.severity.value,
        "value": alert.value if finite else None,
        "summary": alert.summary,
        "since": iso(alert.since_ns),
        "fired": iso(alert.fired_ns) if alert.fired_ns else None,
        "ended": iso(alert.ended_ns) if alert.ended_ns else None,
        "annotations": dict(alert.annotations),
        "runbook": alert.runbook,
    }


def _key(told: Notification) -> str:
    """Of what is said, not of when."""
    marks = [
        (alert.rule, sorted(alert.labels.items()), alert.state.value, alert.fired_ns)
        for alert in told.alerts
    ]
    text = json.dumps([told.key, told.repeated, marks], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
