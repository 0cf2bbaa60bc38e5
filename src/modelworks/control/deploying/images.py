"""The image that a revision runs: one that is named, or one made from the version."""

from modelworks.control.deploying.asking import Progress
from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.home import Home
from modelworks.core.seams import OpenTarget
from modelworks.core.served import ServedModel
from modelworks.protocol.manifest.deployment import DeploymentSpec


class Maker:
    """Fulfils `asking.Images`.

    Args:
        home: whose cache it uses.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def __call__(
        self, model: ServedModel, spec: DeploymentSpec, target: OpenTarget, say: Progress
    ) -> str:
        """See `asking.Images`."""
        del target, say
        if spec.image.digest:
            if not spec.image.repository:
                raise InvalidError(
                    "image.digest goes with image.repository", field="spec.image.digest"
                )
            return f"{spec.image.repository}@{spec.image.digest}"
        raise UnsupportedError(
            f"{model.name}:{model.version}: name an image (image.repository and image.digest)",
            field="spec.image",
        )
