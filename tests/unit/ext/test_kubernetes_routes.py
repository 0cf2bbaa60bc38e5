"""Routes on Kubernetes: what becomes of each field, at the gateway and in the mesh."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernetes_specs import routes
from modelworks.core.deployment import WantedRoute
from modelworks.core.errors import InvalidError
from modelworks.ext.targets.kubernetes.capabilities import ROUTES
from modelworks.ext.targets.kubernetes.objects.routes import objects
from modelworks.ext.targets.kubernetes.settings import Settings, read
from modelworks.protocol.manifest.leaves import leaves
from modelworks.protocol.manifest.route import RouteSpec
from properties import examples

PORTS = {"a": 8080, "b": 8081, "c": 8082}
SPLIT = [{"deployment": "a", "weight": 90}, {"deployment": "b", "weight": 10}]


def route(router, **said):
    spec = RouteSpec.model_validate({"backends": SPLIT, **said}).model_dump(mode="json")
    settings = read({"routing": router, "gateway": "edge/outer"})
    [found] = objects(WantedRoute("fraud", spec, PORTS), settings)
    return found["spec"]


def test_weights_at_the_gateway():
    spec = route("gateway", host="f.example.com", path="/v2")
    assert spec["parentRefs"] == [{"name": "outer", "namespace": "edge"}]
    assert spec["hostnames"] == ["f.example.com"]
    [rule] = spec["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/v2"}}]
    assert rule["backendRefs"] == [
        {"name": "a", "port": 8080, "weight": 90},
        {"name": "b", "port": 8081, "weight": 10},
    ]


def test_weights_in_the_mesh():
    spec = route("istio", path="/v2")
    assert (spec["hosts"], spec["gateways"]) == (["*"], ["edge/outer"])
    [rule] = spec["http"]
    assert rule["match"] == [{"uri": {"exact": "/v2"}}, {"uri": {"prefix": "/v2/"}}]
    assert [(to["destination"]["host"], to["weight"]) for to in rule["route"]] == [
        ("a", 90),
        ("b", 10),
    ]
    assert route("istio")["http"][0]["match"] == [{"uri": {"prefix": "/"}}]


def test_copies():
    [rule] = route("gateway", mirror={"deployment": "c", "percent": 7})["rules"]
    [copies] = rule["filters"]
    assert copies["requestMirror"] == {"backendRef": {"name": "c", "port": 8082}, "percent": 7}
    [rule] = route("gateway", mirror={"deployment": "c"})["rules"]
    assert "percent" not in rule["filters"][0]["requestMirror"]
    [rule] = route("istio", mirror={"deployment": "c", "percent": 7})["http"]
    [copies] = rule["mirrors"]
    assert copies["percentage"] == {"value": 7}
    assert copies["destination"] == {"host": "c", "port": {"number": 8082}}


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.0, "3s"), (1.5, "1s500ms"), (0.25, "250ms"), (3600, "3600s")]
)
def test_time_limits(seconds, text):
    assert route("gateway", timeout_s=seconds)["rules"][0]["timeouts"] == {"request": text}
    assert route("istio", timeout_s=seconds)["http"][0]["timeout"] == text


@pytest.mark.parametrize("router", ["gateway", "istio"])
@pytest.mark.parametrize(
    ("cookies", "kept"),
    [
        ("user-backend=a", "a"),
        ("x=1; user-backend=b; y=2", "b"),
        ("x=1;user-backend=b", "b"),
        ("user-backend=", None),
        ("user-backend=ab", None),
        ("other-user-backend=a", None),
        ("user=7", None),
    ],
)
def test_callers_are_kept_by_a_cookie(router, cookies, kept):
    spec = route(router, sticky={"cookie": "user"}, timeout_s=2.0, mirror={"deployment": "c"})
    found = None
    rules = spec["rules" if router == "gateway" else "http"]
    for rule in rules[:-1]:
        if router == "gateway":
            [header] = rule["matches"][0]["headers"]
            assert header["name"] == "Cookie"
            pattern, name = header["value"], rule["backendRefs"][0]["name"]
        else:
            pattern = rule["match"][0]["headers"]["cookie"]["regex"]
            name = rule["route"][0]["destination"]["host"]
        if re.fullmatch(pattern, cookies):
            assert found is None
            found = name
        assert "timeouts" in rule or "timeout" in rule
        assert "filters" in rule or "mirrors" in rule
    assert found == kept
    assert "user-backend=b; Path=/; HttpOnly; SameSite=Lax" in str(rules[-1])


def test_nobody_is_kept_where_nobody_is_sent():
    backends = [{"deployment": "a", "weight": 0}, {"deployment": "b"}]
    spec = route("gateway", sticky={"cookie": "user"}, backends=backends)
    assert len(spec["rules"]) == 2


@given(one=routes(), router=st.sampled_from(["gateway", "istio"]))
@examples(30)
def test_what_is_said_is_in_the_object_or_refused(one, router):
    settings = read({"routing": router, "gateway": "outer"})
    [found] = objects(one, settings)
    for leaf in leaves(RouteSpec, one.spec):
        can = ROUTES[leaf.field]
        assert leaf.plain or can.refuses is None or can.refuses(leaf.value, one.spec) == ""
        if not leaf.plain and isinstance(leaf.value, str):
            assert leaf.value in str(found)


def test_many_backends_cannot_all_keep_their_callers():
    many = [{"deployment": f"d{n}", "weight": 100 if n == 0 else 0} for n in range(16)]
    assert ROUTES["sticky.cookie"].refuses("user", {"backends": many})
    assert not ROUTES["sticky.cookie"].refuses("user", {"backends": many[:15]})


@pytest.mark.parametrize("host", ["a..b", "-a", "a-.b", "*.*.b"])
def test_hosts_that_are_none(host):
    assert ROUTES["host"].refuses(host, {})


@pytest.mark.parametrize("host", ["a", "*.example.com", "a-b.example.com"])
def test_hosts(host):
    assert ROUTES["host"].refuses(host, {}) == ""


def test_nobody_carries_routes():
    spec = RouteSpec.model_validate({"backends": SPLIT}).model_dump(mode="json")
    with pytest.raises(InvalidError) as caught:
        objects(WantedRoute("fraud", spec, PORTS), Settings())
    assert caught.value.field == "target.settings.routing"
