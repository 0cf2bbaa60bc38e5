"""One replica as a container, in nobody's format; a target writes it in its own. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelworks.core.deployment import Revision, Wanted
from modelworks.ext.targets.containers import names
from modelworks.protocol.manifest.deployment import DeploymentSpec, Expose, SecretSource
from modelworks.protocol.manifest.server import (
    SECRETS,
    Places,
    secret_files,
    secret_variables,
    variables,
)

USER: Final = "10001:10001"
"""Whom the server runs as; the image's own user."""
SOCKET: Final = "/tmp/modelworks.sock"  # noqa: S108 - a tmpfs of the container's own
TMPFS: Final = "rw,noexec,nosuid,nodev,size=64m,mode=1777"
"""Options of `/tmp`, the only place that can be written to."""
PIDS: Final = 4096
"""Processes and threads of one replica."""
LOG: Final[Mapping[str, str]] = {"max-size": "10m", "max-file": "3"}
HEALTH: Final = ("python3", "-m", "modelworks.apps.health")
SERVER: Final = ("python3", "-m", "modelworks.apps.server")
RECORDS: Final = "/var/lib/modelworks/records"
"""Where the logger of a replica writes what is recorded."""
VARIABLES: Final = f"{SECRETS}/.variables"
"""Where secrets lie that are variables."""
IDLE: Final = (
    "python3",
    "-c",
    "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, {2, 15}); s.sigwait({2, 15})",
)
"""The program of a container that only holds a network: it waits for its end."""
KILLED_AFTER_S: Final = 5
"""More than a drain takes: who has not ended by itself then is killed."""
SYSCTLS: Final[Mapping[str, str]] = {"net.ipv4.tcp_migrate_req": "1"}
"""Of a network that replicas share: when one ends, connections that wait for it go to another.

The server lets nobody wait when it ends, but some kernels let it do so with privileges only.
"""
_PERIOD_US: Final = 100_000  # the kernel's usual one, of CPU quotas
_TOLD: Final = (
    "import os, pathlib, sys\n"
    "for one in pathlib.Path(sys.argv[1]).iterdir():\n"
    "    if one.is_file(): os.environ[one.name] = one.read_text()\n"
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where replicas answer; those of two revisions share it.

    Attributes:
        port: of the server, and of the machine.
        public: for other machines too.
        tls: it speaks TLS.
    """

    port: int
    public: bool
    tls: bool

    @property
    def name(self) -> str:
        """`8080-host`."""
        return f"{self.port}-{'public' if self.public else 'host'}"

    @property
    def listens(self) -> str:
        """On the machine."""
        return "0.0.0.0" if self.public else "127.0.0.1"  # noqa: S104 - it was asked for

    def url(self, host: str) -> str:
        """For people and programs."""
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of the engine's machine for what a container records.

    Attributes:
        folder: path.
        group: number of the group that takes it in, to which the container belongs too; "" = root
            does.
    """

    folder: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One replica.

    Attributes:
        deployment: its name.
        revision: number.
        image: by digest.
        pull: when the engine asks the registry for it.
        entrypoint: in place of the image's own; empty = the image's own.
        environment: no secret among them.
        labels: on the container.
        address: where it answers.
        files: path in the container -> where the secret lies that it is.
        limits: as the engine's API names them.
        probes: of the manifest, JSON.
        drain_s: for requests that it still has when it is to go.
        shelf: what is at `RECORDS`; None = nothing is recorded.
    """

    deployment: str
    revision: int
    image: str
    pull: str
    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    address: Address
    files: Mapping[str, SecretSource]
    limits: Mapping[str, int]
    probes: Mapping[str, Any]
    drain_s: int
    shelf: Shelf | None = None

    @property
    def stop_s(self) -> int:
        """Until it is killed."""
        return self.drain_s + KILLED_AFTER_S

    @property
    def sources(self) -> Mapping[str, Mapping[str, str]]:
        """`files` for people: what is said of each source."""
        said = {path: source.model_dump(mode="json") for path, source in self.files.items()}
        return {path: {k: v for k, v in one.items() if v} for path, one in said.items()}


def container_of(
    wanted: Wanted, revision: Revision, *, own_network: bool, shelf: Shelf | None = None
) -> Container:
    """A replica of a revision.

    Args:
        wanted: whose it is.
        revision: of which it is.
        own_network: it has one, or shares one that is not the machine's; else it listens there.
        shelf: for what it records, where it does.
    """
    spec = DeploymentSpec.model_validate(revision.spec)
    access = spec.access
    address = address_of(spec)
    listens = Places().host if own_network else address.listens
    shelf = shelf if spec.monitoring.records is not None else None
    places = Places(
        host=listens, unix=SOCKET, records=RECORDS if shelf else "", revision=revision.ref
    )
    hidden = {f"{VARIABLES}/{name}": source for name, source in secret_variables(spec).items()}
    files = {f"{SECRETS}/{one.name}": one.source for one in secret_files(spec)}
    limits = _limits(spec)
    return Container(
        deployment=wanted.name,
        revision=revision.number,
        image=revision.image,
        pull=spec.image.pull,
        entrypoint=("python3", "-c", _TOLD, VARIABLES, *SERVER) if hidden else (),
        environment=variables(spec, places, shared=True),
        labels={
            **wanted.labels,
            **_scraped(spec, access.port),
            **common_labels(wanted),
            names.REVISION: str(revision.number),
            names.DIGEST: revision.digest,
            names.NETWORK: address.name,
            names.LIMITS: json.dumps(limits, sort_keys=True),
        },
        address=address,
        files={**files, **hidden},
        limits=limits,
        probes=spec.probes.model_dump(mode="json"),
        drain_s=spec.strategy.drain_s,
        shelf=shelf,
    )


def address_of(spec: DeploymentSpec) -> Address:
    """Where a spec's replicas answer."""
    access = spec.access
    return Address(access.port, access.expose is Expose.PUBLIC, access.certificate is not None)


def common_labels(wanted: Wanted) -> dict[str, str]:
    """On everything of a deployment."""
    said = {names.DESCRIPTION: wanted.description} if wanted.description else {}
    return {**said, names.DEPLOYMENT: wanted.name}


def health(container: Container) -> dict[str, Any]:
    """The health check as the engine's API has it; times in ns."""
    probes = container.probes
    return {
        "Test": ["CMD", *HEALTH],
        "Interval": probes["period_s"] * 10**9,
        "Timeout": probes["timeout_s"] * 10**9,
        "StartPeriod": probes["startup_timeout_s"] * 10**9,
        "Retries": probes["failures"],
    }


def _limits(spec: DeploymentSpec) -> dict[str, int]:
    resources = spec.resources
    limit = resources.cpu_limit
    return {
        "Memory": resources.memory,
        "MemorySwap": resources.memory,  # both together: no swap
        "CpuShares": max(2, round(resources.cpu * 1024)),  # fewer are refused
        "CpuPeriod": _PERIOD_US if limit else 0,
        "CpuQuota": round(limit * _PERIOD_US) if limit else 0,
    }


def _scraped(spec: DeploymentSpec, port: int) -> dict[str, str]:
    """For Prometheus's discovery of containers, which knows labels only."""
    if not spec.monitoring.metrics:
        return {}
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": "/metrics",
    }
