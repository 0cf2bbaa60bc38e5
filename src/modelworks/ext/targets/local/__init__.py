"""The target `local`: servers as processes of this machine, under a supervisor a deployment.

Replicas share the port (`SO_REUSEPORT`); the supervisor goes on when who applied it has ended, and
is found again by its files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from modelworks.core.deployment import Capability
from modelworks.core.errors import InvalidError
from modelworks.ext.targets.local.opened import OpenLocal
from modelworks.ext.targets.local.table import TABLE


class LocalTarget:
    """See the module."""

    name: ClassVar[str] = "local"
    extra: ClassVar[str] = ""
    experimental: ClassVar[bool] = False
    images: ClassVar[bool] = False
    rolls: ClassVar[bool] = False
    nearby: ClassVar[bool] = True
    settings: ClassVar[Mapping[str, str]] = {}
    capabilities: ClassVar[Mapping[str, Capability]] = TABLE
    routes: ClassVar[Mapping[str, Capability]] = {}

    def open(self, settings: Mapping[str, str], folder: Path) -> OpenLocal:
        """See `Target.open`."""
        for name in settings:
            raise InvalidError(
                f"target.settings.{name}: 'local' has no settings",
                field=f"target.settings.{name}",
            )
        return OpenLocal(folder)
