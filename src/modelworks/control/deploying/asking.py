"""A manifest's deployment with its model found: what would be asked for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from modelworks.core.deployment import Revision
from modelworks.core.seams import OpenTarget, Target
from modelworks.core.served import ServedModel
from modelworks.deploy.service import Asked
from modelworks.protocol.manifest.deployment import Deployment, DeploymentSpec

Progress = Callable[[str], None]


class Holds(Protocol):
    """Who may need things to stay as they are."""

    def route(self, name: str) -> None:
        """Refuse to change a route, or to take it away.

        Raises:
            ConflictError: somebody needs it as it is; the message says who, and the cure.
        """
        ...

    def deployment(self, name: str) -> None:
        """Refuse to end a deployment, or to have it run something else.

        Raises:
            ConflictError: the same.
        """
        ...


class Models(Protocol):
    """Who knows versions, and lays them out on this machine."""

    def resolve(self, refs: Sequence[str]) -> Any:
        """The served list of some references."""
        ...


class Images(Protocol):
    """Who makes the image that a revision runs."""

    def __call__(
        self, model: ServedModel, spec: DeploymentSpec, target: OpenTarget, say: Progress
    ) -> str:
        """By digest; it is where the target finds it."""
        ...


def model_of(models: Models, ref: str) -> ServedModel:
    """The version that a reference means now, laid out.

    Aliases are no part of it: they move, and a revision does not.

    Raises:
        NotFoundError: no such model, version or alias.
        CorruptError: stored bytes are not what was stored.
    """
    [found] = models.resolve([ref]).models
    model: ServedModel = found
    return replace(model, aliases=(), default=True, autoload=True)


def document_of(deployment: Deployment) -> dict[str, Any]:
    """`metadata` and `spec`, defaults written out."""
    said = deployment.model_dump(mode="json")
    return {"metadata": said["metadata"], "spec": said["spec"]}


def image_if_known(kind: Target, asked: Asked, before: Revision | None) -> Asked:
    """With the image of the revision before, where the version is the same one.

    A plan makes no image: it takes the one that `apply` would most likely find.
    """
    if not kind.images or before is None or before.model.digest != asked.model.digest:
        return asked
    return replace(asked, image=before.image)
