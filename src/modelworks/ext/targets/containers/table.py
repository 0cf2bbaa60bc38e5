"""What becomes of the fields of a manifest on every engine."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from modelworks.core.deployment import Capability, emulated, honoured, refused
from modelworks.protocol.manifest.server import RECORD_FIELDS, SERVER_FIELDS

SMALLEST: Final = 6 << 20
"""Bytes of memory; engines refuse less."""
SOURCES: Final = ("secrets[].source", "access.keys", "access.certificate", "access.private_key")
_NONE: Final = "an engine without Swarm keeps no secrets: say file or variable"
_SCALES: Final = "an engine starts as many as it is told to: say replicas"


def _memory(value: Any, _spec: Mapping[str, Any]) -> str:
    if value < SMALLEST:
        return f"{value} bytes: an engine wants {SMALLEST} at least"
    return ""


def _limit(value: Any, _spec: Mapping[str, Any]) -> str:
    if value is not None and value < 0.01:
        return f"{value:g} cores: an engine wants 0.01 at least"
    return ""


def _taken_in(_value: Any, spec: Mapping[str, Any]) -> str:
    if spec["monitoring"]["records"] is None:
        return ""
    host = spec["target"]["settings"].get("host", "")
    if host and urlsplit(host).scheme not in {"unix", "http+unix"}:
        return (
            "records would lie on the engine's machine, where no worker takes them in: run the "
            "reconciler there, with the engine's socket"
        )
    return ""


def _act(value: Any, _spec: Mapping[str, Any]) -> str:
    if value == "tokenize":
        return "a container does not get the vault of all tokens: say hash, or deploy on local"
    return ""


TABLE: Final[Mapping[str, Capability]] = {
    **SERVER_FIELDS,
    "image.repository": honoured("of the image's name"),
    "image.digest": honoured("of the image's name"),
    "replicas": honoured("so many containers"),
    **{
        f"autoscaling.{name}": refused(_SCALES)
        for name in ("min", "max", "metric", "goal", "scale_down_after_s")
    },
    "resources.cpu_limit": honoured("CpuQuota of the container", _limit),
    "resources.memory": honoured(
        "memory limit of the container, without swap, and the server's --memory-limit", _memory
    ),
    "resources.gpu": refused("the engines in our images run on the CPU"),
    "environment": honoured("variables of the container; `docker inspect` shows them"),
    "secrets[].name": honoured("name of the file or the variable"),
    "secrets[].mount": honoured(
        "a file in /run/secrets that user 10001 alone reads; without it a file that the server's "
        "process takes as a variable, so that `docker inspect` does not show it: the image's entry "
        "point is then `python3 -m modelworks.apps.server`"
    ),
    "probes.startup_timeout_s": honoured("start period of the health check"),
    "probes.period_s": honoured("interval of the health check"),
    "probes.timeout_s": honoured("timeout of the health check"),
    "strategy.drain_s": honoured("the server's --drain-seconds, and 5 s later the container's end"),
    "monitoring.metrics": honoured(
        "labels prometheus.io/scrape, port and path, for Prometheus's discovery; a scrape reaches "
        "one of the replicas"
    ),
}
"""What all engines do alike."""

PLAIN: Final[Mapping[str, Capability]] = {
    **TABLE,
    **RECORD_FIELDS,
    "monitoring.records.sample": honoured(
        "the server's --record-policy; the worker of this machine takes in what its logger keeps "
        "in a folder that is bound into the container",
        _taken_in,
    ),
    "monitoring.records.fields[].act": honoured("by the logger in the container", _act),
    "resources.cpu": emulated("CpuShares: a weight where cores are scarce, none are kept"),
    "probes.failures": emulated(
        "retries of the health check; after three times as many the reconciler puts another "
        "container in its place"
    ),
    "placement.node_labels": refused("there is one machine"),
    "placement.spread": refused("there is one machine"),
    "access.expose": honoured("the address of the published port: 127.0.0.1, or all"),
    "strategy.max_surge": emulated("by the reconciler"),
    **{
        f"{source}.{name}": capability
        for source in SOURCES
        for name, capability in {
            "file": honoured("read where the reconciler runs when it is applied"),
            "variable": honoured("of the reconciler, read when it is applied"),
            "secret": refused(_NONE),
            "key": refused(_NONE),
        }.items()
    },
}
"""Of engines that are no Swarm."""
