"""What was applied, kept in the cluster: a ConfigMap a deployment or route.

It is written before anything else and once more in the end. So an apply that was ended in the
middle is known for one, all of it is found again, and a change from outside is told from it.
"""

import json
from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import ConflictError, InvalidError
from modelworks.ext.targets.kubernetes.cluster import Cluster
from modelworks.ext.targets.kubernetes.kinds import CONFIG_MAP
from modelworks.ext.targets.kubernetes.objects.asked import Object

_KEY: Final = "applied.json"
_LARGEST: Final = 1_000_000  # a ConfigMap holds 1 MiB


@dataclass(frozen=True, slots=True)
class Inventory:
    """Of one deployment or route.

    Attributes:
        complete: all of it was applied; else somebody is at it, or was ended.
        objects: as they were applied.
    """

    complete: bool
    objects: tuple[Object, ...]


class Inventories:
    """Where they are kept.

    Args:
        cluster: of them.
        label: whose value is a name: of a deployment, or of a route.
        namespace: of the objects.
    """

    def __init__(self, cluster: Cluster, label: str, namespace: str) -> None:
        self._cluster = cluster
        self._label = label
        self._namespace = namespace

    def read(self, name: str) -> Inventory | None:
        """What was applied under a name; None = nothing was."""
        found = self._found(name)
        if found is None:
            return None
        try:
            said = json.loads(found["data"][_KEY])
            return Inventory(bool(said["complete"]), tuple(said["objects"]))
        except (KeyError, TypeError, ValueError):
            return Inventory(complete=False, objects=())  # somebody's fingers were in it

    def write(self, name: str, inventory: Inventory) -> None:
        """Replace it.

        Raises:
            ConflictError: a ConfigMap of this name is there, and not ours.
            InvalidError: more than it can hold.
        """
        self._found(name)
        said = {"complete": inventory.complete, "objects": inventory.objects}
        text = json.dumps(said, separators=(",", ":"), sort_keys=True)
        if len(text.encode()) > _LARGEST:
            raise InvalidError(
                f"'{name}' is more than a megabyte of objects: give the server less to read in "
                "its environment",
                field="environment",
            )
        head = {
            "name": self._name(name),
            "namespace": self._namespace,
            "labels": {"app.kubernetes.io/managed-by": "modelworks", self._label: name},
        }
        self._cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": head, "data": {_KEY: text}},
            force=True,
        )

    def delete(self, name: str) -> None:
        """Forget it; unknown is quiet."""
        found = self._found(name)
        if found is not None:
            self._cluster.delete({**found, "kind": CONFIG_MAP.name})

    def _found(self, name: str) -> Object | None:
        found = self._cluster.get(CONFIG_MAP, self._name(name))
        if found is not None and found["metadata"].get("labels", {}).get(self._label) != name:
            raise ConflictError(
                f"configmap {self._name(name)} is there and is not ours: rename or delete it"
            )
        return found

    def _name(self, name: str) -> str:
        return f"{self._label}.{name}"
