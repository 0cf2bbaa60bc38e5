"""What each service that alerts are told to documents of its messages, for fakes of it."""

import base64
import hashlib
import hmac
import re
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from modelworks.testing.notifiers import SECRET, NotifierCase


def _file(folder, name, text):
    path = folder / name
    path.write_text(text + "\n")
    return str(path)


def _only(found, required, optional=()):
    assert set(required) <= set(found) <= {*required, *optional}, set(found)


def _json(request):
    assert request.headers["content-type"].startswith("application/json")
    return request.body


def webhook():
    """Of the notifier `webhook`."""

    def settings(url, folder):
        return {
            "url": f"{url}/hook",
            "secret_file": _file(folder, "s", SECRET),
            "token_file": _file(folder, "t", "b" + SECRET),
        }

    def check(request):
        found = _json(request)
        _only(
            found,
            ("version", "key", "status", "severity", "group", "repeated", "url", "alerts"),
            ("more",),
        )
        assert found["status"] in {"firing", "resolved"}
        assert 1 <= len(found["alerts"]) <= 1000
        for one in found["alerts"]:
            assert one["state"] in {"firing", "resolved"}
            datetime.fromisoformat(one["since"])
            assert (one["ended"] is None) == (one["state"] == "firing")
        at, sign = re.fullmatch(
            r"t=(\d+),v1=([0-9a-f]{64})", request.headers["x-modelworks-signature"]
        ).groups()
        body = at.encode() + b"." + request.raw
        assert hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest() == sign
        assert request.headers["authorization"] == f"Bearer b{SECRET}"
        assert re.fullmatch(r"[0-9a-f]{32}", request.headers["idempotency-key"])

    return NotifierCase("webhook", settings, (204, b""), check)


def slack():
    """Of the notifier `slack`."""

    def settings(url, folder):
        return {"url_file": _file(folder, "url", f"{url}/services/T0/B0/{SECRET}")}

    def check(request):
        found = _json(request)
        _only(found, ("text", "blocks"))
        assert 0 < len(found["text"]) <= 4000
        assert 1 <= len(found["blocks"]) <= 50
        for block in found["blocks"]:
            if block["type"] == "header":
                _only(block, ("type", "text"))
                assert block["text"]["type"] == "plain_text"
                assert 1 <= len(block["text"]["text"]) <= 150
            elif block["type"] == "section":
                text = block["text"]["text"]
                assert block["text"]["type"] == "mrkdwn"
                assert 1 <= len(text) <= 3000
                links = re.sub(r"<https?://[^<>|]+\|runbook>", "", text)
                assert not re.search(r"[<>]", links)
                assert not re.search(r"&(?!amp;|lt;|gt;)", text)
            else:
                assert block["type"] == "actions"
                [button] = block["elements"]
                assert button["type"] == "button"
                assert len(button["text"]["text"]) <= 75
                assert len(button["url"]) <= 3000

    return NotifierCase(
        "slack", settings, (200, b"ok"), check, ((400, b"invalid_payload"), (410, b"gone"))
    )


def teams():
    """Of the notifier `teams`."""

    def settings(url, folder):
        hook = f"{url}/workflows/{SECRET}/triggers/manual/paths/invoke?sig={SECRET}"
        return {"url_file": _file(folder, "url", hook)}

    def check(request):
        assert len(request.raw) <= 28_000
        found = _json(request)
        assert found["type"] == "message"
        [attachment] = found["attachments"]
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        card = attachment["content"]
        assert card["type"] == "AdaptiveCard"
        assert card["version"] == "1.4"
        colours = {"Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"}
        for block in card["body"]:
            assert block["type"] == "TextBlock"
            assert isinstance(block["text"], str)
            assert block.get("color", "Default") in colours
            assert not re.search(r"(?<!\\)\[", block["text"])
            assert "<" not in block["text"]
        for action in card["actions"]:
            _only(action, ("type", "title", "url"))
            assert action["type"] == "Action.OpenUrl"

    return NotifierCase("teams", settings, (202, b""), check)


def dingtalk():
    """Of the notifier `dingtalk`."""

    def settings(url, folder):
        hook = f"{url}/robot/send?access_token={SECRET}"
        return {
            "url_file": _file(folder, "url", hook),
            "secret_file": _file(folder, "key", "SEC" + SECRET),
        }

    def check(request):
        query = {name: one for name, [one] in parse_qs(urlsplit(request.path).query).items()}
        _only(query, ("access_token", "timestamp", "sign"))
        key = "SEC" + SECRET
        text = f"{query['timestamp']}\n{key}".encode()
        wanted = base64.b64encode(hmac.new(key.encode(), text, hashlib.sha256).digest())
        assert query["sign"].encode() == wanted
        assert len(query["timestamp"]) == 13
        assert len(request.raw) <= 20_000
        found = _json(request)
        _only(found, ("msgtype", "markdown"), ("at",))
        assert found["msgtype"] == "markdown"
        _only(found["markdown"], ("title", "text"))
        assert found["markdown"]["title"]
        assert "<" not in found["markdown"]["text"]

    return NotifierCase(
        "dingtalk",
        settings,
        (200, b'{"errcode": 0, "errmsg": "ok"}'),
        check,
        (
            (200, f'{{"errcode": 310000, "errmsg": "sign {SECRET} not match"}}'.encode()),
            (200, b'{"errcode": 300001, "errmsg": "token is not exist"}'),
            (200, b"<html>"),
            (404, b""),
        ),
        ((200, b'{"errcode": 130101, "errmsg": "send too fast"}'), (200, b'{"errcode": -1}')),
    )


def feishu():
    """Of the notifier `feishu`."""

    def settings(url, folder):
        hook = f"{url}/open-apis/bot/v2/hook/{SECRET}"
        return {
            "url_file": _file(folder, "url", hook),
            "secret_file": _file(folder, "key", SECRET),
        }

    def check(request):
        assert len(request.raw) <= 20_000
        found = _json(request)
        _only(found, ("timestamp", "sign", "msg_type", "card"))
        key = f"{found['timestamp']}\n{SECRET}".encode()
        wanted = base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest())
        assert found["sign"].encode() == wanted
        assert re.fullmatch(r"\d{10}", found["timestamp"])
        assert found["msg_type"] == "interactive"
        card = found["card"]
        assert card["header"]["title"]["tag"] == "plain_text"
        assert card["header"]["template"] in {"red", "orange", "blue", "green"}
        for element in card["elements"]:
            assert element["tag"] in {"markdown", "action"}
            if element["tag"] == "markdown":
                assert element["content"]
                assert not re.search(r"<(?!/?font)", element["content"])

    return NotifierCase(
        "feishu",
        settings,
        (200, b'{"code": 0, "msg": "success", "data": {}}'),
        check,
        (
            (200, f'{{"code": 19021, "msg": "sign match fail {SECRET}"}}'.encode()),
            (200, b'{"code": 9499, "msg": "Bad Request"}'),
            (400, b"{}"),
        ),
        ((200, b'{"code": 11232, "msg": "frequency limited"}'),),
    )


def wecom():
    """Of the notifier `wecom`."""

    def settings(url, folder):
        hook = f"{url}/cgi-bin/webhook/send?key={SECRET}"
        return {"url_file": _file(folder, "url", hook)}

    def check(request):
        found = _json(request)
        _only(found, ("msgtype", "markdown"))
        _only(found["markdown"], ("content",))
        text = found["markdown"]["content"]
        assert 0 < len(text.encode()) <= 4096
        assert not re.search(r'<(?!/?font|font color="(info|warning)")', text)

    return NotifierCase(
        "wecom",
        settings,
        (200, b'{"errcode": 0, "errmsg": "ok"}'),
        check,
        (
            (200, f'{{"errcode": 93000, "errmsg": "invalid url {SECRET}"}}'.encode()),
            (200, b'{"errcode": 40058}'),
        ),
        ((200, b'{"errcode": 45009, "errmsg": "api freq out of limit"}'),),
    )


def pagerduty():
    """Of the notifier `pagerduty`."""

    def settings(url, folder):
        return {"url": f"{url}/v2/enqueue", "key_file": _file(folder, "key", SECRET)}

    def check(request):
        assert len(request.raw) <= 512_000
        found = _json(request)
        assert found["routing_key"] == SECRET
        assert 0 < len(found["dedup_key"]) <= 255
        if found["event_action"] == "resolve":
            return _only(found, ("routing_key", "event_action", "dedup_key"))
        assert found["event_action"] == "trigger"
        payload = found["payload"]
        _only(
            payload,
            ("summary", "source", "severity", "timestamp"),
            ("component", "custom_details"),
        )
        assert 0 < len(payload["summary"]) <= 1024
        assert payload["severity"] in {"critical", "error", "warning", "info"}
        datetime.fromisoformat(payload["timestamp"])
        for link in found["links"]:
            _only(link, ("href", "text"))
        return None

    return NotifierCase(
        "pagerduty", settings, (202, b'{"status": "success"}'), check, ((400, b"invalid"),)
    )


def alertmanager():
    """Of the notifier `alertmanager`."""

    def settings(url, folder):
        return {"url": url, "token_file": _file(folder, "t", SECRET)}

    def check(request):
        assert request.path == "/api/v2/alerts"
        assert request.headers["authorization"] == f"Bearer {SECRET}"
        for one in _json(request):
            _only(one, ("labels", "annotations", "startsAt", "endsAt"), ("generatorURL",))
            assert one["labels"]["alertname"]
            for name, value in {**one["labels"], **one["annotations"]}.items():
                assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)
                assert value
            start = datetime.fromisoformat(one["startsAt"])
            assert datetime.fromisoformat(one["endsAt"]) > start

    return NotifierCase("alertmanager", settings, (200, b""), check)


CASES = (webhook, slack, teams, dingtalk, feishu, wecom, pagerduty, alertmanager)
