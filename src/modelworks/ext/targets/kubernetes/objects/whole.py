"""All objects of a deployment, in the order in which they are applied."""

from collections.abc import Iterator, Sequence
from typing import Final

from modelworks.core.deployment import Rendered, Wanted
from modelworks.ext.targets.kubernetes.objects import asked as asking
from modelworks.ext.targets.kubernetes.objects.asked import Asked, Object
from modelworks.ext.targets.kubernetes.objects.network import monitor, policy
from modelworks.ext.targets.kubernetes.objects.scaling import autoscaler, disruption
from modelworks.ext.targets.kubernetes.objects.text import yaml_of
from modelworks.ext.targets.kubernetes.objects.workload import account, deployment, service
from modelworks.ext.targets.kubernetes.settings import Settings

_KUSTOMIZATION: Final = "kustomization.yaml"


def objects(wanted: Wanted, settings: Settings) -> list[Object]:
    """What pods need comes first, what watches them last.

    Raises:
        InvalidError: it cannot be as it is wanted.
    """
    return list(_objects(asking.read(wanted, settings)))


def _objects(asked: Asked) -> Iterator[Object]:
    yield account(asked)
    if asked.settings.network_policy:
        yield policy(asked)
    yield service(asked)
    yield deployment(asked)
    for more in (disruption(asked), autoscaler(asked)):
        if more is not None:
            yield more
    if asked.spec.monitoring.metrics and asked.settings.service_monitor:
        yield monitor(asked)


def files(found: Sequence[Object]) -> tuple[Rendered, ...]:
    """One file an object, and the list of them that kustomize, Argo CD and Flux read."""
    rendered = [Rendered(f"{one['kind'].lower()}.yaml", yaml_of(one)) for one in found]
    listed: Object = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [one.path for one in rendered],
    }
    return (*rendered, Rendered(_KUSTOMIZATION, yaml_of(listed)))
