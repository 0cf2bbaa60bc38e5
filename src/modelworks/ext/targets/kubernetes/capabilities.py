"""What Kubernetes does with each field of a manifest."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from modelworks.core.deployment import Capability, emulated, honoured, refused
from modelworks.protocol.manifest.server import RECORDS, SERVER_FIELDS

_FINEST: Final = 1e-9
_RULES: Final = 15  # an HTTPRoute has 16 at most: one a backend that is kept, and one for the rest
_HOST: Final = re.compile(
    r"(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
_ELSEWHERE: Final = (
    "a cluster reads secrets that it keeps: make one there (kubectl create secret generic, or an "
    "operator that fetches it) and name it by `secret`"
)
_UNTAKEN: Final = (
    "records would lie in pods, where no worker takes them in: leave records out here, and record "
    "what is deployed on local, docker or compose"
)
_Spec = Mapping[str, Any]


def _cores(value: Any, _spec: _Spec) -> str:
    if value is None or abs(value * 1000 - round(value * 1000)) < _FINEST:
        return ""
    return f"{value:g} cores are finer than a thousandth, the finest that Kubernetes has"


def _settings(spec: _Spec) -> Mapping[str, str]:
    return dict(spec["target"]["settings"])


def _metric(value: Any, spec: _Spec) -> str:
    if value in {None, "cpu"}:
        return ""
    said = _settings(spec)
    for name, why in (
        ("keda", "Kubernetes alone scales by cpu; with KEDA say keda: 'true'"),
        ("prometheus", "KEDA asks Prometheus: say prometheus: its URL within the cluster"),
        ("service_monitor", "Prometheus has to know the pods: say service_monitor: 'true'"),
    ):
        if said.get(name, "false") in {"", "false"}:
            return f"{why}, in target.settings"
    if not spec["monitoring"]["metrics"]:
        return "Prometheus is asked for it, and monitoring.metrics is false"
    return ""


def _least(value: Any, spec: _Spec) -> str:
    if value != 0:
        return ""
    if spec["autoscaling"]["metric"] == "requests" and _settings(spec).get("routing") == "istio":
        return ""
    return (
        "nobody would count requests while no pod runs: 0 wants metric: requests and "
        "routing: istio, whose gateway counts them"
    )


def _goal(value: Any, spec: _Spec) -> str:
    if (
        value is None
        or spec["autoscaling"]["metric"] != "cpu"
        or (value == int(value) and value >= 1)
    ):
        return ""
    return f"{value:g}: percent of cpu are whole numbers from 1"


def _host(value: Any, _spec: _Spec) -> str:
    return "" if _HOST.fullmatch(value) else f"'{value}' is no DNS name"


def _path(value: Any, _spec: _Spec) -> str:
    parts = value.split("/")[1:]
    if {".", ".."} & set(parts) or ("" in parts and value != "/"):
        return f"'{value}': gateways take no path with empty parts, . or .., nor a / at its end"
    return ""


def _timeout(value: Any, _spec: _Spec) -> str:
    if value is None or abs(value * 1000 - round(value * 1000)) < _FINEST:
        return ""
    return f"{value:g} s is finer than a millisecond"


def _backends(_value: Any, spec: _Spec) -> str:
    if len(spec["backends"]) <= _RULES:
        return ""
    return f"a route keeps callers with one of {_RULES} backends at most"


def _source(field: str, key: str) -> dict[str, Capability]:
    return {
        f"{field}.file": refused(_ELSEWHERE),
        f"{field}.variable": refused(_ELSEWHERE),
        f"{field}.secret": honoured("a Secret of the namespace, by reference"),
        f"{field}.key": honoured(f"the key within it; {key} where left out"),
    }


FIELDS: Final[Mapping[str, Capability]] = MappingProxyType(
    {
        **SERVER_FIELDS,
        **dict.fromkeys(RECORDS, refused(_UNTAKEN)),
        "image.repository": honoured("the container's image, by digest"),
        "image.digest": honoured("the container's image, by digest"),
        "image.pull": honoured("imagePullPolicy"),
        "replicas": honoured("the Deployment's replicas"),
        "autoscaling.min": honoured("minReplicas of the autoscaler", _least),
        "autoscaling.max": honoured("maxReplicas of the autoscaler"),
        "autoscaling.metric": honoured(
            "cpu: a HorizontalPodAutoscaler; others: a ScaledObject of KEDA", _metric
        ),
        "autoscaling.goal": honoured("the autoscaler's target a pod", _goal),
        "autoscaling.scale_down_after_s": honoured("stabilization window of scaling down"),
        "resources.cpu": honoured("requests.cpu", _cores),
        "resources.cpu_limit": honoured("limits.cpu", _cores),
        "resources.memory": honoured("requests.memory and limits.memory"),
        "resources.gpu": honoured("limits of the extended resource, nvidia.com/gpu"),
        "environment": honoured("env of the container; $(NAME) is not expanded"),
        "secrets[].name": honoured("env from a Secret, or a file of a projected volume"),
        "secrets[].mount": honoured("a projected volume at /run/secrets"),
        **_source("secrets[].source", "the secret's name in the manifest"),
        "probes.startup_timeout_s": honoured("startupProbe, once a second"),
        "probes.period_s": honoured("periodSeconds of readiness and liveness"),
        "probes.timeout_s": honoured("timeoutSeconds of all probes"),
        "probes.failures": honoured("failureThreshold; three times as many of liveness"),
        "strategy.max_surge": honoured("maxSurge of the rolling update, maxUnavailable is 0"),
        "strategy.drain_s": honoured(
            "terminationGracePeriodSeconds, after the pod left the endpoints"
        ),
        "placement.node_labels": honoured("nodeSelector"),
        "placement.spread": honoured("topologySpreadConstraints, where it can be helped"),
        "access.expose": honoured("host: Service of type ClusterIP; public: LoadBalancer"),
        **_source("access.keys", "`keys`"),
        **_source("access.certificate", "`tls.crt`"),
        **_source("access.private_key", "`tls.key`"),
        "monitoring.metrics": honoured(
            "a ServiceMonitor with service_monitor: 'true', else prometheus.io annotations"
        ),
    }
)
"""Of a deployment."""

ROUTES: Final[Mapping[str, Capability]] = MappingProxyType(
    {
        "host": honoured("hostnames of the HTTPRoute, hosts of the VirtualService", _host),
        "path": honoured("a prefix, by whole parts", _path),
        "backends[].deployment": honoured("its Service"),
        "backends[].weight": honoured("the backend's weight"),
        "mirror.deployment": honoured("RequestMirror of the HTTPRoute, mirrors of Istio"),
        "mirror.percent": honoured("percent of the mirror; of the Gateway API from 1.3 on"),
        "sticky.header": refused(
            "neither the Gateway API nor Istio chooses among weights by a header: name a cookie"
        ),
        "sticky.cookie": emulated(
            "the first answer sets a cookie of this name and `-backend`, which names the backend: "
            "callers that keep cookies stay with it",
            _backends,
        ),
        "timeout_s": honoured("timeouts.request of the HTTPRoute, timeout of Istio", _timeout),
    }
)
"""Of a route."""
