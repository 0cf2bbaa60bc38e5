"""As many pods as there is work for: by Kubernetes itself, or by KEDA; and none too few."""

from modelworks.ext.targets.kubernetes.objects.asked import Asked, Object
from modelworks.protocol.manifest.deployment import Autoscaling, Metric

_WINDOW = "1m"


def by_cpu(asked: Asked, said: Autoscaling) -> Object:
    """A HorizontalPodAutoscaler."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": asked.head(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": asked.name},
            "minReplicas": said.min,
            "maxReplicas": said.max,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": int(said.goal)},
                    },
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": said.scale_down_after_s}},
        },
    }


def by_requests(asked: Asked, said: Autoscaling) -> Object:
    """A ScaledObject of KEDA, which asks Prometheus."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": asked.head(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": asked.name},
            "minReplicaCount": said.min,
            "maxReplicaCount": said.max,
            "cooldownPeriod": said.scale_down_after_s,
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleDown": {"stabilizationWindowSeconds": said.scale_down_after_s}
                    }
                }
            },
            "triggers": [
                {
                    "type": "prometheus",
                    "metadata": {
                        "serverAddress": asked.settings.prometheus,
                        "query": _query(asked, said),
                        "threshold": str(said.goal).removesuffix(".0"),
                    },
                }
            ],
        },
    }


def disruption(asked: Asked) -> Object | None:
    """A PodDisruptionBudget: a node that is emptied takes one pod at a time; None = there is one.

    Of a single pod it would keep nodes from being emptied, or say nothing.
    """
    scaling = asked.spec.autoscaling
    if (asked.replicas if scaling is None else scaling.min) < 2:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": asked.head(),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": asked.selector}},
    }


def autoscaler(asked: Asked) -> Object | None:
    """Whatever scales; None = nothing does."""
    said = asked.spec.autoscaling
    if said is None:
        return None
    return by_cpu(asked, said) if said.metric is Metric.CPU else by_requests(asked, said)


def _query(asked: Asked, said: Autoscaling) -> str:
    """What all pods have to do, together; KEDA divides it by their goal.

    Requests at once are the seconds that requests took, a second (Little's law). While there are
    no pods, only the mesh still counts who asks.
    """
    name, namespace = asked.name, asked.settings.namespace
    if said.min == 0:
        where = (
            f'reporter="source",destination_service_name="{name}",'
            f'destination_service_namespace="{namespace}"'
        )
        return f"sum(rate(istio_requests_total{{{where}}}[{_WINDOW}]))"
    where = f'namespace="{namespace}",service="{name}"'
    if said.metric is Metric.REQUESTS:
        return f"sum(rate(modelworks_requests_total{{{where}}}[{_WINDOW}]))"
    seconds = "modelworks_request_duration_seconds_sum"
    return f'sum(rate({seconds}{{{where},stage="total"}}[{_WINDOW}]))'
