"""A deployment as a Compose file. Pure."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from modelworks.core.deployment import Rendered, Wanted
from modelworks.ext.targets.containers import names
from modelworks.ext.targets.containers.container import (
    HEALTH,
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
)

FILE: Final = "compose.yaml"
SECRETS: Final = "secrets"
"""Folder beside the file: one below it for each revision."""
_PULLS: Final = {"missing": "if_not_present"}  # the one name that both versions know


def project(deployment: str) -> str:
    """What Compose calls all of it."""
    return f"{names.PREFIX}{deployment}"


def service(revision: int) -> str:
    """Of a revision."""
    return f"r{revision}"


def compose(wanted: Wanted, containers: Mapping[int, Container], *, host: bool) -> dict[str, Any]:
    """The file, as values.

    Args:
        wanted: whose it is.
        containers: a replica of each revision, by its number.
        host: replicas use the machine's own network.
    """
    services: dict[str, Any] = {}
    hidden: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for share in wanted.shares:
        one = containers[share.revision.number]
        holder = f"network-{one.address.name}"
        if not host:
            services.setdefault(holder, _network(wanted, one))
        services[service(one.revision)] = _replica(one, "host" if host else f"service:{holder}") | {
            "deploy": {"replicas": share.replicas}
        }
        for path in one.files:
            hidden[_secret(one, path)] = {"file": f"./{secret_path(one, path)}"}
        if one.files:
            said[service(one.revision)] = {
                path: dict(source) for path, source in one.sources.items()
            }
    file: dict[str, Any] = {"services": services}
    if hidden:
        # Where they come from: `apply` puts them beside this file, never into it.
        file = {**file, "secrets": hidden, "x-modelworks-secrets": said}
    escaped: dict[str, Any] = _escaped(file)
    return escaped


def render(wanted: Wanted, *, host: bool, shelf: Shelf) -> tuple[Rendered, ...]:
    """One file.

    Args:
        wanted: of the target.
        host: replicas use the machine's own network.
        shelf: for what the deployment records.
    """
    containers = {
        share.revision.number: container_of(
            wanted, share.revision, own_network=not host, shelf=shelf
        )
        for share in wanted.shares
    }
    return (Rendered(FILE, text(compose(wanted, containers, host=host))),)


def text(file: Mapping[str, Any]) -> str:
    """As YAML."""
    return yaml.safe_dump(dict(file), sort_keys=True, width=1000, allow_unicode=True)


def secret_path(container: Container, path: str) -> str:
    """Of the file that is bound to a path in a container; relative to the Compose file."""
    return f"{SECRETS}/{container.revision}/{_flat(path)}"


def _secret(container: Container, path: str) -> str:
    return f"{service(container.revision)}-{_flat(path)}"


def _flat(path: str) -> str:
    """A secret that is a variable, and one that is a file, may have one name."""
    where = PurePosixPath(path)
    return f"variable-{where.name}" if where.parent.name == ".variables" else where.name


def _replica(container: Container, mode: str) -> dict[str, Any]:
    limits, probes = container.limits, container.probes
    body: dict[str, Any] = {
        **_hardened(mode),
        "image": container.image,
        "pull_policy": _PULLS.get(container.pull, container.pull),
        "environment": dict(container.environment),
        "labels": dict(container.labels),
        "stop_signal": "SIGTERM",
        "stop_grace_period": f"{container.stop_s}s",
        "mem_limit": limits["Memory"],
        "memswap_limit": limits["MemorySwap"],
        "cpu_shares": limits["CpuShares"],
        "healthcheck": {
            "test": ["CMD", *HEALTH],
            "interval": f"{probes['period_s']}s",
            "timeout": f"{probes['timeout_s']}s",
            "start_period": f"{probes['startup_timeout_s']}s",
            "retries": probes["failures"],
        },
    }
    if limits["CpuQuota"]:
        body |= {"cpu_period": limits["CpuPeriod"], "cpu_quota": limits["CpuQuota"]}
    if container.entrypoint:
        body["entrypoint"] = list(container.entrypoint)
    if container.files:
        body["secrets"] = [
            {"source": _secret(container, path), "target": path} for path in container.files
        ]
    if shelf := container.shelf:
        body["volumes"] = [{"type": "bind", "source": shelf.folder, "target": RECORDS}]
        if shelf.group:
            body["group_add"] = [shelf.group]
    return body


def _network(wanted: Wanted, container: Container) -> dict[str, Any]:
    address = container.address
    listens = "" if address.public else f"{address.listens}:"
    return {
        **_hardened("bridge"),
        "image": container.image,
        "pull_policy": _PULLS["missing"],
        "entrypoint": list(IDLE),
        "labels": {**wanted.labels, **common_labels(wanted), names.NETWORK: address.name},
        "ports": [f"{listens}{address.port}:{address.port}"],
        "mem_limit": 64 << 20,
        "memswap_limit": 64 << 20,
        "sysctls": dict(SYSCTLS),
        "healthcheck": {"disable": True},
    }


def _hardened(mode: str) -> dict[str, Any]:
    return {
        "user": USER,
        "network_mode": mode,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "tmpfs": [f"/tmp:{TMPFS}"],  # noqa: S108 - the container's own
        "pids_limit": PIDS,
        "restart": "unless-stopped",
        "logging": {"driver": "json-file", "options": dict(LOG)},
    }


def _escaped(value: Any) -> Any:
    """With every `$` doubled: Compose would put variables in."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return value
