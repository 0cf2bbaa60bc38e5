"""NetworkPolicy and ServiceMonitor: who may ask, and who looks."""

from modelworks.ext.targets.kubernetes.objects.asked import DEPLOYMENT, Asked, Object
from modelworks.ext.targets.kubernetes.objects.pod import PORT
from modelworks.protocol.manifest.deployment import Expose


def policy(asked: Asked) -> Object:
    """The server's port and no other; no connections of its own unless the settings say so."""
    access = asked.spec.access
    entry: Object = {"ports": [{"port": access.port, "protocol": "TCP"}]}
    if access.expose is Expose.HOST:
        entry["from"] = [{"namespaceSelector": {}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": asked.head(),
        "spec": {
            "podSelector": {"matchLabels": asked.selector},
            "policyTypes": ["Ingress"] if asked.settings.egress else ["Ingress", "Egress"],
            "ingress": [entry],
        },
    }


def monitor(asked: Asked) -> Object:
    """Points the Prometheus of the operator at `/metrics`."""
    endpoint: Object = {"port": PORT, "path": "/metrics"}
    if asked.spec.access.certificate:
        # It asks pods by their address, which is in no certificate.
        endpoint |= {"scheme": "https", "tlsConfig": {"insecureSkipVerify": True}}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": asked.head(),
        "spec": {
            "selector": {"matchLabels": {DEPLOYMENT: asked.name}},
            "endpoints": [endpoint],
        },
    }
