"""The kinds of objects that we make, and their places in the API."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind.

    Attributes:
        api: `apps/v1`.
        name: `Deployment`.
        plural: as paths have it.
        brought: by what, where Kubernetes itself has it not.
    """

    api: str
    name: str
    plural: str
    brought: str = ""

    def path(self, namespace: str, name: str = "") -> str:
        """Of all objects of a namespace, or of one."""
        root = f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


POD: Final = Kind("v1", "Pod", "pods")
EVENT: Final = Kind("v1", "Event", "events")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
SERVICE: Final = Kind("v1", "Service", "services")
HTTP_ROUTE: Final = Kind(
    "gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", "the Gateway API"
)

OWN: Final = (
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    SERVICE,
    DEPLOYMENT,
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
)
"""That every cluster has."""
BROUGHT: Final = (
    Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects", "KEDA"),
    Kind(
        "monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors", "the Prometheus operator"
    ),
    HTTP_ROUTE,
    Kind("networking.istio.io/v1", "VirtualService", "virtualservices", "Istio"),
)
"""That others bring."""
SCALERS: Final = frozenset({"HorizontalPodAutoscaler", "ScaledObject"})
BY_NAME: Final = {kind.name: kind for kind in (CONFIG_MAP, *OWN, *BROUGHT)}
