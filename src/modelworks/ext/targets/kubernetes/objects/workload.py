"""Deployment, ServiceAccount and Service: what runs, as whom, and at which address."""

from modelworks.ext.targets.kubernetes.objects.asked import REVISION, Asked, Object
from modelworks.ext.targets.kubernetes.objects.pod import PORT, template
from modelworks.protocol.manifest.deployment import Expose


def deployment(asked: Asked) -> Object:
    """New pods are ready before old ones go; nothing is ever taken away first."""
    strategy = asked.spec.strategy
    spec: Object = {
        "selector": {"matchLabels": asked.selector},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": strategy.max_surge, "maxUnavailable": 0},
        },
        "progressDeadlineSeconds": strategy.ready_timeout_s,
        "revisionHistoryLimit": strategy.keep_revisions,
        "template": template(asked),
    }
    if asked.spec.autoscaling is None:  # else the number is the autoscaler's
        spec = {"replicas": asked.replicas, **spec}
    said = {REVISION: str(asked.revision.number), "modelworks.digest": asked.revision.digest}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": asked.head(said),
        "spec": spec,
    }


def account(asked: Asked) -> Object:
    """Without a token: a server asks nothing of the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": asked.head(),
        "automountServiceAccountToken": False,
    }


def service(asked: Asked) -> Object:
    """One address for all pods, of whatever revision."""
    access = asked.spec.access
    scheme = "https" if access.certificate else "http"
    said = {}
    if asked.spec.monitoring.metrics and not asked.settings.service_monitor:
        said = {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(access.port),
            "prometheus.io/path": "/metrics",
            "prometheus.io/scheme": scheme,
        }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": asked.head(said),
        "spec": {
            "type": "LoadBalancer" if access.expose is Expose.PUBLIC else "ClusterIP",
            "selector": asked.selector,
            "ports": [
                {
                    "name": PORT,
                    "port": access.port,
                    "targetPort": PORT,
                    "protocol": "TCP",
                    "appProtocol": scheme,  # what a mesh would else take from the port's name
                }
            ],
        },
    }
