"""A manifest's deployment with its model found: what would be asked for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from modelworks.control.forms import Place
from modelworks.core.deployment import Revision
from modelworks.core.errors import UnsupportedError
from modelworks.core.graphs import GRAPH
from modelworks.core.optimizing.variants import SOURCE
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

    def resolve(self, refs: Sequence[str], want: str = SOURCE, place: Place | None = None) -> Any:
        """The served list of some references, for a place."""
        ...


class Images(Protocol):
    """Who makes the image that a revision runs."""

    def __call__(
        self, model: ServedModel, spec: DeploymentSpec, target: OpenTarget, say: Progress
    ) -> str:
        """By digest; it is where the target finds it."""
        ...


def model_of(models: Models, ref: str, want: str, place: Place) -> ServedModel:
    """The version that a reference means now, in the form that is wanted, laid out.

    Aliases are no part of it: they move, and a revision does not.

    Args:
        models: versions.
        ref: of a manifest; a form that it names is the one that is wanted.
        want: `source`, a goal, or a variant's name.
        place: where it is to run.

    Raises:
        NotFoundError: no such model, version, alias or variant.
        UnsupportedError: a variant for other hardware than the place's, or a graph.
        CorruptError: stored bytes are not what was stored.
    """
    found = models.resolve([ref], want, place).models
    model: ServedModel = found[0]
    graph = next((one for one in found if one.format == GRAPH), None)
    if graph is not None:
        raise UnsupportedError(
            f"{graph.ref} is a graph, and its models have to be in the same server: a deployment "
            "serves one version; serve the graph with `modelworks up` or `modelworks serve`",
            field="model",
        )
    return replace(model, aliases=(), default=True, autoload=True)


def document_of(deployment: Deployment) -> dict[str, Any]:
    """`metadata` and `spec`, defaults written out."""
    said = deployment.model_dump(mode="json")
    return {"metadata": said["metadata"], "spec": said["spec"]}


def image_if_known(kind: Target, asked: Asked, before: Revision | None) -> Asked:
    """With the image of the revision before, where the version is the same one.

    A plan makes no image: it takes the one that `apply` would most likely find.
    """
    if not kind.images or before is None or not same_form(before.model, asked.model):
        return asked
    return replace(asked, image=before.image)


def same_form(one: ServedModel, other: ServedModel) -> bool:
    """Whether an image of one is an image of the other."""
    return (one.digest, one.engine, one.engine_options, one.variant) == (
        other.digest,
        other.engine,
        other.engine_options,
        other.variant,
    )
