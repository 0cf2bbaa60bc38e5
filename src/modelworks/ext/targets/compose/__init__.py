"""The target `compose`: a Compose file, and Docker Compose to run it.

A service for each revision, and a small one whose network they join and that has the port
published, so that two revisions answer at one address.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from modelworks.core.deployment import Capability, emulated
from modelworks.ext.targets.compose.opened import OpenCompose
from modelworks.ext.targets.containers.bound import Bound
from modelworks.ext.targets.containers.engine import SETTINGS, Engine, known, network_of
from modelworks.ext.targets.containers.kept import Kept
from modelworks.ext.targets.containers.table import PLAIN


class ComposeTarget:
    """See the module."""

    name: ClassVar[str] = "compose"
    extra: ClassVar[str] = "compose"
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
        "image.pull": emulated("pull_policy, and asked for before Compose runs: version 1 may not"),
    }
    routes: ClassVar[Mapping[str, Capability]] = {}

    def open(self, settings: Mapping[str, str], folder: Path) -> OpenCompose:
        """See `Target.open`; engine and Compose are looked for when they are first needed."""
        known(settings, self.settings)
        host = network_of(settings, ("bridge", "host")) == "host"
        return OpenCompose(Engine(settings), Kept(folder), Bound(folder), host=host)
