"""What a manifest says of a cluster: `target.settings`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_RESOURCE: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]*)")
_SWITCH: Final = {"true": True, "false": False}
ROUTERS: Final = ("gateway", "istio")

KNOWN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "kubeconfig": "file that says where the cluster is; as kubectl finds it where left out",
        "context": "of that file; its current one where left out",
        "namespace": "where the objects live; `default` where left out",
        "pull_secret": "name of the secret that images are pulled with",
        "gpu_resource": "what a GPU is called there; `nvidia.com/gpu` where left out",
        "keda": "`true`: KEDA is there and scales by requests",
        "prometheus": "URL at which KEDA asks Prometheus, from within the cluster",
        "service_monitor": "`true`: the Prometheus operator is there, and gets a ServiceMonitor",
        "network_policy": "`false`: no NetworkPolicy is made",
        "egress": "`true`: pods may connect to others; else they only answer",
        "routing": "what carries the kind Route: `gateway` (Gateway API) or `istio`",
        "gateway": "the Gateway that routes join, `name` or `namespace/name`",
    }
)
"""Name -> meaning."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The same, checked; see `KNOWN`."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = "default"
    pull_secret: str = ""
    gpu_resource: str = "nvidia.com/gpu"
    keda: bool = False
    prometheus: str = ""
    service_monitor: bool = False
    network_policy: bool = True
    egress: bool = False
    routing: str = ""
    gateway: str = ""


def read(said: Mapping[str, str]) -> Settings:
    """Check what a manifest says.

    Raises:
        InvalidError: an unknown name, or a value that cannot be.
    """
    for name in said:
        if name not in KNOWN:
            _refuse(name, f"'{name}' is no setting of kubernetes; known are: {', '.join(KNOWN)}")
    _matching(said, "namespace", _LABEL, "a DNS label: risk-models")
    _matching(said, "pull_secret", _NAME, "the name of a secret")
    _matching(said, "gpu_resource", _RESOURCE, "a resource's name: nvidia.com/gpu")
    for part in said.get("gateway", "").split("/", 1) if said.get("gateway") else ():
        if _NAME.fullmatch(part) is None:
            _refuse("gateway", f"'{said['gateway']}' is no name, nor namespace/name")
    if said.get("routing", ROUTERS[0]) not in ROUTERS:
        _refuse("routing", f"'{said['routing']}' is not one of {', '.join(ROUTERS)}")
    if "routing" in said and not said.get("gateway"):
        _refuse("gateway", "routing wants the name of the Gateway that routes join")
    address = said.get("prometheus", "")
    if address and (urlsplit(address).scheme not in {"http", "https"} or " " in address):
        _refuse("prometheus", f"'{address}' is no URL; one is http://prometheus.monitoring:9090")
    return Settings(
        kubeconfig=said.get("kubeconfig", ""),
        context=said.get("context", ""),
        namespace=said.get("namespace", "default"),
        pull_secret=said.get("pull_secret", ""),
        gpu_resource=said.get("gpu_resource", "nvidia.com/gpu"),
        keda=_switch(said, "keda", otherwise=False),
        prometheus=address,
        service_monitor=_switch(said, "service_monitor", otherwise=False),
        network_policy=_switch(said, "network_policy", otherwise=True),
        egress=_switch(said, "egress", otherwise=False),
        routing=said.get("routing", ""),
        gateway=said.get("gateway", ""),
    )


def _matching(said: Mapping[str, str], name: str, form: re.Pattern[str], what: str) -> None:
    if name in said and form.fullmatch(said[name]) is None:
        _refuse(name, f"'{said[name]}' is not {what}")


def _switch(said: Mapping[str, str], name: str, *, otherwise: bool) -> bool:
    if name not in said:
        return otherwise
    if said[name] not in _SWITCH:
        _refuse(name, f"'{said[name]}' is neither true nor false")
    return _SWITCH[said[name]]


def _refuse(name: str, why: str) -> None:
    raise InvalidError(f"target.settings.{name}: {why}", field=f"target.settings.{name}")
