"""What `export` writes for Kubernetes, read by kustomize as GitOps tools do it."""

import pytest
import yaml

from kubernetes_programs import run
from kubernetes_specs import wanted
from modelworks.core.deployment import WantedRoute
from modelworks.ext.targets.kubernetes import KubernetesTarget
from modelworks.protocol.manifest.route import RouteSpec
from modelworks.testing.target_fields import spec_of

pytestmark = pytest.mark.real
FULL = {
    "routing": "gateway",
    "gateway": "edge",
    "keda": "true",
    "prometheus": "http://prometheus.monitoring:9090",
    "service_monitor": "true",
}
SAID = {
    "replicas": 3,
    "environment": {"A": "yes", "B": "1e3", "C": "0o17", "D": "a: $(B) #", "E": "", "F": "~"},
    "resources": {"cpu": "1500m", "memory": "1536Mi"},
}


def built(files, folder):
    for one in files:
        (folder / one.path).write_text(one.text)
    found = list(yaml.safe_load_all(run("kubectl", "kustomize", folder)))
    return {one["kind"]: one for one in found}


def test_a_deployment(tmp_path):
    opened = KubernetesTarget().open(FULL, tmp_path)
    files = opened.render(wanted(spec_of("kubernetes", SAID), labels={"team": "yes"}))
    found = built(files, tmp_path)
    said = [yaml.safe_load(one.text) for one in files]
    assert found == {one["kind"]: one for one in said if one["kind"] != "Kustomization"}
    [server] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in server["env"]}
    assert [told[name] for name in "ABCEF"] == ["yes", "1e3", "0o17", "", "~"]
    assert "ServiceMonitor" in found


def test_a_deployment_that_scales(tmp_path):
    opened = KubernetesTarget().open(FULL, tmp_path)
    scaled = {"autoscaling": {"max": 3, "metric": "requests"}}
    found = built(opened.render(wanted(spec_of("kubernetes", scaled))), tmp_path)
    assert found["ScaledObject"]["spec"]["maxReplicaCount"] == 3


@pytest.mark.parametrize("router", ["gateway", "istio"])
def test_a_route(tmp_path, router):
    opened = KubernetesTarget().open({**FULL, "routing": router}, tmp_path)
    said = {"backends": [{"deployment": "a"}], "sticky": {"cookie": "user"}, "timeout_s": 3.0}
    spec = RouteSpec.model_validate(said).model_dump(mode="json")
    found = built(opened.render_route(WantedRoute("fraud", spec, {"a": 80})), tmp_path)
    assert set(found) == {"HTTPRoute" if router == "gateway" else "VirtualService"}
