"""What becomes of every field of a manifest on a target: honoured, emulated or refused. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelworks.core.deployment import Capability, Support, emulated, honoured, refused
from modelworks.core.errors import CrashedError
from modelworks.core.plans import Answer
from modelworks.core.seams import Target
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.leaves import Leaf, leaves
from modelworks.protocol.manifest.route import RouteSpec

_KEPT: Final = "kept with the revision and shown by `status`; nothing watches it yet"


_HOUSE: Final[Mapping[str, Capability]] = {
    "model": honoured("the version that it names when it is applied"),
    "variant": honoured("the form that it means when it is applied"),
    "target.type": honoured("where it runs"),
    "target.settings": honoured("how the target is reached"),
    "image.base": honoured("what the image is made on"),
    "slo.latency_p99_ms": emulated(_KEPT),
    "slo.availability": emulated(_KEPT),
    "strategy.ready_timeout_s": honoured("`apply` and the reconciler give up after it"),
    "strategy.keep_revisions": honoured("older ones are forgotten"),
}
_NO_IMAGE: Final = refused("nothing runs in a container there")


def of_deployment(target: Target, spec: DeploymentSpec) -> tuple[Answer, ...]:
    """Every leaf of a spec, in its order."""
    values = spec.model_dump(mode="json")
    table = {**_HOUSE, **target.capabilities}
    if not target.images:
        table["image.base"] = _NO_IMAGE
    found = tuple(
        _answer(leaf, table, values, target.name) for leaf in leaves(DeploymentSpec, values)
    )
    return tuple(_settings(found, target, spec))


def of_route(name: str, table: Mapping[str, Capability], spec: RouteSpec) -> tuple[Answer, ...]:
    """Every leaf of a route's spec.

    Args:
        name: of what routes: a target, or the gateway.
        table: what it does with each field.
        spec: of the manifest.
    """
    values = spec.model_dump(mode="json")
    return tuple(_answer(leaf, table, values, name) for leaf in leaves(RouteSpec, values))


def of_head(path: str, value: Any, plain: bool) -> Answer:  # noqa: FBT001 - as the field
    """A field of `metadata`, which every target keeps."""
    return Answer(path, value, Support.HONOURED, "kept, and on what the target makes", plain)


def _answer(
    leaf: Leaf, table: Mapping[str, Capability], spec: Mapping[str, Any], target: str
) -> Answer:
    capability = table.get(leaf.field)
    if capability is None:
        raise CrashedError(f"the target '{target}' does not say what it does with '{leaf.field}'")
    support, how = capability.support, capability.how
    if support is Support.REFUSED and leaf.plain:
        support, how = Support.HONOURED, "as it is anyway"
    elif support is not Support.REFUSED and capability.refuses is not None and not leaf.plain:
        why = capability.refuses(leaf.value, spec)
        if why:
            support, how = Support.REFUSED, why
    return Answer(f"spec.{leaf.path}", leaf.value, support, how, leaf.plain)


def _settings(found: tuple[Answer, ...], target: Target, spec: DeploymentSpec) -> Iterator[Answer]:
    """With what the target says of the names in its settings."""
    unknown = sorted(set(spec.target.settings) - set(target.settings))
    for answer in found:
        if answer.path == "spec.target.settings" and unknown:
            known = ", ".join(sorted(target.settings)) or "none"
            why = f"'{unknown[0]}' is no setting of '{target.name}'; known are: {known}"
            yield Answer(answer.path, answer.value, Support.REFUSED, why, answer.plain)
        else:
            yield answer
