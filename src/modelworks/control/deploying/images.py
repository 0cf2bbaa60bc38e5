"""The image that a revision runs: one that is named, or one made from the version."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from modelworks.control.deploying.asking import Progress
from modelworks.control.package import Packaging, archive_for, package
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home
from modelworks.core.model import ModelVersion
from modelworks.core.seams import OpenTarget, TakesImages
from modelworks.core.served import ServedModel
from modelworks.packaging.logins import login_file
from modelworks.protocol.manifest.deployment import DeploymentSpec

BASE: Final = "MODELWORKS_BASE"
"""What images are made on where a manifest does not say."""
WHEELS: Final = "MODELWORKS_WHEELS"
"""A folder to take an image's libraries from; unset = they are fetched from the index."""
_SLIM: Final = "docker.io/library/python:{}.{}-slim-bookworm".format(*sys.version_info[:2])


class Maker:
    """Fulfils `asking.Images`.

    Args:
        home: whose cache it uses.
        show: the version of a reference.
        environ: of this process.
    """

    def __init__(
        self,
        home: Home,
        show: Callable[[str], ModelVersion],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._home = home
        self._show = show
        self._environ = environ

    def __call__(
        self, model: ServedModel, spec: DeploymentSpec, target: OpenTarget, say: Progress
    ) -> str:
        """See `asking.Images`.

        Raises:
            InvalidError: it has to be pushed, and no repository is named.
            ModelworksError: as `control.package.package`.
        """
        image = spec.image
        if image.digest:
            return f"{image.repository}@{image.digest}"
        wheels = self._environ.get(WHEELS, "")
        asked = Packaging(
            base=image.base or self._environ.get(BASE, "") or _SLIM,
            wheels=Path(wheels) if wheels else None,
            login=login_file(self._environ),
        )
        version = self._show(f"{model.name}:{model.version}")
        if image.repository:
            asked = replace(asked, push=image.repository)
            return package(self._home, version, model, asked, say).image
        if not isinstance(target, TakesImages):
            raise InvalidError(
                "this target pulls its images: say where they are pushed to, image.repository",
                field="spec.image.repository",
            )
        archive, name = archive_for(self._home, version, model, asked, say)
        say(f"giving {name} to the engine")
        return target.take_image(archive, name)
