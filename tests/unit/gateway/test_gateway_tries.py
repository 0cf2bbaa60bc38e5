"""Whom a request is sent to, again, at the same time, instead; and whom it is not."""

import contextlib
import socket
import threading
import time
from dataclasses import replace
from select import select

import pytest

from gateway_served import OK, Door, Upstream, one, read_answer
from modelworks.core.routes import Arm, Breaker, Endpoint, Retries, Route, Span
from modelworks.gateway.counts import LOST, Counts
from modelworks.gateway.front import Ways
from store_servers import free_port

pytestmark = pytest.mark.unit

INFER = "/v2/models/m/infer"
BAD = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
NEVER = Breaker(failures=0)


def named(name: bytes):
    return lambda asked: asked.sock.sendall(OK.replace(b"ok", name))


@pytest.fixture
def two():
    with Upstream(named(b"u1")) as first, Upstream(named(b"u2")) as second:
        yield first, second


def both(two, **more) -> Route:
    return one(two[0].url, two[1].url, **{"breaker": NEVER, **more})


def test_requests_go_to_whoever_has_least_under_way(two):
    held = threading.Event()

    def hold(asked):
        held.wait(10)
        asked.sock.sendall(OK)

    two[0].act = hold
    with Door(both(two)) as door:
        while True:
            sock = door.connect()
            sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            door.until(lambda sock=sock: two[0].asked or select([sock], [], [], 0)[0])
            if two[0].asked:
                break
            read_answer(sock)  # the other one has answered: nothing is under way
            sock.close()
        answers = [door.ask("/x")[2] for _ in range(10)]
        held.set()
        read_answer(sock)
        sock.close()
    assert answers == [b"u2"] * 10


def test_equals_take_turns(two):
    with Door(both(two)) as door:
        answers = [door.ask("/x")[2] for _ in range(60)]
    assert {answers.count(b"u1") > 10, answers.count(b"u2") > 10} == {True}


def test_a_connection_that_is_refused_costs_the_caller_nothing(two):
    two[0].close()
    with Door(both(two, retries=Retries(budget=0.0))) as door:
        assert {door.ask("/x", b"not repeatable")[:3:2] for _ in range(20)} == {(200, b"u2")}
        assert door.route().seats["r/1", two[0].url].failures["connect"] > 0


def test_without_retries_it_does():
    url = f"http://127.0.0.1:{free_port()}"
    with (
        Upstream() as well,
        Door(one(url, well.url, retries=Retries(most=0), breaker=NEVER)) as door,
    ):
        statuses = {door.ask("/x")[0] for _ in range(30)}
    assert statuses == {200, 502}


@pytest.mark.parametrize(
    ("target", "body", "again"),
    [("/x", None, True), (INFER, b"{}", True), ("/predict/m", b"{}", True), ("/x", b"{}", False)],
)
def test_only_what_is_safe_is_sent_again(two, target, body, again):
    for upstream in two:
        upstream.act = lambda asked: False
    two[1].act = named(b"u2")
    with Door(both(two)) as door:
        found = [door.ask(target, body)[0] for _ in range(30)]
        counts = door.route()
    assert (found.count(502) == 0) == again
    assert (counts.retries > 0) == again


def test_answers_of_ill_servers_are_tried_elsewhere(two):
    two[0].act = lambda asked: asked.sock.sendall(BAD)
    with Door(both(two)) as door:
        assert {door.ask(INFER, b"{}")[0] for _ in range(30)} == {200}
        assert door.ask("/x", b"{}")[0] in {200, 503}
    assert two[0].asked


def test_the_last_try_s_own_answer_is_sent_on(two):
    for upstream in two:
        upstream.act = lambda asked: asked.sock.sendall(BAD)
    with Door(both(two)) as door:
        assert door.ask(INFER, b"{}")[::2] == (503, b"busy")
    assert sum(len(upstream.asked) for upstream in two) == 2


def test_the_budget_bounds_what_is_tried_again(two):
    for upstream in two:
        upstream.act = lambda asked: asked.sock.sendall(BAD)
    with Door(both(two, retries=Retries(most=3, budget=0.1))) as door:
        for _ in range(200):
            assert door.ask(INFER, b"{}")[0] == 503
        tries = sum(len(upstream.asked) for upstream in two)
        assert door.route().unaffordable > 100
    assert tries <= 200 + 32 + 20 + 1  # what was saved up, and a tenth of what was asked


def test_a_connection_that_an_upstream_has_closed_is_no_failure():
    served = []

    def act(asked):
        if asked.connection in served:  # closed while the next request is on its way
            return False
        served.append(asked.connection)
        asked.sock.sendall(OK)
        return None

    with (
        Upstream(act) as upstream,
        Door(one(upstream.url, retries=Retries(budget=0.0))) as door,
    ):
        assert [door.ask(INFER, b"{}")[0] for _ in range(6)] == [200] * 6
        assert door.route().seats["r/1", upstream.url].failures["cut"] == 0


def test_a_body_that_was_streamed_is_never_sent_again(two):
    for upstream in two:
        upstream.act = lambda asked: False
    with Door(both(two), ways=Ways(replay=10)) as door:
        assert door.ask(INFER, b"x" * 100)[0] == 502
    assert sum(len(upstream.asked) for upstream in two) == 1


def test_a_second_try_while_the_first_hangs(two):
    two[0].act = lambda asked: time.sleep(1)
    with Door(both(two, hedge_ms=30)) as door:
        began = time.monotonic()
        answers = [door.ask(INFER, b"{}")[2] for _ in range(8)]
        assert time.monotonic() - began < 5
        counts = door.route()
        assert answers == [b"u2"] * 8
        assert counts.hedges >= 1
        assert counts.hedges_won == counts.hedges
        door.until(lambda: all(p.outstanding == 0 for p in door.front.table.places.values()))


def test_a_second_try_waits_until_somebody_is_well(two):
    two[0].act = lambda asked: time.sleep(2)
    with Door(both(two, hedge_ms=30)) as door:
        places = door.front.table.places
        places[two[1].url].ready = False  # and so the first is asked
        timer = threading.Timer(0.2, lambda: setattr(places[two[1].url], "ready", True))
        timer.start()
        assert door.ask(INFER, b"{}")[2] == b"u2"
        assert door.route().hedges == 1
        timer.join()


def test_no_second_try_of_what_is_not_safe(two):
    for upstream in two:
        upstream.act = lambda asked: (time.sleep(0.1), asked.sock.sendall(OK))[1]
    with Door(both(two, hedge_ms=10)) as door:
        assert door.ask("/x", b"{}")[0] == 200
        assert door.route().hedges == 0


def test_the_route_s_time_is_kept(two):
    two[0].act = two[1].act = lambda asked: time.sleep(1)
    with Door(both(two, timeout_s=0.1)) as door:
        began = time.monotonic()
        status, _, body = door.ask("/x")
        assert time.monotonic() - began < 0.9
        assert (status, b"in time" in body) == (504, True)
        assert sum(s.failures["timeout"] for s in door.route().seats.values()) == 1
    left = int(next(u for u in two if u.asked).asked[0].headers["x-timeout-ms"])
    assert 0 < left <= 100


def test_a_caller_s_own_time_is_kept_when_it_is_shorter(two):
    two[0].act = two[1].act = lambda asked: time.sleep(1)
    with Door(both(two, timeout_s=30)) as door:
        assert door.ask("/x", X_Timeout_Ms="50")[0] == 504


def test_a_caller_s_own_time_that_is_no_number_is_a_bad_request(two):
    with Door(both(two)) as door:
        status, _, body = door.ask("/x", X_Timeout_Ms="soon")
        assert (status, b'"field":"X-Timeout-Ms"' in body) == (400, True)
    assert not any(upstream.asked for upstream in two)


def test_a_caller_in_a_hurry_takes_no_endpoint_out(two):
    two[0].act = two[1].act = lambda asked: (time.sleep(0.03), asked.sock.sendall(OK))[1]
    with Door(both(two, breaker=Breaker(failures=1, rest_s=60))) as door:
        assert {door.ask("/x", X_Timeout_Ms="1")[0] for _ in range(6)} == {504}
        seats = door.route().seats.values()
        assert sum(s.failures["timeout"] for s in seats) == 6
        assert sum(s.ejections for s in seats) == 0
        assert door.ask("/x", X_Timeout_Ms="5000")[0] == 200


def test_an_upstream_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        route = one(f"http://127.0.0.1:{server.getsockname()[1]}")
        with Door(route, ways=Ways(silence_s=0.2)) as door:
            assert door.ask("/x")[0] == 504


def test_an_upstream_that_takes_no_body_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        route = one(f"http://127.0.0.1:{server.getsockname()[1]}")
        with Door(route, ways=Ways(silence_s=0.3)) as door, door.connect() as sock:
            sock.setblocking(True)
            sock.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n")
            sender = threading.Thread(target=pour, args=(sock,), daemon=True)
            sender.start()
            assert read_answer(sock)[0] == 504
            sender.join(10)


def pour(sock) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(b"x" * 1_000_000)


def test_an_answer_that_comes_slowly_is_not(two):
    def act(asked):
        asked.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            time.sleep(0.25)
            asked.sock.sendall(b"x")

    two[0].act = two[1].act = act
    with Door(both(two), ways=Ways(silence_s=0.6)) as door:
        assert door.ask("/x")[2] == b"x" * 8


def test_who_fails_in_a_row_rests(two):
    two[0].act = lambda asked: asked.sock.sendall(BAD)
    breaker = Breaker(failures=3, rest_s=30)
    with Door(both(two, breaker=breaker)) as door:
        for _ in range(60):
            assert door.ask(INFER, b"{}")[0] == 200
        assert len(two[0].asked) == 3
        assert door.route().seats["r/1", two[0].url].ejections == 1


def test_a_slow_endpoint_rests(two):
    two[0].act = lambda asked: time.sleep(0.3)
    route = both(two, timeout_s=0.05, breaker=Breaker(failures=2, rest_s=30))
    with Door(route) as door:
        found = [door.ask(INFER, b"{}")[0] for _ in range(40)]
    assert found.count(504) == 2
    assert found[-20:] == [200] * 20


def test_who_has_rested_is_tried_again_and_rests_longer(two):
    two[0].act = lambda asked: asked.sock.sendall(BAD)
    with Door(both(two, breaker=Breaker(failures=2, rest_s=0.1))) as door:
        seat = door.front.table.routes["r"].seats["r/1"].all[0]
        counts = door.route().seats["r/1", two[0].url]
        door.until(lambda: door.ask(INFER, b"{}") and counts.ejections == 3)
        assert len(two[0].asked) == 4  # two, then one behind each rest
        assert 0.2 < seat.rests_until - time.monotonic() <= 0.4
        two[0].act = named(b"u1")
        door.until(lambda: door.ask(INFER, b"{}")[2] == b"u1")


def test_the_last_one_never_rests(two):
    for upstream in two:
        upstream.act = lambda asked: asked.sock.sendall(BAD)
    with Door(both(two, breaker=Breaker(failures=1, most_ejected=1.0))) as door:
        for _ in range(10):
            door.ask("/x")
        rests = [seat.rests_until > 0 for seat in door.front.table.routes["r"].seats["r/1"].all]
    assert sorted(rests) == [False, True]


def test_a_full_endpoint_gets_nothing_and_all_full_is_503(two):
    held = threading.Event()
    for upstream in two:
        upstream.act = lambda asked: (held.wait(10), asked.sock.sendall(OK))[1]
    with Door(both(two, breaker=Breaker(outstanding=1))) as door:
        socks = [door.connect() for _ in range(2)]
        for sock in socks:
            sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        door.until(lambda: all(upstream.asked for upstream in two))
        status, headers, _ = door.ask("/x")
        assert (status, headers["retry-after"]) == (503, "1")
        held.set()
        for sock in socks:
            assert read_answer(sock)[0] == 200
            sock.close()


def test_the_own_zone_comes_first_and_the_other_when_it_is_gone(two):
    arm = Arm("a", endpoints=(Endpoint(two[0].url, "east"), Endpoint(two[1].url, "west")))
    route = Route("r", (arm,), (Span(0, 10_000, "a"),), breaker=NEVER)
    with Door(route, zone="west") as door:
        assert {door.ask("/x")[2] for _ in range(20)} == {b"u2"}
        two[1].close()
        assert {door.ask("/x")[2] for _ in range(20)} == {b"u1"}


def test_a_fallback_answers_when_nobody_else_is_left(two):
    arms = (
        Arm("new", endpoints=(Endpoint(f"http://127.0.0.1:{free_port()}"),)),
        Arm("old", endpoints=(Endpoint(two[0].url),)),
    )
    route = Route("r", arms, (Span(0, 10_000, "new"),), fallback="old")
    with Door(route) as door:
        assert [door.ask("/x")[2] for _ in range(5)] == [b"u1"] * 5
        assert door.route().fallbacks == 5
        assert door.route().arm("new").lost == {"fallback": 5, "refused": 0, "cut": 0}
        assert door.route().arm("old").lost == dict.fromkeys(LOST, 0)
    with Door(replace(route, fallback="")) as door:
        assert door.ask("/x")[0] == 502
        assert door.route().arm("new").lost["refused"] == 1


def test_an_answer_that_breaks_off_is_lost_by_its_arm(two):
    def act(asked):
        asked.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        return False

    two[0].act = act
    with Door(one(two[0].url, breaker=NEVER)) as door:
        with contextlib.suppress(AssertionError, OSError, ValueError):
            door.ask("/x")
        door.until(lambda: door.route().arm("r/1").lost["cut"] == 1)
        told = door.front.counts.told()
        again = Counts()
        again.add(told)
        assert again.told() == told


def test_health_checks_take_out_and_bring_back():
    with Upstream(named(b"u1")) as well:
        port = free_port()
        route = one(well.url, f"http://127.0.0.1:{port}", breaker=NEVER)
        with Door(route, checks=0.05) as door:
            places = door.front.table.places
            gone = places[f"http://127.0.0.1:{port}"]
            door.until(lambda: not gone.ready)
            tries = door.route().seats["r/1", gone.url].tries
            assert {door.ask("/x")[2] for _ in range(20)} == {b"u1"}
            assert door.route().seats["r/1", gone.url].tries == tries
            with Upstream(named(b"u2"), port=port):
                door.until(lambda: gone.ready)
                door.until(lambda: door.ask("/x")[2] == b"u2")


def test_one_that_is_not_ready_is_asked_before_nobody_is():
    with Upstream(named(b"u1")) as upstream, Door(one(upstream.url)) as door:
        door.call(lambda: setattr(door.front.table.places[upstream.url], "ready", False))
        assert door.ask("/x")[2] == b"u1"


def test_nobody_is_left_without_endpoints():
    route = Route("r", (Arm("a"),), (Span(0, 10_000, "a"),))
    with Door(route) as door:
        status, _, body = door.ask("/x")
    assert status == 503
    assert b"nobody is left" in body
