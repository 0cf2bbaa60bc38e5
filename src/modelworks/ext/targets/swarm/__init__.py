"""The target `swarm`: one service of a Docker Swarm for each deployment.

Swarm replaces revisions itself, the new task ready before the old one goes (`start-first`); with
the machine's own network both share the port meanwhile, as they do on the other engines.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from modelworks.core.deployment import Capability, emulated, honoured, refused
from modelworks.ext.targets.containers.engine import SETTINGS, Engine, known, network_of
from modelworks.ext.targets.containers.table import SOURCES, TABLE
from modelworks.ext.targets.swarm.opened import OpenSwarm
from modelworks.ext.targets.swarm.render import HOST, label_trouble
from modelworks.protocol.manifest.server import RECORDS

_UNTAKEN: Final = (
    "records would lie on the nodes that tasks run on, where no worker takes them in: leave "
    "records out here, and record what is deployed on local, docker or compose"
)


def _node_labels(value: Any, _spec: Mapping[str, Any]) -> str:
    return label_trouble(value)


class SwarmTarget:
    """See the module."""

    name: ClassVar[str] = "swarm"
    extra: ClassVar[str] = "swarm"
    experimental: ClassVar[bool] = True
    images: ClassVar[bool] = True
    rolls: ClassVar[bool] = True
    nearby: ClassVar[bool] = True
    settings: ClassVar[Mapping[str, str]] = {
        **SETTINGS,
        "network": "host (replicas listen on their nodes), or ingress: the routing mesh publishes "
        "the port on every node, which takes access.expose public",
    }
    capabilities: ClassVar[Mapping[str, Capability]] = {
        **TABLE,
        **dict.fromkeys(RECORDS, refused(_UNTAKEN)),
        "image.pull": refused("a node pulls what it has not, and an image by digest never changes"),
        "resources.cpu": honoured("reserved for the task"),
        "probes.failures": emulated(
            "retries of the health check; Swarm then starts another task in its place at once, not "
            "after three times as many"
        ),
        "placement.node_labels": honoured("constraints on node.labels", _node_labels),
        "placement.spread": emulated(
            "zone: a preference to spread over node.labels.zone; host: Swarm does so anyway, and a "
            "label says that it was asked for"
        ),
        "access.expose": honoured("the address that replicas listen on; the mesh is public"),
        "strategy.max_surge": honoured("tasks that are replaced at once, each started first"),
        **{
            f"{source}.{name}": capability
            for source in SOURCES
            for name, capability in {
                "file": honoured("read where the reconciler runs; a secret of Swarm from then on"),
                "variable": honoured("of the reconciler; a secret of Swarm from then on"),
                "secret": honoured("a secret of Swarm"),
                "key": refused("a secret of Swarm has no keys"),
            }.items()
        },
    }
    routes: ClassVar[Mapping[str, Capability]] = {}

    def open(self, settings: Mapping[str, str], folder: Path) -> OpenSwarm:  # noqa: ARG002 - Swarm keeps everything
        """See `Target.open`; the engine, a manager, is reached when it is first asked."""
        known(settings, self.settings)
        host = network_of(settings, (HOST, "ingress")) == HOST
        return OpenSwarm(Engine(settings), host=host)
