"""A deployment as the files that its supervisor reads. Pure."""

import json
from pathlib import Path
from typing import Final

from modelworks.core import codec
from modelworks.core.deployment import Rendered, Revision, Share, Wanted
from modelworks.core.local import LocalShare, LocalWanted, Probes
from modelworks.core.local_folder import Layout
from modelworks.core.served import ServedList
from modelworks.protocol.manifest.deployment import DeploymentSpec, Expose, SecretSource
from modelworks.protocol.manifest.server import (
    Places,
    secret_files,
    secret_variables,
    variables,
)

_HOSTS: Final = {Expose.HOST: "127.0.0.1", Expose.PUBLIC: "0.0.0.0"}  # noqa: S104 - it was asked for
PROMETHEUS: Final = "prometheus.json"


def wanted_of(wanted: Wanted, folder: Path, records: Path) -> LocalWanted:
    """What the supervisor is told.

    Args:
        wanted: of the target.
        folder: of the deployment.
        records: folder of the records of this machine.
    """
    layout = Layout(folder)
    found = LocalWanted(
        name=wanted.name,
        shares=tuple(_share(share, layout, records) for share in wanted.shares),
        labels=dict(wanted.labels),
        description=wanted.description,
        url=_url(wanted.shares[0].revision),
    )
    return LocalWanted(
        name=found.name,
        shares=found.shares,
        labels=found.labels,
        description=found.description,
        url=found.url,
        digest=found.own(),
    )


def render(wanted: Wanted, folder: Path, records: Path) -> tuple[Rendered, ...]:
    """All files, but secrets."""
    layout = Layout(folder)
    found = [Rendered(layout.wanted.name, wanted_of(wanted, folder, records).text())]
    for share in wanted.shares:
        path = layout.served(share.revision.number).relative_to(folder)
        found.append(Rendered(path.as_posix(), _served(share.revision)))
    if spec_of(wanted.shares[0].revision).monitoring.metrics:
        found.append(Rendered(PROMETHEUS, _prometheus(wanted)))
    return tuple(found)


def spec_of(revision: Revision) -> DeploymentSpec:
    """Typed."""
    return DeploymentSpec.model_validate(revision.spec)


def _share(share: Share, layout: Layout, records: Path) -> LocalShare:
    revision = share.revision
    spec, number = spec_of(revision), revision.number
    host = _HOSTS[spec.access.expose]
    places = Places(
        host=host,
        served=str(layout.served(number)),
        secrets=str(layout.secrets(number)),
        records=str(records),
        revision=revision.ref,
    )
    limit = spec.resources.cpu_limit
    return LocalShare(
        revision=number,
        replicas=share.replicas,
        model=revision.model,
        environment=variables(spec, places, shared=True),
        secrets={name: _said(source) for name, source in secret_variables(spec).items()},
        files={one.name: _said(one.source) for one in secret_files(spec)},
        cpu=spec.resources.cpu,
        cores=0 if limit is None else int(limit),
        memory_bytes=spec.resources.memory,
        host=host,
        port=spec.access.port,
        probes=Probes(
            startup_s=float(spec.probes.startup_timeout_s),
            period_s=float(spec.probes.period_s),
            timeout_s=float(spec.probes.timeout_s),
            failures=spec.probes.failures,
        ),
        drain_s=float(spec.strategy.drain_s),
    )


def _said(source: SecretSource) -> str:
    return f"variable:{source.variable}" if source.variable else f"file:{source.file}"


def _served(revision: Revision) -> str:
    served = ServedList(generation=revision.number, models=(revision.model,))
    return json.dumps(codec.encode(served), indent=1) + "\n"


def _url(revision: Revision) -> str:
    access = spec_of(revision).access
    scheme = "https" if access.certificate is not None else "http"
    return f"{scheme}://127.0.0.1:{access.port}"


def _prometheus(wanted: Wanted) -> str:
    scheme, _, address = _url(wanted.shares[0].revision).partition("://")
    labels = {"deployment": wanted.name, "__scheme__": scheme}
    return json.dumps([{"targets": [address], "labels": labels}], indent=1) + "\n"
