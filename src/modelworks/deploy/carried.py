"""Routes of the kind `Route` that a gateway of ours carries: what it does with every field. Pure.

Where deployments run on targets that route nothing themselves, the gateway stands in front of them.
"""

from collections.abc import Mapping
from typing import Any, Final

from modelworks.core.deployment import Capability, emulated, honoured
from modelworks.core.routes import Arm, Route, Shadow, Source, Sticky
from modelworks.protocol.routes import spans

CARRIER: Final = "gateway"
"""In the place of a target's name."""
ZONE: Final = "modelworks.io/zone"
"""Label of a deployment: where it is, as gateways are told by `--zone`."""
_BELOW: Final = ("/v2/models", "/v1/models", "/predict")
_BY: Final = "by the gateway"


def _asked(value: Any, _spec: Mapping[str, Any]) -> str:
    path = str(value).rstrip("/")
    if any(f"{one}/".startswith(f"{path}/") or f"{path}/".startswith(f"{one}/") for one in _BELOW):
        return ""
    return f"model servers answer below {', '.join(_BELOW)}: nobody would ask them below {value}"


CARRIED: Final[Mapping[str, Capability]] = {
    "host": honoured(_BY),
    "path": honoured(f"{_BY}, a prefix by whole parts, of paths that name the model", _asked),
    "backends[].deployment": honoured(f"{_BY}, at the address that its target tells"),
    "backends[].weight": honoured(
        f"{_BY}; those of one version that have some answer for one another when one is away"
    ),
    "mirror.deployment": honoured(_BY),
    "mirror.percent": honoured(_BY),
    "sticky.header": honoured(f"{_BY}: the same value, the same backend"),
    "sticky.cookie": emulated(
        "the gateway sets no cookie: who brings one of this name keeps to a backend by its value"
    ),
    "timeout_s": honoured(f"{_BY}, for the whole answer"),
}
"""Every leaf of a route's spec."""


def carried(name: str, spec: Mapping[str, Any], models: Mapping[str, str]) -> Route:
    """A route as gateways go by it; where its arms answer is not in it.

    It has what names the model of its first backend: others are asked by their own model's name.

    Args:
        name: of the route.
        spec: of the manifest, every default written out, JSON.
        models: deployment -> name of the model that it runs.
    """
    weights = {str(one["deployment"]): int(one["weight"]) for one in spec["backends"]}
    first = next(iter(weights))
    mirror, sticky = spec["mirror"], spec["sticky"]
    names = [*weights, *([str(mirror["deployment"])] if mirror else [])]
    model = models[first]
    arms = tuple(Arm(one, models[one] if models[one] != model else "") for one in names)
    return Route(
        name,
        arms,
        spans((), {one: weight / 100 for one, weight in weights.items()}),
        model=model,
        host=spec["host"],
        path=spec["path"],
        sticky=_sticky(sticky) if sticky else None,
        shadows=(Shadow(names[-1], mirror["percent"] / 100),) if mirror else (),
        timeout_s=spec["timeout_s"] or 0.0,
    )


def _sticky(said: Mapping[str, str]) -> Sticky:
    if said["header"]:
        return Sticky(Source.HEADER, said["header"].lower())
    return Sticky(Source.COOKIE, said["cookie"])
