"""The role in docs/kubernetes.md allows all that is asked of a cluster, and no more."""

import re
from pathlib import Path

import pytest
import yaml

from kubernetes_schemas import VERSIONS, problems
from kubernetes_server import NAMESPACE, serving
from kubernetes_specs import wanted
from modelworks.core.deployment import WantedRoute
from modelworks.ext.targets.kubernetes import KubernetesTarget
from modelworks.ext.targets.kubernetes.settings import KNOWN
from modelworks.protocol.manifest.route import RouteSpec
from modelworks.testing.target_fields import spec_of

pytestmark = pytest.mark.contract
PAGE = Path(__file__).parents[2] / "docs/kubernetes.md"
FULL = {"keda": "true", "prometheus": "http://p", "service_monitor": "true", "gateway": "edge"}


@pytest.fixture(scope="module")
def role():
    [text] = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", PAGE.read_text(), re.DOTALL)
    return yaml.safe_load(text)


def allowed(role):
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def lived(folder, router):
    """Everything once; what was asked for."""
    with serving(folder) as (cluster, file):
        said = {"kubeconfig": str(file), "namespace": NAMESPACE, "routing": router, **FULL}
        opened = KubernetesTarget().open(said, folder)
        opened.apply(wanted(spec_of("kubernetes", {}), replicas=2))
        for metric in ("cpu", "requests"):
            scaled = {"autoscaling": {"min": 2, "max": 3, "metric": metric}}
            opened.apply(wanted(spec_of("kubernetes", scaled)))
        crash = {"name": "server", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
        cluster.pod("fraud-x", 1, containerStatuses=[crash])
        cluster.pod("fraud-y", 1)
        assert "ended with 1" in str(opened.observe("fraud"))
        backends = [{"deployment": "fraud"}]
        spec = RouteSpec.model_validate({"backends": backends}).model_dump(mode="json")
        opened.apply_route(WantedRoute("out", spec, {"fraud": 8080}))
        opened.observe_route("out")
        opened.delete_route("out")
        opened.delete("fraud")
        return set(cluster.asked)


def test_the_role_is_what_is_asked_for(role, tmp_path):
    asked = lived(tmp_path, "gateway") | lived(tmp_path, "istio")
    assert asked <= allowed(role)
    unused = allowed(role) - asked
    assert {verb for _, _, verb in unused} <= {"create"}, unused  # `patch` makes objects, too


@pytest.mark.parametrize("version", VERSIONS)
def test_the_role_is_valid(role, version):
    assert problems(role, version) == []


def test_a_cluster_with_istio_alone_is_asked_for_nothing_else(tmp_path):
    assert "gateway.networking.k8s.io" not in {group for group, _, _ in lived(tmp_path, "istio")}


def test_every_setting_is_on_the_page():
    [table] = re.findall(r"## Settings\n(.*?)\n## ", PAGE.read_text(), re.DOTALL)
    assert set(KNOWN) <= set(re.findall(r"`([a-z_]+)`", table))
