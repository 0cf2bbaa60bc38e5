"""Who is let in, how much he may ask, and what the gateway answers itself."""

import socket
import struct
from hashlib import sha256

import pytest

from gateway_served import Door, Upstream, one, read_answer
from modelworks.core.routes import Arm, Endpoint, Limit, Pass, Route, Source, Span, Sticky
from modelworks.edge.journal import GONE, Entry, Journal

pytestmark = pytest.mark.unit

INFER = "/v2/models/fraud/infer"


def keys(**entries: Pass) -> dict[str, Pass]:
    return {sha256(key.encode()).hexdigest(): entry for key, entry in entries.items()}


@pytest.fixture
def upstream():
    with Upstream() as it:
        yield it


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_keys_open_their_tenant_s_models(upstream):
    known = keys(
        all=Pass("all"),
        some=Pass("some", models=("fraud*",)),
        other=Pass("other", tenant="them"),
        old=Pass("old", until_ns=1),
    )
    routes = (
        one(upstream.url, name="fraud", model="fraud"),
        one(upstream.url, name="churn", model="churn"),
    )
    with Door(*routes, keys=known) as door:
        churn = "/v2/models/churn/infer"
        status, headers, _ = door.ask(INFER, b"{}")
        assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="modelworks"')
        assert door.ask(INFER, b"{}", **bearer("wrong"))[0] == 401
        assert door.ask(INFER, b"{}", **bearer("old"))[0] == 401
        assert door.ask(INFER, b"{}", **bearer("all"))[0] == 200
        assert door.ask(churn, b"{}", **bearer("all"))[0] == 200
        assert door.ask(INFER, b"{}", **bearer("some"))[0] == 200
        assert door.ask(churn, b"{}", **bearer("some"))[0] == 403
        assert door.ask(INFER, b"{}", **bearer("other"))[0] == 404
    assert len(upstream.asked) == 3
    assert all("authorization" not in asked.headers for asked in upstream.asked)


def test_without_keys_authorization_is_the_upstream_s_business(upstream):
    with Door(one(upstream.url)) as door:
        assert door.ask("/x", **bearer("theirs"))[0] == 200
    assert upstream.asked[0].headers["authorization"] == "Bearer theirs"


def test_a_key_that_was_taken_away_is_refused_at_once(upstream):
    route = one(upstream.url)
    with Door(route, keys=keys(a=Pass("a"))) as door, door.connect() as sock:
        request = b"GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\n\r\n"
        sock.sendall(request)
        assert read_answer(sock)[0] == 200
        door.swap(route, keys=keys(b=Pass("b")))
        sock.sendall(request)
        assert read_answer(sock)[0] == 401


def test_who_may_not_send_need_not_send_his_body(upstream):
    with Door(one(upstream.url), keys=keys(a=Pass("a"))) as door, door.connect() as sock:
        sock.sendall(
            b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n"
        )
        status, headers, _ = read_answer(sock)
        assert (status, headers["connection"]) == (401, "close")


def test_limits_of_keys_and_routes(upstream):
    slow = Limit(rate=0.001, burst=3)
    known = keys(a=Pass("a", limit=slow), b=Pass("b"))
    with Door(one(upstream.url), keys=known) as door:
        assert [door.ask("/x", **bearer("a"))[0] for _ in range(4)] == [200, 200, 200, 429]
        _, headers, body = door.ask("/x", **bearer("a"))
        assert int(headers["retry-after"]) > 0
        assert b"key default a" in body
        assert door.ask("/x", **bearer("b"))[0] == 200
        door.swap(one(upstream.url), keys=known)  # what was counted stays counted
        assert door.ask("/x", **bearer("a"))[0] == 429
        assert door.counts.routes[""].refused[429] == 3
    quota = one(upstream.url, limit=Limit(quota=2, quota_s=1000))
    with Door(quota) as door:
        assert [door.ask("/x")[0] for _ in range(3)] == [200, 200, 429]


def test_own_paths_belong_to_no_route(upstream):
    with Door(one(upstream.url), keys=keys(a=Pass("a"))) as door:
        assert door.ask("/-/live")[::2] == (200, b'{"live":true}')
        assert door.ask("/-/ready")[::2] == (200, b'{"ready":true}')
        door.call(lambda: setattr(door.own, "draining", True))
        assert door.ask("/-/ready")[::2] == (503, b'{"ready":false}')
    assert upstream.asked == []


def test_no_route_and_no_routes(upstream):
    with Door(one(upstream.url, model="m")) as door:
        status, _, body = door.ask("/v2/models/other/infer", b"{}")
        assert (status, b"'other'" in body) == (404, True)
        table = door.front.table
        door.call(lambda: setattr(door.front, "table", None))
        assert door.ask("/x")[0] == 503
        assert door.ask("/-/ready")[0] == 503
        door.call(lambda: setattr(door.front, "table", table))


def split(upstreams, **more) -> Route:
    arms = tuple(Arm(f"a{i}", endpoints=(Endpoint(u.url),)) for i, u in enumerate(upstreams))
    return Route("r", arms, (Span(0, 5000, "a0"), Span(5000, 10_000, "a1")), **more)


@pytest.mark.parametrize(
    ("sticky", "ask"),
    [
        (Sticky(Source.HEADER, "x-user"), lambda door, i: door.ask("/x", X_User=str(i))),
        (Sticky(Source.COOKIE, "u"), lambda door, i: door.ask("/x", Cookie=f"a=b; u={i}")),
        (
            Sticky(Source.FIELD, "user"),
            lambda door, i: door.ask("/x", b'{"parameters":{"user":"%d"}}' % i),
        ),
        (
            Sticky(Source.FIELD, "user"),
            lambda door, i: door.ask(
                "/x",
                b'{"parameters":{"user":"%d"}}\xff\xff' % i,
                Inference_Header_Content_Length=str(len(b'{"parameters":{"user":"%d"}}' % i)),
            ),
        ),
    ],
)
def test_callers_stay_with_their_arm(upstream, sticky, ask):
    with Upstream() as second, Door(split((upstream, second), sticky=sticky)) as door:
        homes = []
        for _ in range(2):
            homes.append([])
            for i in range(40):
                before = len(upstream.asked)
                assert ask(door, i)[0] == 200
                homes[-1].append(len(upstream.asked) > before)
    assert homes[0] == homes[1]
    assert 5 < sum(homes[0]) < 35


def test_a_header_names_the_arm(upstream):
    with Upstream() as second, Door(split((upstream, second), override="x-arm")) as door:
        for _ in range(10):
            door.ask("/x", X_Arm="a1")
        assert door.ask("/x", X_Arm="none")[0] == 404
    assert (len(upstream.asked), len(second.asked)) == (0, 10)


def test_the_access_log_has_every_answer_once(upstream):
    journal = Journal()
    upstream.act = lambda asked: asked.sock.sendall(
        b"HTTP/1.1 201 Made\r\nContent-Length: 3\r\n\r\nyes"
    )
    with Door(one(upstream.url), journal=journal, keys=keys(a=Pass("a"))) as door:
        door.ask("/one?secret=1", b"12345", **bearer("a"))
        door.ask("/two")
        upstream.act = lambda asked: asked.sock.recv(10)
        with door.connect() as sock:
            sock.sendall(b"GET /three HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\n\r\n")
            door.until(lambda: len(upstream.asked) == 2)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        door.until(lambda: len(journal.entries) == 3)
    entries = [Entry._make(entry) for entry in journal.entries]
    assert [(e.path, e.status, e.taken, e.given) for e in entries] == [
        (b"/one", 201, 5, 3),
        (b"/two", 401, 0, entries[1].given),
        (b"/three", GONE, 0, 0),
    ]
    assert all(entry.answered_ns > entry.received_ns for entry in entries)
