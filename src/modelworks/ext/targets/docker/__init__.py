"""The target `docker`: containers on one engine, by its API.

Replicas of a deployment answer at one port: they join the network of a small container that has it
published, and share the port among themselves (`SO_REUSEPORT`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from modelworks.core.deployment import Capability, honoured
from modelworks.ext.targets.containers.bound import Bound
from modelworks.ext.targets.containers.engine import SETTINGS, Engine, known, network_of
from modelworks.ext.targets.containers.kept import Kept
from modelworks.ext.targets.containers.table import PLAIN
from modelworks.ext.targets.docker.opened import OpenDocker
from modelworks.ext.targets.docker.render import HOST


class DockerTarget:
    """See the module."""

    name: ClassVar[str] = "docker"
    extra: ClassVar[str] = "docker"
    experimental: ClassVar[bool] = True
    images: ClassVar[bool] = True
    rolls: ClassVar[bool] = False
    nearby: ClassVar[bool] = True
    settings: ClassVar[Mapping[str, str]] = {
        **SETTINGS,
        "network": "bridge (a published port), or host: replicas listen on the machine itself",
    }
    capabilities: ClassVar[Mapping[str, Capability]] = {
        **PLAIN,
        "image.pull": honoured("asked for before a container is made"),
    }
    routes: ClassVar[Mapping[str, Capability]] = {}

    def open(self, settings: Mapping[str, str], folder: Path) -> OpenDocker:
        """See `Target.open`; the engine is reached when it is first asked."""
        known(settings, self.settings)
        host = network_of(settings, ("bridge", HOST)) == HOST
        return OpenDocker(Engine(settings), Kept(folder), Bound(folder), host=host)
