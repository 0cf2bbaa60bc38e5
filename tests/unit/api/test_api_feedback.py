"""Feedback over HTTP: taken in whole, named mistakes, and who may."""

import json

import pytest

from modelworks.core.keys import Key, Role
from modelworks.monitor.feedback.inbox import Inbox

pytestmark = pytest.mark.unit

PATH = "/api/v1/feedback"
LINE = {"model": "fraud", "prediction": "p-1", "truth": 1}


def waiting(plane):
    inbox = Inbox(plane.factory.records.rooms.inbox)
    return inbox.read(inbox.waiting(100))


def test_one_line_and_many(plane):
    answer = plane.client.post(PATH, json=LINE | {"at": "2026-10-03T14:00Z", "id": "mine"})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "ids": ["mine"]})
    answer = plane.client.post(PATH, json=[LINE, LINE | {"outcomes": {"revenue": 3}, "item": 2}])
    assert answer.json()["accepted"] == 2
    [first, _, third] = waiting(plane)
    assert (first.id, first.truth, first.at_ns) == ("mine", 1, 1791036000000000000)
    assert (third.item, third.outcomes) == (2, {"revenue": 3.0})


def test_sent_again_it_has_the_same_id(plane):
    ids = [plane.client.post(PATH, json=LINE).json()["ids"] for _ in range(2)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "feedback"),
        (b"3", None),
        (json.dumps([LINE] * 1001).encode(), "feedback"),
        (json.dumps([LINE, LINE | {"truth": None}]).encode(), "[1].truth"),
        (json.dumps([LINE, LINE | {"bogus": 1}]).encode(), "[1].bogus"),
        (json.dumps(LINE | {"model": 3}).encode(), "model"),
        (b'{"model": "m", "prediction": "p", "truth": NaN}', "body"),
    ],
    ids=["no json", "none", "a number", "too many", "empty line", "unknown", "type", "nan"],
)
def test_mistakes_are_named_and_nothing_is_kept(plane, body, field):
    answer = plane.client.post(PATH, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json().get("field") == field
    assert waiting(plane) == []


def test_too_much_that_waits_is_503(plane, monkeypatch):
    monkeypatch.setattr("modelworks.monitor.feedback.inbox.MOST_WAITING", 0)
    answer = plane.client.post(PATH, json=LINE)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"


def test_who_may_predict_may_tell(plane):
    from modelworks.api.key_guard import KeyGuard

    asked = []

    class Access:
        def require(self, authorization, session, role):
            asked.append(role)
            return Key("shop", role, "0" * 64)

    guard = KeyGuard(lambda *_: None, Access())
    for method, path in (("POST", PATH), ("POST", "/api/v1/collect"), ("GET", "/api/v1/models")):
        guard._refusal({"type": "http", "path": path, "method": method, "headers": []})
    assert asked == [Role.PREDICT, Role.ADMIN, Role.READ]
