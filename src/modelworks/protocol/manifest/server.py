"""What a deployment's spec says to the model server: the same on every target.

A replica is told by its environment (`MODELWORKS_SERVER_...`), so that one image serves every
deployment of a version.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelworks.core import codec, instances
from modelworks.core.deployment import Capability, honoured
from modelworks.core.instances import CPU, Instances
from modelworks.protocol.manifest.deployment import (
    Access,
    Batching,
    DeploymentSpec,
    SecretSource,
)
from modelworks.protocol.manifest.kept import Cache, Sequences
from modelworks.protocol.manifest.leaves import fields
from modelworks.protocol.manifest.monitoring import Records

PREFIX: Final = "MODELWORKS_SERVER_"
SECRETS: Final = "/run/secrets"
"""Where a container finds its secrets as files."""
KEYS: Final = "modelworks-keys"
CERTIFICATE: Final = "modelworks-tls.crt"
PRIVATE_KEY: Final = "modelworks-tls.key"
_BATCHING: Final = Batching()


def _device(value: Any, spec: Mapping[str, Any]) -> str:
    """A device that the deployment has not asked for is not there."""
    if value == CPU:
        return ""
    wanted, found = Instances(value).number + 1, spec["resources"]["gpu"]
    if found >= wanted:
        return ""
    return (
        f"{value}: a replica is given {found} GPUs: say resources.gpu: {wanted} or more, on a "
        "target that has them (kubernetes); or device: cpu"
    )


SERVER_FIELDS: Final[Mapping[str, Capability]] = {
    "server.workers": honoured("the server's --workers"),
    "server.threads": honoured("the server's --threads"),
    "server.isolation": honoured("the server's --isolation"),
    "server.instances[].device": honoured("the server's --instances", _device),
    "server.instances[].count": honoured("the server's --instances"),
    **{
        f"batching.{name}": honoured(f"the server's --{name.replace('_', '-')}")
        for name in Batching.model_fields
    },
    **{f"cache.{name}": honoured("the server's --cache") for name in fields(Cache)},
    **{f"sequences.{name}": honoured("the server's --sequences") for name in fields(Sequences)},
    "access.port": honoured("the server's --port"),
    "monitoring.access_log": honoured("the server's --access-log -"),
}
"""What the server itself does, wherever it runs."""
RECORDS: Final = tuple(f"monitoring.records.{name}" for name in fields(Records))
"""Leaves of what is recorded: honoured where a worker of this machine finds the records."""
RECORD_FIELDS: Final[Mapping[str, Capability]] = {
    **dict.fromkeys(RECORDS, honoured("the server's --record-policy, kept by its logger")),
    "monitoring.records.retention_days": honoured(
        "the worker deletes what is older; of several deployments of a model the fewest days count"
    ),
}
"""The same where it is."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a replica finds what it needs; what is empty is not told.

    Attributes:
        host: to listen on.
        served: the list to follow.
        unix: a socket of the replica's own, for health checks: its port may be shared.
        secrets: folder of secrets that are files.
        records: folder of records.
        revision: `fraud/3`, for records.
    """

    host: str = "0.0.0.0"  # noqa: S104 - a container's own network
    served: str = ""
    unix: str = ""
    secrets: str = SECRETS
    records: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A secret that a replica reads as a file.

    Attributes:
        name: of the file.
        source: where its content lies.
    """

    name: str
    source: SecretSource


def variables(spec: DeploymentSpec, places: Places, *, shared: bool = False) -> dict[str, str]:
    """The environment of a replica: the server's settings, then the manifest's own variables.

    Args:
        spec: of a revision.
        places: on the target.
        shared: other replicas listen on the same port of the same network.
    """
    told = {
        "HOST": places.host,
        "PORT": spec.access.port,
        "WORKERS": spec.server.workers,
        "THREADS": spec.server.threads,
        "ISOLATION": spec.server.isolation.value,
        "INSTANCES": instances.told(
            Instances(one.device, one.count) for one in spec.server.instances
        ),
        "DRAIN_SECONDS": spec.strategy.drain_s,
        "MEMORY_LIMIT": spec.resources.memory,
        "SERVED": places.served,
        "UNIX": places.unix,
        "SHARE_PORT": "1" if shared else "",
        "ACCESS_LOG": "-" if spec.monitoring.access_log else "",
        **_access(spec.access, places.secrets),
        **_records(spec.monitoring.records, places),
        **_batching(spec.batching),
        "CACHE": _json(spec.cache),
        "SEQUENCES": _json(spec.sequences),
    }
    own = {f"{PREFIX}{name}": str(value) for name, value in told.items() if value != ""}
    mounted = {f"{s.name}_FILE": f"{places.secrets}/{s.name}" for s in spec.secrets if s.mount}
    return {**own, **spec.environment, **mounted}


def secret_files(spec: DeploymentSpec) -> tuple[SecretFile, ...]:
    """Every secret that is a file in `Places.secrets`, those of `access` among them."""
    return tuple(_secret_files(spec))


def secret_variables(spec: DeploymentSpec) -> Mapping[str, SecretSource]:
    """Every secret that becomes a variable, by its name."""
    return {s.name: s.source for s in spec.secrets if not s.mount}


def _secret_files(spec: DeploymentSpec) -> Iterator[SecretFile]:
    for secret in spec.secrets:
        if secret.mount:
            yield SecretFile(secret.name, secret.source)
    access = spec.access
    for name, source in (
        (KEYS, access.keys),
        (CERTIFICATE, access.certificate),
        (PRIVATE_KEY, access.private_key),
    ):
        if source is not None:
            yield SecretFile(name, source)


def _access(access: Access, folder: str) -> Mapping[str, str]:
    return {
        "KEYS": f"{folder}/{KEYS}" if access.keys else "",
        "TLS_CERT": f"{folder}/{CERTIFICATE}" if access.certificate else "",
        "TLS_KEY": f"{folder}/{PRIVATE_KEY}" if access.private_key else "",
    }


def _records(records: Records | None, places: Places) -> Mapping[str, str]:
    """The policy in so many words: a list or a file of it would be another one in each image."""
    if records is None or not places.records:
        return {}
    policy = json.dumps(codec.encode(records.policy), separators=(",", ":"))
    return {"RECORDS": places.records, "RECORD_POLICY": policy, "REVISION": places.revision}


def _json(part: Cache | Sequences | None) -> str:
    """As the server reads it."""
    if part is None:
        return ""
    return json.dumps(part.model_dump(mode="json"), separators=(",", ":"))


def _batching(batching: Batching) -> Mapping[str, Any]:
    """Those that are not as they are anyway."""
    return {
        name.upper(): getattr(batching, name)
        for name in Batching.model_fields
        if getattr(batching, name) != getattr(_BATCHING, name)
    }
