"""A deployment as a service of Swarm (`POST /services/create`). Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelworks.core.deployment import Rendered, Wanted
from modelworks.ext.targets.containers import names
from modelworks.ext.targets.containers.container import (
    LOG,
    PIDS,
    USER,
    Container,
    common_labels,
    container_of,
    health,
)
from modelworks.protocol.manifest.deployment import DeploymentSpec, Spread

HOST: Final = "host"
APPLIED: Final = "modelworks.applied"
"""JSON of the service as it was applied, on the service: what was changed since then shows."""
_OTHERWISE: Final = ("Networks", "Privileges")
"""Shown by Swarm otherwise than asked for: by ids, or not at all by older engines."""
_SPREAD: Final = "modelworks.spread"
_TMPFS_BYTES: Final = 64 << 20
_NANO: Final = 10**9
_PAUSE_S: Final = 1
_KEY: Final = re.compile(r"[A-Za-z0-9_.-]+")  # as Swarm reads constraints
_VALUE: Final = re.compile(r"[A-Za-z0-9:_.-]+")


def service_name(deployment: str) -> str:
    """Of the one service."""
    return f"{names.PREFIX}{deployment}"


def secret_name(deployment: str, path: str) -> str:
    """Of a secret that is made for a deployment; what tells its contents apart is appended."""
    return f"{names.PREFIX}{deployment}-{path.rpartition('/')[2]}"[:50]


def label_trouble(labels: Mapping[str, str]) -> str:
    """Why Swarm cannot be asked for nodes with these labels; "" = it can."""
    for key, value in sorted(labels.items()):
        if _KEY.fullmatch(key) is None:
            return (
                f"'{key}' is no label that a constraint of Swarm can have: letters, digits, . _ -"
            )
        if _VALUE.fullmatch(value) is None:
            return f"'{key}' has '{value}', which no constraint of Swarm can ask for"
    return ""


def service(
    wanted: Wanted, container: Container, secrets: Mapping[str, Mapping[str, str]], *, host: bool
) -> dict[str, Any]:
    """The body.

    Args:
        wanted: one share.
        container: a replica of it.
        secrets: path in a replica -> SecretName and, where it is known, SecretID.
        host: tasks listen on their nodes; else the routing mesh publishes the port.
    """
    [share] = wanted.shares
    spec = DeploymentSpec.model_validate(share.revision.spec)
    body: dict[str, Any] = {
        "Name": service_name(wanted.name),
        "Labels": {
            **wanted.labels,
            **common_labels(wanted),
            **{key: container.labels[key] for key in (names.REVISION, names.DIGEST, names.NETWORK)},
        },
        "TaskTemplate": {
            "ContainerSpec": _container(container, secrets),
            "Resources": _resources(spec),
            "RestartPolicy": {"Condition": "any", "Delay": _PAUSE_S * _NANO},
            "Placement": _placement(spec),
            "LogDriver": {"Name": "json-file", "Options": dict(LOG)},
        },
        "Mode": {"Replicated": {"Replicas": share.replicas}},
        "UpdateConfig": {
            "Parallelism": spec.strategy.max_surge,
            "Order": "start-first",
            "FailureAction": "pause",
            "Monitor": spec.probes.failures * spec.probes.period_s * _NANO,
        },
    }
    if spec.placement.spread is not Spread.NONE:
        body["Labels"][_SPREAD] = spec.placement.spread.value
    if host:
        body["TaskTemplate"]["Networks"] = [{"Target": HOST}]
    else:
        port = {"Protocol": "tcp", "TargetPort": spec.access.port, "PublishMode": "ingress"}
        ports = [{**port, "PublishedPort": spec.access.port}]
        body["EndpointSpec"] = {"Mode": "vip", "Ports": ports}
    return body


def render(wanted: Wanted, *, host: bool) -> tuple[Rendered, ...]:
    """The service, and where its secrets come from, as a file of JSON."""
    container = container_of(wanted, wanted.shares[0].revision, own_network=not host)
    secrets = {
        path: {"SecretName": source.secret or secret_name(wanted.name, path)}
        for path, source in container.files.items()
    }
    said = {
        "service": service(wanted, container, secrets, host=host),
        "secrets": container.sources,
    }
    text = json.dumps(said, indent=2, sort_keys=True) + "\n"
    return (Rendered(f"{service_name(wanted.name)}.json", text),)


def differences(asked: Any, seen: Any, where: str = "") -> Iterator[str]:
    """What of `asked` is not so in `seen`, one line each; what is only in `seen` is not looked at.

    Args:
        asked: a body, or what is in it.
        seen: the same as Swarm has it; it leaves out what is empty, and adds defaults.
        where: path of it.
    """
    if isinstance(asked, Mapping):
        for key, value in asked.items():
            if key in _OTHERWISE:
                continue
            inner = seen.get(key) if isinstance(seen, Mapping) else None
            yield from differences(value, inner, f"{where}.{key}".lstrip("."))
    elif isinstance(asked, list) and isinstance(seen, list) and len(asked) == len(seen):
        for place, (one, other) in enumerate(zip(asked, seen, strict=True)):
            yield from differences(one, other, f"{where}[{place}]")
    elif asked != seen and (asked or seen):
        yield f"{where} is {_brief(seen)}, not {_brief(asked)}"


def _container(container: Container, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    uid, _, gid = USER.partition(":")
    options = {"SizeBytes": _TMPFS_BYTES, "Mode": 0o1777}
    body: dict[str, Any] = {
        "Image": container.image,
        "Labels": dict(container.labels),
        "Env": [f"{key}={value}" for key, value in sorted(container.environment.items())],
        "User": USER,
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "Privileges": {"NoNewPrivileges": True},  # engines before API 1.44 do not know it
        "StopSignal": "SIGTERM",
        "StopGracePeriod": container.stop_s * _NANO,
        "Healthcheck": health(container),
        "Mounts": [{"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": options}],  # noqa: S108 - the container's own
    }
    if container.entrypoint:
        body["Command"] = list(container.entrypoint)
    if secrets:
        body["Secrets"] = [
            {**secret, "File": {"Name": path, "UID": uid, "GID": gid, "Mode": 0o400}}
            for path, secret in sorted(secrets.items())
        ]
    return body


def _resources(spec: DeploymentSpec) -> dict[str, Any]:
    asked = spec.resources
    limits = {"MemoryBytes": asked.memory, "Pids": PIDS}
    if asked.cpu_limit is not None:
        limits["NanoCPUs"] = round(asked.cpu_limit * _NANO)
    kept = {"MemoryBytes": asked.memory, "NanoCPUs": round(asked.cpu * _NANO)}
    return {"Limits": limits, "Reservations": kept}


def _placement(spec: DeploymentSpec) -> dict[str, Any]:
    labels = sorted(spec.placement.node_labels.items())
    placement: dict[str, Any] = {
        "Constraints": [f"node.labels.{key}=={value}" for key, value in labels]
    }
    if spec.placement.spread is Spread.ZONE:
        placement["Preferences"] = [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}]
    return placement


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
