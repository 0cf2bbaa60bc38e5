"""A deployment as bodies of the Docker Engine's API (`POST /containers/create`). Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from modelworks.core.deployment import Rendered, Wanted
from modelworks.ext.targets.containers import names
from modelworks.ext.targets.containers.container import (
    IDLE,
    LOG,
    PIDS,
    RECORDS,
    SYSCTLS,
    TMPFS,
    USER,
    Container,
    Shelf,
    common_labels,
    container_of,
    health,
)
from modelworks.protocol.manifest.server import SECRETS

HOST: Final = "host"
_RESTART: Final = {"Name": "unless-stopped", "MaximumRetryCount": 0}


def replica(container: Container, network: str) -> dict[str, Any]:
    """The body of one replica.

    Args:
        container: of it.
        network: `host`, or the name of the container whose network it joins.
    """
    body: dict[str, Any] = {
        **_hardened(container.limits, network if network == HOST else f"container:{network}"),
        "Image": container.image,
        "Env": [f"{key}={value}" for key, value in sorted(container.environment.items())],
        "Labels": dict(container.labels),
        "StopSignal": "SIGTERM",
        "StopTimeout": container.stop_s,
        "Healthcheck": health(container),
    }
    if container.entrypoint:
        body["Entrypoint"] = list(container.entrypoint)
    mounts: list[dict[str, Any]] = []
    if container.files:
        volume = names.secrets(container.deployment, container.revision)
        mounts.append({"Type": "volume", "Source": volume, "Target": SECRETS, "ReadOnly": True})
    if shelf := container.shelf:
        mounts.append({"Type": "bind", "Source": shelf.folder, "Target": RECORDS})
        if shelf.group:
            body["HostConfig"]["GroupAdd"] = [shelf.group]
    if mounts:
        body["HostConfig"]["Mounts"] = mounts
    return body


def network(wanted: Wanted, container: Container) -> dict[str, Any]:
    """The body of the container whose network replicas at one address share."""
    address = container.address
    port = f"{address.port}/tcp"
    body = _hardened({"Memory": 64 << 20, "MemorySwap": 64 << 20}, "bridge")
    body["HostConfig"]["Sysctls"] = dict(SYSCTLS)
    # An empty HostIp is every address of both kinds, where the machine has both.
    binding = {"HostIp": "" if address.public else address.listens, "HostPort": str(address.port)}
    body["HostConfig"]["PortBindings"] = {port: [binding]}
    return {
        **body,
        "Image": container.image,
        "Entrypoint": list(IDLE),
        "ExposedPorts": {port: {}},
        "Labels": {**wanted.labels, **common_labels(wanted), names.NETWORK: address.name},
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["NONE"]},
    }


def render(wanted: Wanted, *, host: bool, shelf: Shelf) -> tuple[Rendered, ...]:
    """Every container, as a file of JSON each: how many of it, its body, where its secrets lie.

    Args:
        wanted: of the target.
        host: replicas use the machine's own network.
        shelf: for what the deployment records.
    """
    found: dict[str, Any] = {}
    for share in wanted.shares:
        one = container_of(wanted, share.revision, own_network=not host, shelf=shelf)
        joined = names.network(wanted.name, one.address.name)
        if not host:
            found.setdefault(joined, {"create": network(wanted, one)})
        found[f"{names.PREFIX}{share.revision.name}"] = {
            "replicas": share.replicas,
            "pull": one.pull,
            "create": replica(one, HOST if host else joined),
            "secrets": one.sources,
        }
    return tuple(
        Rendered(f"{name}.json", json.dumps(said, indent=2, sort_keys=True) + "\n")
        for name, said in sorted(found.items())
    )


def _hardened(limits: Mapping[str, int], mode: str) -> dict[str, Any]:
    """What every container of ours is held to."""
    return {
        "User": USER,
        "HostConfig": {
            **limits,
            "NetworkMode": mode,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": {"/tmp": TMPFS},  # noqa: S108 - the container's own
            "PidsLimit": PIDS,
            "RestartPolicy": dict(_RESTART),
            "LogConfig": {"Type": "json-file", "Config": dict(LOG)},
        },
    }
