"""A snapshot that no data plane could carry out is refused, by the field that is wrong."""

from dataclasses import replace

import orjson
import pytest

from modelworks.core.codec import encode
from modelworks.core.errors import InvalidError
from modelworks.core.routes import (
    BUCKETS,
    Arm,
    Breaker,
    Endpoint,
    Limit,
    Pass,
    Retries,
    Route,
    Shadow,
    Snapshot,
    Source,
    Span,
    Sticky,
    Tokens,
)
from modelworks.protocol.routes import check
from modelworks.protocol.routes.reading import read_snapshot

pytestmark = pytest.mark.unit

GOOD = Route("r", (Arm("a"), Arm("b")), (Span(0, 5000, "a"), Span(5000, BUCKETS, "b")))
HASH = "0" * 64


def with_endpoint(url):
    return replace(GOOD, arms=(Arm("a", endpoints=(Endpoint(url),)), Arm("b")))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        (replace(GOOD, spans=()), "spans"),
        (replace(GOOD, spans=(Span(0, 5000, "a"),)), "spans"),
        (replace(GOOD, spans=(Span(1, BUCKETS, "a"),)), "spans[0].first"),
        (replace(GOOD, spans=(Span(0, 6, "a"), Span(5, BUCKETS, "b"))), "spans[1].first"),
        (replace(GOOD, spans=(Span(0, 5, "a"), Span(6, BUCKETS, "b"))), "spans[1].first"),
        (replace(GOOD, spans=(Span(0, BUCKETS + 1, "a"),)), "spans[0].end"),
        (replace(GOOD, spans=(Span(0, 0, "a"), Span(0, BUCKETS, "b"))), "spans[0].end"),
        (replace(GOOD, spans=(Span(0, BUCKETS, "c"),)), "spans[0].arm"),
        (replace(GOOD, arms=()), "arms"),
        (replace(GOOD, arms=(Arm("a"), Arm("a"))), "arms[1].name"),
        (replace(GOOD, arms=(Arm("a"), Arm(""))), "arms[1].name"),
        (replace(GOOD, arms=(Arm("a", headers={"X-Up": "1"}), Arm("b"))), "arms[0].headers"),
        (replace(GOOD, arms=(Arm("a", headers={"x": "1\r\ny: 2"}), Arm("b"))), "arms[0].headers.x"),
        (replace(GOOD, name=""), "name"),
        (replace(GOOD, salt="a\0b"), "salt"),
        (replace(GOOD, host="Example.com"), "host"),
        (replace(GOOD, host="a.*.com"), "host"),
        (replace(GOOD, path="v2"), "path"),
        (replace(GOOD, sticky=Sticky(Source.HEADER, "X-User")), "sticky.name"),
        (replace(GOOD, sticky=Sticky(Source.COOKIE, "")), "sticky.name"),
        (replace(GOOD, override="X-Arm"), "override"),
        (replace(GOOD, shadows=(Shadow("c"),)), "shadows[0].arm"),
        (replace(GOOD, shadows=(Shadow("b", 1.5),)), "shadows[0].share"),
        (replace(GOOD, shadows=(Shadow("b", float("nan")),)), "shadows[0].share"),
        (replace(GOOD, fallback="c"), "fallback"),
        (replace(GOOD, timeout_s=-1.0), "timeout_s"),
        (replace(GOOD, hedge_ms=float("inf")), "hedge_ms"),
        (replace(GOOD, retries=Retries(most=11)), "retries.most"),
        (replace(GOOD, retries=Retries(budget=2.0)), "retries.budget"),
        (replace(GOOD, retries=Retries(statuses=(200,))), "retries.statuses"),
        (replace(GOOD, breaker=Breaker(rest_s=0.0)), "breaker.rest_s"),
        (replace(GOOD, breaker=Breaker(most_ejected=1.1)), "breaker.most_ejected"),
        (replace(GOOD, limit=Limit(rate=-1.0)), "limit.rate"),
        (replace(GOOD, limit=Limit(rate=1.0, burst=0)), "limit.burst"),
        (replace(GOOD, limit=Limit(quota=1, quota_s=0.0)), "limit.quota_s"),
        (with_endpoint("http://h:8080/path"), "arms[0].endpoints[0].url"),
        (with_endpoint("http://h:99999"), "arms[0].endpoints[0].url"),
        (with_endpoint("http://user@h"), "arms[0].endpoints[0].url"),
        (with_endpoint("ftp://h"), "arms[0].endpoints[0].url"),
        (with_endpoint("unix:run.sock"), "arms[0].endpoints[0].url"),
    ],
)
def test_what_is_wrong_with_a_route(changed, field):
    with pytest.raises(InvalidError) as caught:
        check(Snapshot(1, (replace(GOOD, name="first"), changed)))
    assert caught.value.field == f"routes[1].{field}"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.3:8080", "https://a.b", "unix:/run/a", "http://[::1]:1"]
)
def test_good_endpoints(url):
    check(Snapshot(1, (with_endpoint(url),)))


@pytest.mark.parametrize(
    ("snapshot", "field"),
    [
        (Snapshot(-1), "generation"),
        (Snapshot(1, (GOOD, GOOD)), "routes[1].name"),
        (Snapshot(1, keys={"abc": Pass("a")}), "keys.abc"),
        (Snapshot(1, keys={HASH: Pass("")}), "keys.000000000000.name"),
        (Snapshot(1, keys={HASH: Pass("a", until_ns=-1)}), "keys.000000000000.until_ns"),
        (
            Snapshot(1, keys={HASH: Pass("a", limit=Limit(burst=0))}),
            "keys.000000000000.limit.burst",
        ),
        (Snapshot(1, tokens=Tokens({})), "tokens.keys"),
        (Snapshot(1, limits={"t": Limit(quota=-1)}), "limits.t.quota"),
    ],
)
def test_what_is_wrong_with_the_rest(snapshot, field):
    with pytest.raises(InvalidError) as caught:
        check(snapshot)
    assert caught.value.field == field


FULL = Snapshot(
    3,
    (GOOD, replace(GOOD, name="s", shadows=(Shadow("b", 0.5),), limit=Limit(5.0, 2))),
    {HASH: Pass("a", models=("x*",))},
    Tokens({"k": "pem"}),
    {"default": Limit(1.0)},
)


@pytest.mark.parametrize("snapshot", [FULL, Snapshot(0), Snapshot(1, (GOOD,))])
@pytest.mark.parametrize("option", [0, orjson.OPT_INDENT_2])
def test_a_snapshot_is_read_as_it_was_written(snapshot, option):
    calls = []
    text = orjson.dumps(encode(snapshot), option=option)
    assert read_snapshot(text, lambda: calls.append(1)) == snapshot
    assert len(calls) >= 2 * len(snapshot.routes) + 2 * len(snapshot.keys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no object"),
        (b"[]", "no object"),
        (b'{"generation": 1', "comma or the end"),
        (b'{"generation": 1}}', "follows"),
        (b'{"generation" 1}', "colon"),
        (b'{"generation": 1,}', "no JSON"),
        (b'{"generation": NaN}', "no number of JSON"),
        (b'{"generation": 1, "routes": [{}', "comma or the end"),
        (b'{"generation": 1, "routes": [{}]}', "missing"),
        (b'{"generation": 1, "routes": [,]}', "no JSON"),
        (b'{"generation": 1, "routes": {"a": {}}}', "a list is wanted"),
        (b'{"generation": 1, "routes": 3}', "a list wanted"),
        (b'{"generation": 1, "keys": [{}]}', "an object is wanted"),
        (b'{"generation": 1, "keys": {"a": {"nam": "x"}}}', "did you mean 'name'"),
        (b'{"generation": 1, "route": []}', "unknown key"),
        (b'{"routes": []}', "generation: missing"),
        (b'\xff{"generation": 1}', "no JSON"),
        (b'{"generation": ' + b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_snapshot_is_refused(text, words):
    with pytest.raises(InvalidError, match=words):
        read_snapshot(text)
