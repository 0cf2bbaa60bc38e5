"""What becomes of a route, from what the cluster says of it. Pure."""

from modelworks.core.deployment import ObservedRoute
from modelworks.ext.targets.kubernetes.failures import one_line
from modelworks.ext.targets.kubernetes.inventory import Inventory
from modelworks.ext.targets.kubernetes.kinds import HTTP_ROUTE
from modelworks.ext.targets.kubernetes.objects.asked import Object
from modelworks.ext.targets.kubernetes.pods import condition

_ASKED = ("Accepted", "ResolvedRefs")


def observed_route(
    inventory: Inventory, live: Object | None, changed: tuple[str, ...]
) -> ObservedRoute:
    """Put it together.

    Args:
        inventory: what was applied.
        live: the HTTPRoute as it is; None = there is none.
        changed: since it was applied.
    """
    if not inventory.complete:
        return ObservedRoute(accepted=False, reason="its apply was not finished: apply again")
    if not any(one["kind"] == HTTP_ROUTE.name for one in inventory.objects):
        # Istio says nothing of a VirtualService: it is taken when it is there.
        gone = next((line for line in changed if line.endswith("is gone")), "")
        return ObservedRoute(accepted=not gone, reason=gone, changed=changed)
    why = _refused(live)
    return ObservedRoute(accepted=not why, reason=why, changed=changed)


def _refused(live: Object | None) -> str:
    if live is None:
        return "the HTTPRoute is gone"
    parents = live.get("status", {}).get("parents") or ()
    if not parents:
        return "no gateway has said anything of it: is target.settings.gateway the name of one?"
    for parent in parents:
        for kind in _ASKED:
            said = condition(parent, kind)
            if said.get("status") != "True":
                why = said.get("message") or said.get("reason") or f"it does not say {kind}"
                return one_line(f"{parent['parentRef']['name']}: {why}")
    return ""
