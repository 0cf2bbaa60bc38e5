"""Who answers: routes found by model, host, path and tenant; arms by header, key or chance."""

import subprocess
import sys
from collections import Counter

import pytest
from scipy.stats import chisquare

from modelworks.core.errors import NotFoundError
from modelworks.core.routes import BUCKETS, Arm, Route, Shadow, Snapshot, Source, Span, Sticky
from modelworks.protocol.routes import Policy, RoutePolicy, spans
from modelworks.protocol.routes.buckets import bucket_of
from modelworks.protocol.routes.policy import cookie
from modelworks.testing.buckets import BUCKETS_OF

pytestmark = pytest.mark.unit

ALL = (Span(0, BUCKETS, "a"),)
BY_USER = Sticky(Source.HEADER, "x-user")


def route(name="r", shares=None, **said):
    shares = shares or {"a": 1.0}
    arms = tuple(Arm(arm) for arm in (*shares, *said.pop("more", ())))
    return Route(name, arms, spans((), shares), **said)


def test_golden_vectors():
    for salt, key, bucket in BUCKETS_OF:
        assert bucket_of(salt, key) == bucket


def test_weights_over_a_hundred_thousand_keys():
    shares = {"a": 0.6, "b": 0.25, "c": 0.1, "d": 0.05}
    policy = RoutePolicy(route(shares=shares, sticky=BY_USER))
    found = Counter(policy.choose({b"x-user": b"user-%d" % n}).name for n in range(100_000))
    assert chisquare([found[arm] for arm in shares], [s * 1e5 for s in shares.values()])[1] > 1e-4


def test_two_salts_give_arms_that_know_nothing_of_each_other():
    one, other = (
        RoutePolicy(route(shares={"a": 0.5, "b": 0.5}, sticky=BY_USER, salt=salt))
        for salt in ("s1", "s2")
    )
    pairs = Counter(
        one.choose(head).name + other.choose(head).name
        for head in ({b"x-user": b"%d" % n} for n in range(40_000))
    )
    assert chisquare(list(pairs.values()), [10_000] * 4)[1] > 1e-4


def test_without_a_key_chance_decides_by_weight():
    policy = RoutePolicy(route(shares={"a": 0.9, "b": 0.1}, sticky=BY_USER))
    found = Counter(policy.choose({}).name for _ in range(20_000))
    assert chisquare([found["a"], found["b"]], [18_000, 2_000])[1] > 1e-6
    assert policy.choose({}, unit=0.8999).name == "a"
    assert policy.choose({}, unit=0.9).name == "b"
    assert policy.choose({}, unit=0.9999999).name == "b"


def test_a_key_keeps_its_arm_over_snapshots_and_shares_move_few():
    users = [{b"x-user": b"user-%d" % n} for n in range(100_000)]
    before = spans((), {"a": 0.95, "b": 0.05})
    after = spans(before, {"a": 0.9, "b": 0.1})
    arms = (Arm("a"), Arm("b"))
    policies = [
        RoutePolicy(Route("r", arms, part, sticky=BY_USER)) for part in (before, before, after)
    ]
    was, same, now = ([policy.choose(user).name for user in users] for policy in policies)
    assert was == same
    moved = Counter((x, y) for x, y in zip(was, now, strict=True) if x != y)
    assert set(moved) == {("a", "b")}
    assert abs(moved["a", "b"] - 5000) < 5 * 5000**0.5


def test_a_key_keeps_its_arm_in_another_process():
    code = (
        "from modelworks.core.routes import *; from modelworks.protocol.routes import *;"
        "p = RoutePolicy(Route('r', (Arm('a'), Arm('b')), spans((), {'a': .5, 'b': .5}),"
        " sticky=Sticky(Source.HEADER, 'x-user')));"
        "print(''.join(p.choose({b'x-user': b'%d' % n}).name for n in range(200)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    policy = RoutePolicy(route(shares={"a": 0.5, "b": 0.5}, sticky=BY_USER))
    here = "".join(policy.choose({b"x-user": b"%d" % n}).name for n in range(200))
    assert told.stdout.strip() == here
    assert set(here) == {"a", "b"}


def test_header_cookie_and_field_are_the_same_key():
    shares = {"a": 0.5, "b": 0.5}
    by = {
        source: RoutePolicy(route(shares=shares, sticky=Sticky(source, "user")))
        for source in Source
    }
    for number in range(50):
        key = b"u%d" % number
        arms = {
            by[Source.HEADER].choose({b"user": key}).name,
            by[Source.COOKIE].choose({b"cookie": b"x=1; user=%b; y=2" % key}).name,
            by[Source.FIELD].choose({}, field_value=key.decode()).name,
        }
        assert len(arms) == 1
    assert by[Source.FIELD].reads_field == "user"
    assert not by[Source.HEADER].reads_field
    assert not RoutePolicy(route(sticky=Sticky(Source.FIELD, "user"))).reads_field  # one arm only


def test_cookies():
    assert cookie(b"a=1; b=2", b"b") == b"2"
    assert cookie(b"ab=1;b=x=y", b"b") == b"x=y"
    assert cookie(b"b", b"b") is None
    assert cookie(None, b"b") is None


def test_an_override_names_an_arm_or_is_refused():
    policy = RoutePolicy(route(override="x-arm", more=("new",), sticky=BY_USER))
    assert policy.choose({b"x-arm": b"new"}).name == "new"
    assert policy.choose({}).name == "a"
    with pytest.raises(NotFoundError, match="no arm of the name that x-arm says; it has a, new"):
        policy.choose({b"x-arm": b"gone"})


def test_shadows_are_nested_samples_without_the_arm_that_answers():
    shadows = (Shadow("b", 0.5), Shadow("c", 0.1, compare=False), Shadow("d", 0.0))
    policy = RoutePolicy(route(more=("b", "c", "d"), shadows=shadows))
    arms = policy.arms
    assert [copied.arm.name for copied in policy.shadows(arms["a"], 0.05)] == ["b", "c"]
    assert [copied.compare for copied in policy.shadows(arms["a"], 0.05)] == [True, False]
    assert [copied.arm.name for copied in policy.shadows(arms["a"], 0.3)] == ["b"]
    assert policy.shadows(arms["a"], 0.5) == ()
    assert [copied.arm.name for copied in policy.shadows(arms["b"], 0.05)] == ["c"]
    assert RoutePolicy(route()).shadows(Arm("a"), 0.0) == ()
    found = sum(len(policy.shadows(arms["a"])) for _ in range(20_000))
    assert abs(found - 12_000) < 700


def test_routes_are_found_by_model_path_host_and_tenant():
    routes = (
        route("any", path="/v2"),
        route("fraud", model="fraud"),
        route("fraud-eu", model="fraud", host="eu.example.com"),
        route("fraud-sub", model="fraud", host="*.example.com"),
        route("fraud-deep", model="fraud", path="/v2/models/fraud/infer"),
        route("other", model="spam", tenant="other"),
        route("port", model="port", host="localhost:8080"),
    )
    policy = Policy(Snapshot(7, routes))

    def found(*asked):
        made = policy.find(*asked)
        return made.route.name if made else None

    assert policy.generation == 7
    assert found("fraud", "", "/predict/fraud") == "fraud"
    assert found("fraud", "EU.example.com:8080", "/predict/fraud") == "fraud-eu"
    assert found("fraud", "us.example.com", "/predict/fraud") == "fraud-sub"
    assert found("fraud", "example.com", "/predict/fraud") == "fraud"
    assert found("fraud", "badexample.com", "/predict/fraud") == "fraud"
    assert found("fraud", "eu.example.com", "/v2/models/fraud/infer") == "fraud-deep"
    assert found("unknown", "", "/v2/models/unknown") == "any"
    assert found("unknown", "", "/v2x") is None
    assert found("", "", "/v2") == "any"
    assert found("spam", "", "/predict/spam") == "other"
    assert found("spam", "", "/predict/spam", "default") is None
    assert found("spam", "", "/predict/spam", "other") == "other"
    assert found("port", "localhost:8080", "/") == "port"
    assert found("port", "localhost", "/") is None
    assert found("port", "localhost:80", "/") is None
