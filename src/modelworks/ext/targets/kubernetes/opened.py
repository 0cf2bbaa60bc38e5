"""A namespace of a cluster, as a target and as a router."""

from modelworks.core.deployment import Observed, ObservedRoute, Rendered, Wanted, WantedRoute
from modelworks.core.errors import NotFoundError
from modelworks.ext.targets.kubernetes import kinds
from modelworks.ext.targets.kubernetes.applier import Applier
from modelworks.ext.targets.kubernetes.cluster import Cluster
from modelworks.ext.targets.kubernetes.objects import routes, whole
from modelworks.ext.targets.kubernetes.objects.asked import DEPLOYMENT, ROUTE
from modelworks.ext.targets.kubernetes.observed import observed
from modelworks.ext.targets.kubernetes.observed_route import observed_route
from modelworks.ext.targets.kubernetes.pods import Words
from modelworks.ext.targets.kubernetes.settings import Settings


class OpenKubernetes:
    """See `core.seams.OpenTarget` and `core.seams.Routing`.

    Args:
        settings: of the target.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster = Cluster(settings)
        self._deployments = Applier(self._cluster, DEPLOYMENT, settings.namespace)
        self._routes = Applier(self._cluster, ROUTE, settings.namespace)

    def render(self, wanted: Wanted) -> tuple[Rendered, ...]:
        """A file an object, and a kustomization of them."""
        return whole.files(whole.objects(wanted, self._settings))

    def apply(self, wanted: Wanted) -> None:
        """By server-side apply; the cluster then rolls by itself."""
        self._deployments.apply(wanted.name, whole.objects(wanted, self._settings))

    def observe(self, name: str) -> Observed | None:
        """The rollout, its pods, and why one is not ready."""
        inventory = self._deployments.inventory(name)
        deployment = self._cluster.get(kinds.DEPLOYMENT, name)
        if deployment is not None and deployment["metadata"].get("labels", {}).get(
            DEPLOYMENT
        ) not in ({name} if inventory is None else {name, None}):
            deployment = None  # another's
        if inventory is None and deployment is None:
            return None
        return observed(
            deployment,
            self._cluster.get(kinds.SERVICE, name),
            self._cluster.list(kinds.POD, labelSelector=f"{DEPLOYMENT}={name}"),
            inventory,
            self._deployments.changed(inventory) if inventory is not None else (),
            Words(self._event, self._log),
        )

    def delete(self, name: str) -> None:
        """All of it, after a drain."""
        self._deployments.delete(name)

    def render_route(self, route: WantedRoute) -> tuple[Rendered, ...]:
        """An HTTPRoute or a VirtualService."""
        return whole.files(routes.objects(route, self._settings))

    def apply_route(self, route: WantedRoute) -> None:
        """The same, into the cluster."""
        self._routes.apply(route.name, routes.objects(route, self._settings))

    def observe_route(self, name: str) -> ObservedRoute | None:
        """What the gateway says of it."""
        inventory = self._routes.inventory(name)
        if inventory is None:
            return None
        told = any(one["kind"] == kinds.HTTP_ROUTE.name for one in inventory.objects)
        live = self._cluster.get(kinds.HTTP_ROUTE, name) if told else None
        return observed_route(inventory, live, self._routes.changed(inventory))

    def delete_route(self, name: str) -> None:
        """Take it away."""
        self._routes.delete(name)

    def close(self) -> None:
        """Give the connections back."""
        self._cluster.close()

    def _event(self, pod: str) -> str:
        """The last warning about a pod."""
        about = f"involvedObject.kind=Pod,involvedObject.name={pod},type=Warning"
        found = self._cluster.list(kinds.EVENT, fieldSelector=about)
        found.sort(key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or "")
        return str(found[-1].get("message", "")) if found else ""

    def _log(self, pod: str, container: str, previous: bool) -> str:  # noqa: FBT001 - of `Words`
        try:
            text = self._cluster.logs(pod, container, previous=previous)
            return text or self._cluster.logs(pod, container, previous=False)
        except NotFoundError:
            return ""
