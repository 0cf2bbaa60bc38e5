"""How deployments are: as they were asked for beside what is seen on their targets."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelworks.control.deploying.asking import Models, document_of, model_of
from modelworks.control.deploying.targets import elsewhere, kind_of, opened
from modelworks.core.deployment import Observed, Revision
from modelworks.core.desired import Desired
from modelworks.core.errors import ModelworksError
from modelworks.core.plans import Exported, Status
from modelworks.deploy.reconcile import goal_of, wanted
from modelworks.deploy.service import Asked, Deployments
from modelworks.protocol.manifest import Manifest
from modelworks.protocol.manifest.deployment import Deployment

_EVENTS = 20


class Looker:
    """Looks, and changes nothing.

    Args:
        deployments: as they were asked for.
        models: versions.
        folder: of all targets on this machine.
    """

    def __init__(self, deployments: Deployments, models: Models, folder: Path) -> None:
        self._deployments = deployments
        self._models = models
        self._folder = folder

    def all(self) -> list[Status]:
        """Every deployment, by name; a target that does not answer says so in its line."""
        return [self._status(desired) for desired in self._deployments.every()]

    def one(self, name: str) -> Status:
        """One, with what happened to it lately.

        Raises:
            NotFoundError: no such deployment.
        """
        desired = self._deployments.get(name)
        return self._status(desired, events=_EVENTS)

    def export(self, manifest: Manifest) -> list[Exported]:
        """The native objects that a manifest means; nothing runs for it.

        Raises:
            NotFoundError: no such target, model or version.
        """
        return list(self._exported(manifest))

    def exported(self, name: str) -> Exported:
        """The native objects of a deployment as it was asked for last.

        Raises:
            NotFoundError: no such deployment.
        """
        desired = self._deployments.get(name)
        kind = kind_of(desired.target)
        goal = goal_of(desired, self._deployments.known(name))
        with opened(kind, desired.settings, self._folder) as target:
            return Exported("Deployment", name, kind.name, target.render(goal))

    def _exported(self, manifest: Manifest) -> Iterator[Exported]:
        for deployment in manifest.of(Deployment):
            name, spec = deployment.metadata.name, deployment.spec
            kind = kind_of(spec.target.type)
            known = self._deployments.known(name)
            asked = Asked(document_of(deployment), model_of(self._models, spec.model))
            same = [one for one in known.values() if one.model.digest == asked.model.digest]
            if kind.images and same:
                image = max(same, key=lambda one: one.number).image
                asked = Asked(asked.document, asked.model, image)
            number = self._deployments.same(asked) or max(known, default=0) + 1
            with opened(kind, spec.target.settings, self._folder) as target:
                files = target.render(wanted(asked.document, asked.revision(number)))
            yield Exported("Deployment", name, kind.name, files)

    def _status(self, desired: Desired, events: int = 0) -> Status:
        known = self._deployments.known(desired.name)
        seen, unseen = self._seen(desired)
        revision = known.get(desired.wanted)
        version = f"{revision.model.name}:{revision.model.version}" if revision else ""
        return Status(
            name=desired.name,
            description=desired.document["metadata"]["description"],
            target=desired.target,
            state=desired.state,
            message=desired.message,
            model=version,
            moved=self._moved(desired.spec, revision),
            wanted=desired.wanted,
            serving=desired.serving,
            replicas=desired.replicas,
            seen=seen.replicas if seen else (),
            url=seen.url if seen else "",
            changed=seen.changed if seen else (),
            slo={key: value for key, value in desired.spec["slo"].items() if value is not None},
            unseen=unseen,
            events=tuple(self._deployments.events(desired.name, events)) if events else (),
        )

    def _seen(self, desired: Desired) -> tuple[Observed | None, str]:
        try:
            kind = kind_of(desired.target)
            if why := elsewhere(kind, desired, self._deployments.machine):
                return None, why
            with opened(kind, desired.settings, self._folder) as target:
                return target.observe(desired.name), ""
        except ModelworksError as error:
            return None, error.message

    def _moved(self, spec: Mapping[str, Any], revision: Revision | None) -> str:
        """Another version that the manifest's reference means by now."""
        if revision is None:
            return ""
        try:
            now = model_of(self._models, spec["model"])
        except ModelworksError as error:
            return error.message
        same = now.version == revision.model.version
        return "" if same else f"{now.name}:{now.version}"
