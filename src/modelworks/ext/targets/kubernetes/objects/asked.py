"""What is asked for, read once: the spec with what holds now, and the head of every object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelworks.core.deployment import Revision, Wanted
from modelworks.core.errors import InvalidError
from modelworks.ext.targets.kubernetes.settings import Settings
from modelworks.protocol.manifest.deployment import DeploymentSpec

Object = dict[str, Any]
"""JSON of one object."""
DEPLOYMENT: Final = "modelworks.deployment"
"""Label: which deployment an object belongs to; ours are found by it."""
REVISION: Final = "modelworks.revision"
"""Label of pods: the number of their revision."""
ROUTE: Final = "modelworks.route"
"""Label: which route an object belongs to."""
_OWN: Final = "modelworks."
_MANAGED: Final = "app.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Asked:
    """One deployment, ready to be rendered.

    Attributes:
        wanted: of the target.
        revision: the only one.
        replicas: of it, where nothing scales.
        spec: of the revision, with the scaling that holds now.
        settings: of the target.
    """

    wanted: Wanted
    revision: Revision
    replicas: int
    spec: DeploymentSpec
    settings: Settings

    @property
    def name(self) -> str:
        """Of the deployment, and of its objects."""
        return self.wanted.name

    @property
    def selector(self) -> dict[str, str]:
        """What all of its pods have."""
        return {DEPLOYMENT: self.name}

    @property
    def labels(self) -> dict[str, str]:
        """Of every object: the field's own names, the manifest's, then those we select by."""
        common = {
            "app.kubernetes.io/name": self.name,  # a model's may be too long for a label
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/component": "model-server",
            _MANAGED: "modelworks",
        }
        return {**common, **self.wanted.labels, **self.selector}

    def head(self, annotations: Mapping[str, str] | None = None) -> Object:
        """`metadata` of an object."""
        said = dict(annotations or {})
        if self.wanted.description:
            said["modelworks.description"] = self.wanted.description
        head: Object = {
            "name": self.name,
            "namespace": self.settings.namespace,
            "labels": self.labels,
        }
        return {**head, "annotations": said} if said else head


def read(wanted: Wanted, settings: Settings) -> Asked:
    """Take a wish apart.

    Raises:
        InvalidError: two revisions at once, or labels that are ours to give.
    """
    if len(wanted.shares) != 1:
        raise InvalidError("Kubernetes replaces a revision by itself: one is asked for at a time")
    check_labels(wanted.labels)
    [share] = wanted.shares
    values = {key: value for key, value in share.revision.spec.items() if key != "replicas"}
    values["autoscaling"] = wanted.autoscaling
    values["strategy"] = {**values.get("strategy", {}), **wanted.strategy}
    spec = DeploymentSpec.model_validate(values)
    return Asked(wanted, share.revision, share.replicas, spec, settings)


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse those by which we find our objects.

    Raises:
        InvalidError: one of them begins as ours do.
    """
    for key in labels:
        if key.startswith(_OWN):
            raise InvalidError(
                f"metadata.labels: '{key}' is a name of ours: choose one that does not begin "
                f"with '{_OWN}'",
                field="metadata.labels",
            )
