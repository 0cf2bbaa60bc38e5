"""The contract's pure half on Kubernetes, with and without what others bring to a cluster."""

import pytest

from modelworks.ext.targets.kubernetes import KubernetesTarget
from modelworks.testing.targets import TableCase, TargetTable

pytestmark = pytest.mark.contract
PLAIN = {"namespace": "models", "routing": "gateway", "gateway": "edge"}
FULL = {
    "routing": "istio",
    "gateway": "istio-system/edge",
    "keda": "true",
    "prometheus": "http://prometheus.monitoring:9090",
    "service_monitor": "true",
    "pull_secret": "registry",
    "egress": "true",
}


def case_of(settings, folder):
    common = {"target": {"type": "kubernetes", "settings": settings}}
    return TableCase(KubernetesTarget, KubernetesTarget().open(settings, folder), common)


class TestPlainCluster(TargetTable):
    @pytest.fixture
    def case(self, tmp_path):
        return case_of(PLAIN, tmp_path)


class TestClusterWithEverything(TargetTable):
    @pytest.fixture
    def case(self, tmp_path):
        return case_of(FULL, tmp_path)
