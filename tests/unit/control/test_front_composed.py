"""Which routes gateways are given."""

from dataclasses import replace

import pytest

from modelworks.control.front.composed import Deployed, Own, compose
from modelworks.control.front.endpoints import deployed, reachable
from modelworks.control.front.places import NEVER, Sight
from modelworks.control.rollouts.kept import Asked, Kept
from modelworks.control.rollouts.routes import route_of
from modelworks.core.deployment import Observed, Phase, Replica
from modelworks.core.desired import Desired, DesiredRoute
from modelworks.core.rollouts import (
    Direction,
    Kind,
    Metric,
    Plan,
    Rollout,
    Step,
    Strategy,
)
from modelworks.core.rollouts import Phase as Course
from modelworks.core.routes import (
    BUCKETS,
    Endpoint,
    Shadow,
    Snapshot,
    Source,
    Sticky,
)
from modelworks.protocol.manifest.route import RouteSpec
from modelworks.protocol.routes import Policy, check

pytestmark = pytest.mark.unit
UP = (Endpoint("http://127.0.0.1:8000"),)
HERE = Deployed("fraud", "1.0.0", (Endpoint("http://127.0.0.1:8101"),), ready=True)
THERE = Deployed("fraud", "2.0.0", (Endpoint("http://10.0.0.2:8102"),), ready=True)
BOTH = {"a": HERE, "b": THERE}


def door(name="door", target="gateway", **spec):
    spec = {
        "backends": [{"deployment": "a", "weight": 80}, {"deployment": "b", "weight": 20}]
    } | spec
    document = {"metadata": {"name": name}, "spec": RouteSpec(**spec).model_dump(mode="json")}
    return DesiredRoute(name, target, {}, document)


def kept(route="fraud", arms=("1.0.0", "2.0.0"), share=0.05, **more):
    metric = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.01)
    plan = Plan(
        f"{route}-2",
        route,
        arms[0],
        tuple(arms[1:]),
        more.pop("strategy", Strategy.CANARY),
        (Step(share), Step(1.0)),
        metric,
    )
    shares = {arms[0]: 1 - share, arms[1]: share}
    return Kept(Rollout(plan, phase=Course.RUNNING), shares=shares, **more)


def shares(route):
    found = {}
    for span in route.spans:
        found[span.arm] = found.get(span.arm, 0) + (span.end - span.first) / BUCKETS
    return found


def good(routes):
    check(Snapshot(1, routes))
    return routes


def test_a_model_of_up_has_one_arm_and_any_path_of_it_goes_as_it_came():
    [churn, fraud] = good(compose(Own(UP, {"fraud": "1.0.0", "churn": "3.1.0"}), [], {}))
    assert (churn.name, fraud.name, fraud.model) == ("churn", "fraud", "fraud")
    assert [(arm.name, arm.model, arm.version) for arm in fraud.arms] == [("1.0.0", "", "")]
    assert fraud.arms[0].endpoints == UP


def test_a_roll_out_among_versions_parts_as_the_server_does_and_tells_it_the_arm():
    asked = Asked(Source.HEADER, "x-user")
    server = route_of(kept(asked=asked), None)
    server = replace(server, shadows=(Shadow("2.0.0"),))
    [route] = good(compose(Own(UP, {"fraud": "1.0.0"}, (server,)), [], {}))
    same = ("spans", "salt", "sticky", "override", "fallback", "model")
    assert {name: getattr(route, name) for name in same} == {
        name: getattr(server, name) for name in same
    }
    assert [arm.headers for arm in route.arms] == [
        {"x-modelworks-arm": "1.0.0"},
        {"x-modelworks-arm": "2.0.0"},
    ]
    assert {(arm.model, arm.version) for arm in route.arms} == {("", "")}
    assert {arm.endpoints for arm in route.arms} == {UP}
    assert route.shadows == ()  # the server copies: twice would be counted twice


def test_where_no_header_names_an_arm_the_path_names_the_version():
    server = route_of(kept(asked=Asked(override="")), None)
    [route] = good(compose(Own(UP, {"fraud": "1.0.0"}, (server,)), [], {}))
    assert [(arm.model, arm.version, arm.headers) for arm in route.arms] == [
        ("fraud", "1.0.0", {}),
        ("fraud", "2.0.0", {}),
    ]


def test_every_field_of_a_manifests_route_is_carried():
    asked = door(
        host="*.example.com",
        path="/v2/models/fraud",
        mirror={"deployment": "c", "percent": 25},
        sticky={"header": "X-User"},
        timeout_s=1.5,
    )
    known = BOTH | {"c": Deployed("fraud-next", "", (Endpoint("http://10.0.0.3:1"),))}
    [route] = good(compose(Own(), [asked], known))
    assert (route.host, route.path, route.timeout_s) == ("*.example.com", "/v2/models/fraud", 1.5)
    assert route.sticky == Sticky(Source.HEADER, "x-user")
    assert shares(route) == {"a": 0.8, "b": 0.2}
    assert route.shadows == (Shadow("c", 0.25),)
    assert [(arm.name, arm.model) for arm in route.arms] == [
        ("a", ""),
        ("b", ""),
        ("c", "fraud-next"),
    ]
    assert [arm.endpoints for arm in route.arms[:2]] == [HERE.endpoints, THERE.endpoints]
    [cookie] = compose(Own(), [door(sticky={"cookie": "Sid"})], BOTH)
    assert cookie.sticky == Sticky(Source.COOKIE, "Sid")


def test_what_a_target_routes_itself_is_left_to_it():
    assert compose(Own(), [door(target="kubernetes")], BOTH) == ()


def test_a_manifests_route_goes_before_the_model_of_up_and_hosts_part_them():
    own = Own(UP, {"fraud": "1.0.0"})
    policy = Policy(Snapshot(1, good(compose(own, [door()], BOTH))))
    assert policy.find("fraud").route.name == "door"
    policy = Policy(Snapshot(1, good(compose(own, [door(host="new.example.com")], BOTH))))
    assert policy.find("fraud", "new.example.com").route.name == "door"
    assert policy.find("fraud", "other").route.name == "fraud"


def test_a_route_that_is_called_as_a_model_leaves_both():
    routes = good(compose(Own(UP, {"fraud": "1.0.0"}), [door("fraud", host="h")], BOTH))
    assert [route.name for route in routes] == ["fraud", "up/fraud"]


def test_new_weights_move_as_few_callers_as_can_be():
    before = compose(Own(), [door()], BOTH)
    more = {"backends": [{"deployment": "a", "weight": 70}, {"deployment": "b", "weight": 30}]}
    [after] = compose(Own(), [door(**more)], BOTH, (), before)
    assert shares(after) == {"a": 0.7, "b": 0.3}
    was = Policy(Snapshot(1, before)).routes["door"]
    now = Policy(Snapshot(2, (after,))).routes["door"]
    moved = [
        bucket
        for bucket in range(0, BUCKETS, 7)
        if was.choose({}, unit=bucket / BUCKETS).name != now.choose({}, unit=bucket / BUCKETS).name
    ]
    assert len(moved) <= BUCKETS / 7 * 0.1 + 1
    third = {"backends": [{"deployment": "c", "weight": 100}]}
    [gone] = good(compose(Own(), [door(**third)], {"c": HERE}, (), (after,)))
    assert shares(gone) == {"c": 1.0}


def test_a_roll_out_among_deployments_has_the_routes_shares_and_others_have_not():
    mine = kept("door", ("a", "b"), 0.3)
    [route] = good(compose(Own(), [door()], BOTH, [mine]))
    assert shares(route) == {"a": 0.7, "b": 0.3}
    assert (route.salt, route.fallback) == ("door-2", "a")
    [wider] = compose(Own(), [door()], BOTH, [kept("door", ("a", "b"), 0.4)], (route,))
    assert [span for span in wider.spans if span.arm == "b"][-1].end == BUCKETS
    for other in (
        kept("window", ("a", "b")),
        kept("door", ("1.0.0", "2.0.0")),
        kept("door", ("a", "x")),
    ):
        [route] = good(compose(Own(), [door()], BOTH, [other]))
        assert shares(route) == {"a": 0.8, "b": 0.2}


def test_who_has_nobody_left_is_answered_for_by_one_that_was_seen_ready():
    [route] = compose(Own(), [door()], BOTH)
    assert route.fallback == "a"
    [route] = compose(Own(), [door()], BOTH | {"a": Deployed("fraud")})
    assert route.fallback == "b"
    none = {"backends": [{"deployment": "a"}, {"deployment": "b", "weight": 0}]}
    [route] = compose(Own(), [door(**none)], BOTH)
    assert route.fallback == ""  # nobody who gets nothing


def test_those_of_one_version_answer_for_one_another():
    near = replace(HERE, zone="eu")
    far = replace(THERE, version="1.0.0", zone="us")
    [route] = good(compose(Own(), [door()], {"a": near, "b": far}))
    [a, b] = [[(one.url, one.zone) for one in arm.endpoints] for arm in route.arms]
    assert a == [("http://127.0.0.1:8101", ""), ("http://10.0.0.2:8102", "us")]
    assert b == [("http://10.0.0.2:8102", ""), ("http://127.0.0.1:8101", "eu")]
    plain = {"a": HERE, "b": replace(far, zone="")}
    [route] = compose(Own(), [door()], plain)
    assert route.arms[0].endpoints[1].zone == "elsewhere"  # the weights' choice goes first
    idle = {"backends": [{"deployment": "a"}, {"deployment": "b", "weight": 0}]}
    mirrored = {"backends": [{"deployment": "a"}], "mirror": {"deployment": "b"}}
    for spec in (idle, mirrored):  # who gets no traffic answers for nobody
        [route] = compose(Own(), [door(**spec)], plain)
        assert [len(arm.endpoints) for arm in route.arms] == [1, 1]


def test_until_somebody_has_looked_callers_are_answered_as_before():
    own = Own(UP, {"fraud": "1.0.0"})
    blind = BOTH | {"b": replace(THERE, endpoints=(), looked=False)}
    assert [route.name for route in compose(own, [door()], blind)] == ["fraud"]
    before = compose(own, [door()], BOTH)
    more = {"backends": [{"deployment": "a", "weight": 50}, {"deployment": "b", "weight": 50}]}
    assert compose(own, [door(**more)], blind, (), before) == before


# -- where a deployment answers

RUNS = ("fraud", "1.0.0")


def wanted(expose="host", number=2, labels=(), model="fraud@champion"):
    document = {
        "metadata": {"labels": dict(labels)},
        "spec": {"model": model, "access": {"expose": expose}},
    }
    return Desired("a", "local", {}, document, wanted=number)


def seen(url="http://127.0.0.1:8101", *replicas):
    phases = replicas or ((2, Phase.READY),)
    return Sight(Observed(url, tuple(Replica("r", number, phase) for number, phase in phases)))


def urls(found):
    return [one.url for one in found.endpoints]


def test_a_deployment_answers_where_its_target_says():
    found = deployed(
        wanted(labels={"modelworks.io/zone": "b"}), RUNS, seen("http://127.0.0.1:1/"), ()
    )
    assert found == Deployed(*RUNS, (Endpoint("http://127.0.0.1:1"),), "b", ready=True)
    starting = deployed(wanted(), RUNS, seen("http://127.0.0.1:1", (2, Phase.STARTING)), ())
    assert (urls(starting), starting.ready) == (["http://127.0.0.1:1"], False)


def test_what_is_gone_answers_nowhere_and_what_nobody_saw_where_it_was():
    before = (Endpoint("http://127.0.0.1:7"),)
    assert urls(deployed(wanted(), RUNS, Sight(None), before)) == []
    assert urls(deployed(wanted(), RUNS, seen("http://x:1", (2, Phase.FAILED)), before)) == []
    assert urls(deployed(wanted(), RUNS, seen(""), before)) == []
    for sight, looked in ((NEVER, False), (replace(seen(), unseen="nobody answers"), True)):
        found = deployed(wanted(), RUNS, sight, before)
        assert (urls(found), found.ready, found.looked) == (["http://127.0.0.1:7"], False, looked)


def test_until_the_old_revision_is_gone_both_of_its_places_are_good():
    before = (Endpoint("http://127.0.0.1:7"),)
    moving = seen("http://127.0.0.1:8", (2, Phase.STARTING), (1, Phase.READY))
    assert urls(deployed(wanted(), RUNS, moving, before)) == [
        "http://127.0.0.1:8",
        "http://127.0.0.1:7",
    ]
    assert urls(deployed(wanted(), RUNS, seen("http://127.0.0.1:8"), before)) == [
        "http://127.0.0.1:8"
    ]


def test_other_machines_are_told_an_address_of_what_listens_for_them():
    sight = seen("http://127.0.0.1:8101")
    assert urls(deployed(wanted("public"), RUNS, sight, (), "box.lan")) == ["http://box.lan:8101"]
    assert urls(deployed(wanted("host"), RUNS, sight, (), "box.lan")) == ["http://127.0.0.1:8101"]
    assert reachable("https://[::1]:8", "fd00::1") == "https://[fd00::1]:8"
    assert reachable("http://10.0.0.1:8", "box.lan") == "http://10.0.0.1:8"
    assert reachable("http://127.0.0.1:8", "") == "http://127.0.0.1:8"
