"""Objects go into a cluster, are held against it, and go away: of one deployment, or one route."""

import time
from collections.abc import Sequence
from typing import Final

from modelworks.core.errors import ConflictError, UnavailableError
from modelworks.ext.targets.kubernetes.cluster import MANAGER, Cluster
from modelworks.ext.targets.kubernetes.drift import changes
from modelworks.ext.targets.kubernetes.inventory import Inventories, Inventory
from modelworks.ext.targets.kubernetes.kinds import BROUGHT, BY_NAME, DEPLOYMENT, OWN, POD, SCALERS
from modelworks.ext.targets.kubernetes.objects.asked import Object

_SCALING: Final = "modelworks-scaling"
"""Keeps the number of replicas while it goes from us to an autoscaler."""
_FIRST: Final = SCALERS | {"ServiceMonitor", "PodDisruptionBudget"}
_LOOK_S: Final = 0.5
_SPARE_S: Final = 60


class Applier:
    """Everything under one label.

    Args:
        cluster: to change.
        label: whose value is the name: of deployments, or of routes.
        namespace: of the objects.
    """

    def __init__(self, cluster: Cluster, label: str, namespace: str) -> None:
        self._cluster = cluster
        self._label = label
        self._inventories = Inventories(cluster, label, namespace)

    def inventory(self, name: str) -> Inventory | None:
        """What was applied under a name."""
        return self._inventories.read(name)

    def apply(self, name: str, objects: Sequence[Object]) -> None:
        """Make them so, in their order; what is of this name and not among them goes.

        Raises:
            ConflictError: an object of that kind and name is there, and not ours.
            UnavailableError: one of them is still being deleted.
        """
        inventory = self._inventories.read(name)
        live = [self._live(name, one) for one in objects]
        if inventory == Inventory(complete=True, objects=tuple(objects)) and not any(
            changes(one, seen) for one, seen in zip(objects, live, strict=True)
        ):
            return
        before = inventory.objects if inventory else ()
        gone = self._others(name, objects, [*before, *objects])
        kept = [one for one in before if not _among(one, objects)]
        self._inventories.write(name, Inventory(complete=False, objects=(*objects, *kept)))
        # Two that both say how many there are would fight.
        self._delete([one for one in gone if one["kind"] in SCALERS])
        for one, seen in zip(objects, live, strict=True):
            if one["kind"] == DEPLOYMENT.name and seen is not None:
                self._hand_over(one, seen)
            # What is ours is put right, whoever changed it; of a new object nobody can have said
            # anything, or somebody made one of this name just now.
            self._cluster.apply(one, force=seen is not None)
        self._delete([one for one in gone if one["kind"] not in SCALERS])
        self._inventories.write(name, Inventory(complete=True, objects=tuple(objects)))

    def changed(self, inventory: Inventory) -> tuple[str, ...]:
        """What is not as it was applied; of an unfinished apply nobody can say."""
        if not inventory.complete:
            return ()
        return tuple(
            line
            for one in inventory.objects
            for line in changes(
                one, self._cluster.get(BY_NAME[one["kind"]], one["metadata"]["name"])
            )
        )

    def delete(self, name: str) -> None:
        """Let pods answer what they have, then take everything away, the inventory last.

        Raises:
            UnavailableError: pods did not end in their time.
        """
        inventory = self._inventories.read(name)
        found = self._others(name, (), inventory.objects if inventory else ())
        self._delete([one for one in found if one["kind"] in _FIRST])
        pods = [one for one in found if one["kind"] == DEPLOYMENT.name]
        self._delete(pods)
        self._wait(name, pods)
        self._delete(
            [one for one in found if one["kind"] not in _FIRST and one["kind"] != DEPLOYMENT.name]
        )
        if inventory is not None:
            self._inventories.delete(name)

    def _live(self, name: str, wanted: Object) -> Object | None:
        """The object as it is.

        Raises:
            ConflictError: it is not ours.
            UnavailableError: it is going away.
        """
        head = wanted["metadata"]
        what = f"{wanted['kind'].lower()} {head['name']}"
        live = self._cluster.get(BY_NAME[wanted["kind"]], head["name"])
        if live is None:
            return None
        if live["metadata"].get("labels", {}).get(self._label) != name and not _applied(live):
            raise ConflictError(
                f"{what} is there already, in the namespace {head['namespace']}, and is not ours: "
                "rename the deployment, or delete the object"
            )
        if live["metadata"].get("deletionTimestamp"):
            raise UnavailableError(f"{what} is still being deleted", retry_after=5)
        return live

    def _others(self, name: str, wanted: Sequence[Object], known: Sequence[Object]) -> list[Object]:
        """What has our label and is not wanted; children of others' objects left aside."""
        brought = {one["kind"] for one in known}
        kinds = [*OWN, *(kind for kind in BROUGHT if kind.name in brought)]
        return [
            one
            for kind in kinds
            for one in self._cluster.list(kind, labelSelector=f"{self._label}={name}")
            if not _among(one, wanted) and not one["metadata"].get("ownerReferences")
        ]

    def _hand_over(self, wanted: Object, live: Object) -> None:
        """Keep the number of replicas when it is an autoscaler's from now on.

        A field that we stop saying goes back to its default, one: most pods would end at once.
        """
        if "replicas" in wanted["spec"] or not _says_replicas(live):
            return
        head = {key: live["metadata"][key] for key in ("name", "namespace")}
        said = {
            "apiVersion": wanted["apiVersion"],
            "kind": wanted["kind"],
            "metadata": head,
            "spec": {"replicas": live["spec"].get("replicas", 1)},
        }
        self._cluster.apply(said, force=True, manager=_SCALING)

    def _delete(self, found: Sequence[Object]) -> None:
        for one in found:
            if not one["metadata"].get("deletionTimestamp"):
                self._cluster.delete(one)

    def _wait(self, name: str, ending: Sequence[Object]) -> None:
        """Until deployments are gone, and all of their pods."""
        if not ending:
            return
        grace = max(
            one["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
            for one in ending
        )
        end = time.monotonic() + grace + _SPARE_S
        while True:
            left = self._cluster.list(POD, labelSelector=f"{self._label}={name}") or [
                one
                for one in ending
                if self._cluster.get(DEPLOYMENT, one["metadata"]["name"]) is not None
            ]
            if not left:
                return
            if time.monotonic() > end:
                names = ", ".join(one["metadata"]["name"] for one in left[:3])
                raise UnavailableError(
                    f"still there after {grace + _SPARE_S} s: {names}; delete again later",
                    retry_after=30,
                )
            time.sleep(_LOOK_S)


def _among(one: Object, objects: Sequence[Object]) -> bool:
    said = one["kind"], one["metadata"]["name"]
    return any(said == (other["kind"], other["metadata"]["name"]) for other in objects)


def _applied(live: Object) -> bool:
    """Whether we applied it once: somebody may have taken our label away."""
    managers = live["metadata"].get("managedFields") or ()
    return any(entry.get("manager") == MANAGER for entry in managers)


def _says_replicas(live: Object) -> bool:
    return any(
        entry.get("manager") == MANAGER
        and "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
        for entry in live["metadata"].get("managedFields") or ()
    )
