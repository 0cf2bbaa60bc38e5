"""What becomes of the fields of a manifest on a plain machine."""

from collections.abc import Mapping
from typing import Any, Final

from modelworks.core.deployment import Capability, emulated, honoured, refused
from modelworks.protocol.manifest.server import RECORD_FIELDS, SERVER_FIELDS

_SMALLEST: Final = 64 << 20
_SOURCES: Final = ("secrets[].source", "access.keys", "access.certificate", "access.private_key")
_NO_IMAGES: Final = "processes of this machine have no container image: leave it out here"
_SCALES: Final = "nothing here starts more of them by itself: say replicas"
_ONE: Final = "there is one machine here"
_NONE: Final = "a plain machine keeps no secrets: say file or variable"


def _memory(value: Any, _spec: Mapping[str, Any]) -> str:
    if value < _SMALLEST:
        return f"{value >> 20} MiB: a server without any model has 64"
    return ""


def _whole(value: Any, _spec: Mapping[str, Any]) -> str:
    if value is not None and value != int(value):
        return f"{value:g}: processes are kept on whole cores here"
    return ""


TABLE: Final[Mapping[str, Capability]] = {
    **SERVER_FIELDS,
    **RECORD_FIELDS,
    "image.repository": refused(_NO_IMAGES),
    "image.digest": refused(_NO_IMAGES),
    "image.pull": refused(_NO_IMAGES),
    "replicas": honoured("so many servers that share the port"),
    **{
        f"autoscaling.{name}": refused(_SCALES)
        for name in ("min", "max", "metric", "goal", "scale_down_after_s")
    },
    "resources.cpu": emulated("a machine with fewer cores is refused; none are kept free for it"),
    "resources.cpu_limit": emulated("the server's processes are bound to so many cores", _whole),
    "resources.memory": emulated(
        "the server's --memory-limit; a replica that holds more, looked at every second, is ended "
        "and started anew",
        _memory,
    ),
    "resources.gpu": refused("our engines run on the CPU here"),
    "environment": honoured(
        "variables of the server's process, which has no others of the reconciler's than PATH, "
        "HOME, LANG and their like"
    ),
    "secrets[].name": honoured("name of the file or the variable"),
    **{
        f"{source}.{name}": honoured(f"{how}, read as it is applied")
        for source in _SOURCES
        for name, how in (
            ("file", "a file of this machine"),
            ("variable", "a variable of the reconciler"),
        )
    },
    **{f"{source}.{name}": refused(_NONE) for source in _SOURCES for name in ("secret", "key")},
    "secrets[].mount": emulated(
        "a file of mode 0600 in a folder of the deployment that its user alone can enter, removed "
        "with the revision; without it one that the supervisor makes a variable of"
    ),
    "probes.startup_timeout_s": emulated("by the supervisor, on the replica's own Unix socket"),
    "probes.period_s": emulated("by the supervisor"),
    "probes.timeout_s": emulated("by the supervisor"),
    "probes.failures": emulated(
        "by the supervisor; a replica that hangs gets its share of connections until it is started "
        "anew"
    ),
    "strategy.max_surge": emulated("by the reconciler"),
    "strategy.drain_s": honoured("the server's --drain-seconds, and 5 s later its end"),
    "placement.node_labels": refused(_ONE),
    "placement.spread": refused(_ONE),
    "access.expose": honoured("host: the servers listen on 127.0.0.1; public: on every address"),
    "monitoring.metrics": emulated(
        "prometheus.json in the deployment's folder, for Prometheus's file_sd_configs; a scrape "
        "reaches one of the replicas"
    ),
}
"""Every leaf of a spec but those of the house."""
