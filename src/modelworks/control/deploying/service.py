"""The verbs of deploying, as the command line and the control plane call them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelworks.control.deploying.applying import Applier
from modelworks.control.deploying.asking import Holds, Images, Models, Progress
from modelworks.control.deploying.healing import Healer
from modelworks.control.deploying.looking import Looker
from modelworks.control.deploying.planning import Planner
from modelworks.control.deploying.retention import days_of
from modelworks.control.deploying.routing import Router
from modelworks.control.deploying.targets import kind_of
from modelworks.core.deployment import Capability
from modelworks.core.desired import Audited, DesiredRoute, Kept, State, deployments_of
from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.plans import Act, Applied, Exported, Plan, Status
from modelworks.deploy.routes import Routes
from modelworks.deploy.service import Deployments
from modelworks.plugins import load
from modelworks.protocol.manifest import load as read
from modelworks.protocol.manifest.deployment import Deployment
from modelworks.protocol.manifest.route import Route

Files = Sequence[tuple[str, bytes]]
"""Name and content of each file of a manifest."""


@dataclass(frozen=True, slots=True)
class TargetLine:
    """A target that is installed.

    Attributes:
        name: of it.
        ready: its libraries are there.
        experimental: not every proof that a finished plug-in needs is there.
        images: it runs container images.
        settings: name -> meaning.
        reason: why it is not ready.
    """

    name: str
    ready: bool
    experimental: bool = True
    images: bool = False
    settings: dict[str, str] | None = None
    reason: str = ""


class Deploying:
    """From manifests to running models.

    Args:
        deployments: as they are asked for.
        routes: the same.
        models: versions.
        images: made where a target runs them.
        folder: of all targets on this machine.
        holds: who is asked before what a roll-out compares is changed.
    """

    def __init__(
        self,
        deployments: Deployments,
        routes: Routes,
        models: Models,
        images: Images,
        folder: Path,
        holds: Holds,
    ) -> None:
        self._deployments = deployments
        self._holds = holds
        self._router = Router(routes, deployments, folder)
        self._planner = Planner(deployments, self._router, models, folder)
        self._applier = Applier(deployments, models, images, folder)
        self._looker = Looker(deployments, models, folder)

    def plan(self, files: Files, environment: str = "") -> Plan:
        """What `apply` would do, and what becomes of every field.

        Raises:
            InvalidError: the manifest is wrong; every problem is in the message.
            NotFoundError: no such target, model or version.
        """
        return self._planner.plan(read(files, environment))

    def apply(self, files: Files, environment: str, say: Progress) -> list[Applied]:
        """Do it, one document after the other; a failed one does not keep the others from it.

        Raises:
            InvalidError: the manifest is wrong, or a field of it is refused: nothing was done.
            ConflictError: a roll-out compares what would change: the same.
        """
        manifest = read(files, environment)
        plan = self._planner.plan(manifest)
        if not plan.ok:
            raise refusal(plan)
        for one in plan.documents:
            if one.act is Act.UPDATE:  # other numbers of the same are no harm
                ask = self._holds.route if one.kind == "Route" else self._holds.deployment
                ask(one.name)
        beside = manifest.of(Deployment)
        done = [self._apply(one, say) for one in beside]
        failed = {one.name for one in done if one.state is not State.READY and not one.serving}
        return done + [self._route(one, beside, failed, say) for one in manifest.of(Route)]

    def roll_back(self, name: str, number: int, say: Progress) -> Applied:
        """Ask for an earlier revision again: see `Applier.roll_back`.

        Raises:
            ConflictError: a roll-out compares it with others.
        """
        self._holds.deployment(name)
        return self._applier.roll_back(name, number, say)

    def delete(self, name: str, say: Progress, *, forget: bool = False) -> Applied:
        """End a deployment and leave nothing: see `Applier.delete`.

        Args:
            name: of it.
            say: gets what is waited for.
            forget: do not ask its target, which is gone for ever: see `Applier.forget`.

        Raises:
            ConflictError: a route names it, or a roll-out compares it with others.
        """
        self._holds.deployment(name)
        self._router.free(name)
        return self._applier.forget(name) if forget else self._applier.delete(name, say)

    def delete_route(self, name: str) -> Applied:
        """Take a route away: see `Router.delete`.

        Raises:
            ConflictError: a roll-out has it.
        """
        self._holds.route(name)
        return self._router.delete(name)

    def names(self, files: Files, environment: str = "") -> tuple[list[str], list[str]]:
        """The deployments and the routes of a manifest."""
        manifest = read(files, environment)
        return (
            [one.metadata.name for one in manifest.of(Deployment)],
            [one.metadata.name for one in manifest.of(Route)],
        )

    def routes(self) -> list[DesiredRoute]:
        """Every route, by name."""
        return self._router.all()

    def all(self) -> list[Status]:
        """Every deployment, by name."""
        return self._looker.all()

    def one(self, name: str) -> Status:
        """One, with its latest events."""
        return self._looker.one(name)

    def revisions(self, name: str) -> list[Kept]:
        """Those that are kept, newest first."""
        return self._deployments.revisions(name)

    def runs(self, name: str) -> tuple[str, str]:
        """Model and version that a deployment is to run.

        Raises:
            NotFoundError: no such deployment.
        """
        model = self._deployments.revisions(name)[0].revision.model
        return model.name, model.version

    def export(self, files: Files, environment: str = "") -> list[Exported]:
        """The native objects that a manifest means; nobody has to answer on the targets."""
        manifest = read(files, environment)
        plan = self._planner.plan(manifest, ask=False)
        if not plan.ok:
            raise refusal(plan)
        beside = manifest.of(Deployment)
        routes = [self._router.export(one, beside) for one in manifest.of(Route)]
        return [*self._looker.export(manifest), *routes]

    def exported(self, name: str) -> Exported:
        """The native objects of a deployment."""
        return self._looker.exported(name)

    def retention(self, others: Mapping[str, int]) -> dict[str, int]:
        """For how many days records of a model are kept: see `days_of`."""
        return days_of(self._deployments.every(), others)

    def audited(self, subject: str = "", limit: int = 1000) -> list[Audited]:
        """Who did what, newest first."""
        return self._deployments.audited(subject, limit)

    def healer(self) -> Healer:
        """What keeps all of them as they were asked for."""
        return Healer(self._deployments, self._applier)

    def _apply(self, deployment: Deployment, say: Progress) -> Applied:
        try:
            return self._applier.apply(deployment, say)
        except ModelworksError as error:
            name = deployment.metadata.name
            return Applied("Deployment", name, State.FAILED, message=error.message)

    def _route(
        self, route: Route, beside: Sequence[Deployment], failed: set[str], say: Progress
    ) -> Applied:
        name = route.metadata.name
        missing = failed.intersection(deployments_of(route.spec.model_dump(mode="json")))
        if missing:
            why = f"nothing answers at deployment '{min(missing)}': the route stays as it is"
            return Applied("Route", name, State.FAILED, message=why)
        try:
            return self._router.apply(route, beside, say)
        except ModelworksError as error:
            return Applied("Route", name, State.FAILED, message=error.message)


def refusal(plan: Plan) -> ModelworksError:
    """What stands in the way of a plan, all of it."""
    first = next((one for document in plan.documents for one in document.refused), None)
    lines = [
        f"{one.place}: {one.path}: {document.target} refuses it: {one.how}".removeprefix(": ")
        for document in plan.documents
        if document.act is Act.REFUSED
        for one in document.refused
    ]
    return InvalidError("\n".join(lines), field=first.path if first else None)


def targets() -> list[TargetLine]:
    """Every target that is installed, by name."""
    return [_line(name) for name in sorted(load.available("targets"))]


def capabilities(name: str) -> dict[str, Capability]:
    """What a target does with every field that is not the same everywhere.

    Raises:
        NotFoundError: no such target.
        MissingExtraError: it needs a library that is not there.
    """
    return dict(kind_of(name).capabilities)


def _line(name: str) -> TargetLine:
    try:
        kind = kind_of(name)
    except ModelworksError as error:
        return TargetLine(name, ready=False, reason=error.message)
    return TargetLine(
        name,
        ready=True,
        experimental=kind.experimental,
        images=kind.images,
        settings=dict(kind.settings),
    )
