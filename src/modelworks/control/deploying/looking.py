"""How deployments are: as they were asked for beside what is seen on their targets."""

from collections.abc import Iterator
from pathlib import Path

from modelworks.control.deploying.asking import Models, document_of, model_of, same_form
from modelworks.control.deploying.targets import elsewhere, kind_of, opened, place_of
from modelworks.core.deployment import Observed, Revision
from modelworks.core.desired import Desired
from modelworks.core.errors import ModelworksError
from modelworks.core.optimizing.variants import SOURCE
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
            place = place_of(kind, spec.target.settings)
            model = model_of(self._models, spec.model, spec.variant, place)
            asked = Asked(document_of(deployment), model)
            same = [one for one in known.values() if same_form(one.model, asked.model)]
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
        version = revision.model.ref if revision else ""
        return Status(
            name=desired.name,
            description=desired.document["metadata"]["description"],
            target=desired.target,
            state=desired.state,
            message=desired.message,
            model=version,
            moved=self._moved(desired, revision),
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

    def _moved(self, desired: Desired, revision: Revision | None) -> str:
        """Another version, or form of it, that the manifest's words mean by now."""
        if revision is None:
            return ""
        spec = desired.spec
        try:
            place = place_of(kind_of(desired.target), desired.settings)
            now = model_of(self._models, spec["model"], spec.get("variant", SOURCE), place)
        except ModelworksError as error:
            return error.message
        return "" if now.ref == revision.model.ref else now.ref
