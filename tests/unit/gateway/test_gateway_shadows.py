"""Copies for shadows: who gets them, what is kept of them, and that no caller waits."""

import json
import threading
import time

import pytest

from gateway_served import Door, Upstream
from modelworks.core.routes import Arm, Endpoint, Route, Shadow, Span
from modelworks.gateway.counts import Counts
from modelworks.gateway.front import Ways
from modelworks.gateway.pairs import Pairs
from modelworks.gateway.shadows import Shadows

pytestmark = pytest.mark.unit

INFER = "/v2/models/m/infer"


def said(text: bytes):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)
    return lambda asked: asked.sock.sendall(head + text)


@pytest.fixture
def stable():
    with Upstream(said(b'{"y":1}')) as it:
        yield it


@pytest.fixture
def shadow():
    with Upstream(said(b'{"y":2}')) as it:
        yield it


def shadowed(stable, shadow, *, share: float = 1.0, more: tuple = ()) -> Route:
    arms = (
        Arm("a", endpoints=(Endpoint(stable.url),)),
        Arm("b", model="m-next", endpoints=(Endpoint(shadow.url),)),
    )
    return Route("r", arms, (Span(0, 10_000, "a"),), model="m", shadows=(Shadow("b", share), *more))


def test_a_copy_says_that_it_is_one(stable, shadow):
    with Door(shadowed(stable, shadow)) as door:
        _, headers, body = door.ask(INFER, b'{"x":1}')
        door.until(lambda: shadow.asked)
        assert body == b'{"y":1}'
    asked = shadow.asked[0]
    assert (asked.target, asked.body) == ("/v2/models/m-next/infer", b'{"x":1}')
    assert asked.headers["x-request-id"] == headers["x-request-id"]
    assert asked.headers["x-modelworks-shadow"] == "1"
    assert "x-modelworks-shadow" not in stable.asked[0].headers


def test_a_sample_gets_copies(stable, shadow):
    with Door(shadowed(stable, shadow, share=0.3)) as door:
        for _ in range(200):
            door.ask(INFER, b"{}")
        door.until(lambda: not door.front.shadows.waiting and not door.front.shadows.under_way)
        copies = door.route().arm("b").copies
        assert sum(door.route().arm("b").copied.statuses) == copies
    assert 25 <= copies <= 95
    assert len(shadow.asked) == copies


def test_a_shadow_that_hangs_slows_nobody(stable, shadow):
    over = threading.Event()
    shadow.act = lambda asked: over.wait(10)
    queue = Shadows(most=20)
    with Door(shadowed(stable, shadow), shadows=queue) as door:
        began = time.monotonic()
        for _ in range(200):
            assert door.ask(INFER, b"{}")[0] == 200
        assert time.monotonic() - began < 8
        assert queue.under_way == 64
        assert queue.waiting == 20
        assert door.route().dropped == 200 - 64 - 20
        over.set()


def test_the_queue_is_bounded_in_bytes(stable, shadow):
    over = threading.Event()
    shadow.act = lambda asked: over.wait(10)
    queue = Shadows(most_bytes=10_000)
    with Door(shadowed(stable, shadow), shadows=queue) as door:
        for _ in range(20):
            assert door.ask(INFER, b"x" * 1000)[0] == 200
        assert queue.held == 10_000
        assert door.route().dropped == 10
        over.set()


def test_a_shadow_that_is_gone_harms_nobody(stable, shadow):
    shadow.close()
    with Door(shadowed(stable, shadow)) as door:
        for _ in range(20):
            assert door.ask(INFER, b"{}")[0] == 200
        door.until(lambda: door.route().arm("b").copies_failed == 20)
        assert door.front.shadows.held == 0


def test_streamed_bodies_are_not_copied(stable, shadow):
    with Door(shadowed(stable, shadow), ways=Ways(replay=10)) as door:
        assert door.ask(INFER, b"x" * 100)[0] == 200
        assert door.route().dropped == 1
    assert shadow.asked == []


def test_pairs_are_kept_side_by_side(stable, shadow, tmp_path):
    counts = Counts()
    file = tmp_path / "pairs.jsonl"
    pairs = Pairs(file, counts)
    third = Upstream(said(b"\x00\xff"))
    route = shadowed(stable, shadow)
    arms = (*route.arms, Arm("c", endpoints=(Endpoint(third.url),)))
    shadows = (*route.shadows, Shadow("c"))
    route = Route("r", arms, route.spans, model="m", shadows=shadows)
    with third, Door(route, shadows=Shadows(pairs)) as door:
        _, headers, _ = door.ask(INFER, b'{"x":[1]}')
        door.until(lambda: len(third.asked) == len(shadow.asked) == 1)
        door.until(lambda: not door.front.shadows.under_way)
    pairs.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    by_arm = {line["shadow"]["arm"]: line for line in lines}
    assert set(by_arm) == {"b", "c"}
    line = by_arm["b"]
    assert line["id"] == headers["x-request-id"]
    assert (line["route"], line["path"], line["request"]) == ("r", INFER, {"json": {"x": [1]}})
    assert line["answer"]["json"] == {"y": 1}
    assert line["shadow"]["json"] == {"y": 2}
    assert (line["answer"]["status"], line["shadow"]["status"]) == (200, 200)
    assert line["shadow"]["taken_ns"] > 0
    assert by_arm["c"]["shadow"]["base64"] == "AP8="


def test_no_pair_without_both_answers(stable, shadow, tmp_path):
    pairs = Pairs(tmp_path / "pairs.jsonl", Counts())
    shadow.act = lambda asked: False
    with Door(shadowed(stable, shadow), shadows=Shadows(pairs)) as door:
        door.ask(INFER, b"{}")
        door.until(lambda: door.route().arm("b").copies_failed == 1)
        shadow.act = said(b"{}")
        stable.act = lambda asked: False
        door.ask(INFER, b"{}")
        door.until(lambda: not door.front.shadows.under_way)
    pairs.close()
    assert (tmp_path / "pairs.jsonl").read_bytes() == b""


def test_what_the_pairs_ring_cannot_take_is_counted(stable, shadow, tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.gateway.pairs.RING", 0)
    counts = Counts()
    pairs = Pairs(tmp_path / "pairs.jsonl", counts)
    with Door(shadowed(stable, shadow), shadows=Shadows(pairs)) as door:
        door.ask(INFER, b"{}")
        door.until(lambda: counts.pairs_dropped == 1)
    pairs.close()
