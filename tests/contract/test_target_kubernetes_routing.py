"""Routes in a cluster: applied, seen, put right, taken away."""

import pytest

from kubernetes_server import NAMESPACE, serving
from modelworks.core.deployment import WantedRoute
from modelworks.core.errors import UnsupportedError
from modelworks.ext.targets.kubernetes import KubernetesTarget
from modelworks.protocol.manifest.route import RouteSpec

pytestmark = pytest.mark.contract
GOOD = [{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "True"}]


def route(**said):
    spec = {"backends": [{"deployment": "a", "weight": 90}, {"deployment": "b", "weight": 10}]}
    values = RouteSpec.model_validate({**spec, **said}).model_dump(mode="json")
    return WantedRoute("fraud", values, {"a": 8080, "b": 8081})


@pytest.fixture(params=["gateway", "istio"])
def place(request, tmp_path):
    with serving(tmp_path) as (cluster, file):
        settings = {"kubeconfig": str(file), "namespace": NAMESPACE, "gateway": "edge"}
        opened = KubernetesTarget().open({**settings, "routing": request.param}, tmp_path)
        yield cluster, opened, "httproutes" if request.param == "gateway" else "virtualservices"


def test_the_life_of_a_route(place):
    cluster, opened, plural = place
    assert opened.observe_route("fraud") is None
    opened.delete_route("fraud")
    opened.apply_route(route())
    assert cluster.names() == ["configmaps/modelworks.route.fraud", f"{plural}/fraud"]
    cluster.writes.clear()
    opened.apply_route(route())
    assert cluster.writes == []
    opened.apply_route(route(path="/v2"))
    assert "/v2" in str(cluster.get(plural)["spec"])
    opened.delete_route("fraud")
    assert cluster.names() == []
    assert opened.observe_route("fraud") is None


def test_a_change_from_outside(place):
    cluster, opened, plural = place
    opened.apply_route(route())

    def moved(live):
        rules = live["spec"].get("rules") or live["spec"]["http"]
        (rules[0].get("backendRefs") or rules[0]["route"])[0]["weight"] = 50

    cluster.change(plural, moved)
    [line] = opened.observe_route("fraud").changed
    assert "weight is 50, was 90" in line
    opened.apply_route(route())
    assert opened.observe_route("fraud").changed == ()


def test_what_the_gateway_says(place):
    cluster, opened, plural = place
    opened.apply_route(route())
    if plural == "virtualservices":  # Istio says nothing
        assert opened.observe_route("fraud").accepted
        cluster.objects.pop((plural, "fraud"))
        seen = opened.observe_route("fraud")
        assert (seen.accepted, seen.reason) == (False, "virtualservice fraud is gone")
        return
    assert "is target.settings.gateway the name" in opened.observe_route("fraud").reason

    def says(*conditions):
        parent = {"parentRef": {"name": "edge"}, "conditions": list(conditions)}
        cluster.change(plural, lambda live: live.update(status={"parents": [parent]}))
        return opened.observe_route("fraud")

    bad = {"type": "ResolvedRefs", "status": "False", "message": 'Service "b" not found'}
    assert says(GOOD[0], bad).reason == 'edge: Service "b" not found'
    assert says(GOOD[0]).reason == "edge: it does not say ResolvedRefs"
    seen = says(*GOOD)
    assert (seen.accepted, seen.reason, seen.changed) == (True, "", ())


def test_nobody_brought_what_carries_routes(place):
    cluster, opened, plural = place
    cluster.unknown = {plural}
    with pytest.raises(UnsupportedError, match=r"install (the Gateway API|Istio)"):
        opened.apply_route(route())
    assert not opened.observe_route("fraud").accepted
    opened.delete_route("fraud")
    assert cluster.names() == []


def test_a_deployment_of_the_same_name_is_another_thing(place):
    cluster, opened, _ = place
    opened.apply_route(route())
    before = cluster.names()
    opened.delete("fraud")
    assert opened.observe("fraud") is None
    assert cluster.names() == before
