"""The pod: one server, without rights, on a root that it never writes to."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.ext.targets.kubernetes.objects.asked import REVISION, Asked, Object
from modelworks.ext.targets.kubernetes.objects.quantity import cores, size
from modelworks.protocol.manifest.deployment import DeploymentSpec, SecretSource, Spread
from modelworks.protocol.manifest.server import (
    CERTIFICATE,
    KEYS,
    PRIVATE_KEY,
    SECRETS,
    Places,
    secret_files,
    secret_variables,
    variables,
)

CONTAINER: Final = "server"
PORT: Final = "http"
"""Name of the port: services and probes say it, whatever its number is."""
AWAY_S: Final = 5
"""How long a pod that is to go still takes new connections: until every node knows of it."""
_ENDING_S: Final = 5  # for the process itself, after the drain
_USER: Final = 10001
_LOWEST_FREE_PORT: Final = 1024
_TMP: Final = "256Mi"
_PULL: Final = {"missing": "IfNotPresent", "always": "Always", "never": "Never"}
_ZONES: Final = {
    Spread.HOST: "kubernetes.io/hostname",
    Spread.ZONE: "topology.kubernetes.io/zone",
}
_KEYS: Final[Mapping[str, str]] = {
    KEYS: "keys",
    CERTIFICATE: "tls.crt",
    PRIVATE_KEY: "tls.key",
}
"""What a secret has under no other name: those of the type kubernetes.io/tls."""


def template(asked: Asked) -> Object:
    """What every pod of a revision is made from."""
    labels = {**asked.labels, REVISION: str(asked.revision.number)}
    model = asked.revision.model
    annotations = {
        "modelworks.digest": asked.revision.digest,
        "modelworks.model": f"{model.name}:{model.version}",
    }
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": _pod(asked)}


def image(asked: Asked) -> str:
    """By digest.

    Raises:
        InvalidError: nobody made one.
    """
    said = asked.spec.image
    if asked.revision.image:
        return asked.revision.image
    if said.repository and said.digest:
        return f"{said.repository}@{said.digest}"
    raise InvalidError(
        "a pod needs an image in a registry: say image.repository", field="image.repository"
    )


def _pod(asked: Asked) -> Object:
    spec = asked.spec
    pod: Object = {
        "serviceAccountName": asked.name,
        "automountServiceAccountToken": False,
        # Variables of other services are no settings of ours, and the server refuses what it does
        # not know.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": AWAY_S + spec.strategy.drain_s + _ENDING_S,
        "securityContext": _rights(spec),
        "containers": [_container(asked)],
        "volumes": list(_volumes(spec)),
    }
    if asked.settings.pull_secret:
        pod["imagePullSecrets"] = [{"name": asked.settings.pull_secret}]
    if spec.placement.node_labels:
        pod["nodeSelector"] = dict(sorted(spec.placement.node_labels.items()))
    if spec.placement.spread is not Spread.NONE:
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": _ZONES[spec.placement.spread],
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {
                    "matchLabels": {**asked.selector, REVISION: str(asked.revision.number)}
                },
            }
        ]
    return pod


def _rights(spec: DeploymentSpec) -> Object:
    rights: Object = {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if spec.access.port < _LOWEST_FREE_PORT:
        # One of the few that Kubernetes calls safe: in the pod's own network.
        rights["sysctls"] = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    return rights


def _container(asked: Asked) -> Object:
    spec = asked.spec
    mounts: list[Object] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - of the pod
    if secret_files(spec):
        mounts.append({"name": "secrets", "mountPath": SECRETS, "readOnly": True})
    wait = ["python3", "-c", f"import time; time.sleep({AWAY_S})"]
    return {
        "name": CONTAINER,
        "image": image(asked),
        "imagePullPolicy": _PULL[spec.image.pull],
        "ports": [{"name": PORT, "containerPort": spec.access.port, "protocol": "TCP"}],
        "env": list(_environment(spec)),
        "resources": _resources(asked),
        **_probes(spec),
        # A server that ends at once would be asked by nodes that have not heard of it yet.
        "lifecycle": {"preStop": {"exec": {"command": wait}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _environment(spec: DeploymentSpec) -> Iterator[Object]:
    for name, value in sorted(variables(spec, Places()).items()):
        # Kubernetes would put other variables in the place of $(NAME).
        yield {"name": name, "value": value.replace("$", "$$")}
    for name, source in sorted(secret_variables(spec).items()):
        yield {
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": source.secret, "key": source.key or name}},
        }


def _resources(asked: Asked) -> Object:
    said = asked.spec.resources
    memory = size(said.memory)
    limits = {"memory": memory}
    if said.cpu_limit is not None:
        limits["cpu"] = cores(said.cpu_limit)
    if said.gpu:
        limits[asked.settings.gpu_resource] = str(said.gpu)
    return {"requests": {"cpu": cores(said.cpu), "memory": memory}, "limits": limits}


def _probes(spec: DeploymentSpec) -> Object:
    said = spec.probes
    scheme = "HTTPS" if spec.access.certificate else "HTTP"

    def probe(path: str, period_s: int, failures: int) -> Object:
        return {
            "httpGet": {"path": path, "port": PORT, "scheme": scheme},
            "periodSeconds": period_s,
            "timeoutSeconds": said.timeout_s,
            "failureThreshold": failures,
        }

    return {
        # Looked at every second, so that a model that loads quickly is used quickly.
        "startupProbe": probe("/v2/health/ready", 1, said.startup_timeout_s),
        "readinessProbe": probe("/v2/health/ready", said.period_s, said.failures),
        "livenessProbe": probe("/v2/health/live", said.period_s, 3 * said.failures),
    }


def _volumes(spec: DeploymentSpec) -> Iterator[Object]:
    yield {"name": "tmp", "emptyDir": {"sizeLimit": _TMP}}
    files = secret_files(spec)
    if files:
        sources = [_projection(one.name, one.source) for one in files]
        # Read by the group, which is the server's; nobody else is in the pod.
        yield {"name": "secrets", "projected": {"defaultMode": 0o440, "sources": sources}}


def _projection(name: str, source: SecretSource) -> Mapping[str, Any]:
    key = source.key or _KEYS.get(name, name)
    return {"secret": {"name": source.secret, "items": [{"key": key, "path": name}]}}
