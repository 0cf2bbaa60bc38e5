"""The target `kubernetes`."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from modelworks.core.deployment import Capability
from modelworks.ext.targets.kubernetes.capabilities import FIELDS, ROUTES
from modelworks.ext.targets.kubernetes.opened import OpenKubernetes
from modelworks.ext.targets.kubernetes.settings import KNOWN, read


class KubernetesTarget:
    """A namespace of a cluster, 1.25 or later. It rolls revisions by itself."""

    name: ClassVar[str] = "kubernetes"
    extra: ClassVar[str] = "kubernetes"
    experimental: ClassVar[bool] = True  # no cluster was at hand: see docs/kubernetes.md
    images: ClassVar[bool] = True
    rolls: ClassVar[bool] = True
    nearby: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = KNOWN
    capabilities: ClassVar[Mapping[str, Capability]] = FIELDS
    routes: ClassVar[Mapping[str, Capability]] = ROUTES

    def open(self, settings: Mapping[str, str], folder: Path) -> OpenKubernetes:
        """Nobody is asked yet: objects can be rendered where no cluster can be reached."""
        del folder  # the cluster keeps what there is to keep
        return OpenKubernetes(read(settings))
