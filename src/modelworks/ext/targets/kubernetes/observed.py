"""What runs under a name, from what the cluster says of it. Pure."""

from collections.abc import Sequence

from modelworks.core.deployment import Observed
from modelworks.ext.targets.kubernetes.failures import one_line
from modelworks.ext.targets.kubernetes.inventory import Inventory
from modelworks.ext.targets.kubernetes.objects.asked import Object
from modelworks.ext.targets.kubernetes.pods import Words, condition, ended, replica


def observed(
    deployment: Object | None,
    service: Object | None,
    pods: Sequence[Object],
    inventory: Inventory | None,
    changed: tuple[str, ...],
    words: Words,
) -> Observed:
    """Put it together.

    Args:
        deployment: as it is; None = it is gone.
        service: the same.
        pods: of the deployment, of any revision.
        inventory: what was applied; None = by others (GitOps).
        changed: since it was applied.
        words: of pods that are not ready.
    """
    over = [why for one in pods if (why := ended(one)) is not None]
    going = [replica(one, words) for one in pods if ended(one) is None]
    complete = inventory is None or inventory.complete
    return Observed(
        url=url(service),
        replicas=tuple(sorted(going, key=lambda one: (one.revision, one.name))),
        changed=changed,
        reason=_reason(deployment) or ("" if going else "; ".join(over[:1])),
        settled=complete and deployment is not None and rolled(deployment, inventory),
    )


def rolled(deployment: Object, inventory: Inventory | None) -> bool:
    """Whether only the newest revision runs, in as many pods as are asked for."""
    head, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status", {})
    if status.get("observedGeneration", 0) < head.get("generation", 1):
        return False
    if status.get("updatedReplicas", 0) != status.get("replicas", 0):
        return False
    said = [one for one in (inventory.objects if inventory else ()) if one["kind"] == "Deployment"]
    if said and "replicas" not in said[0]["spec"]:
        return True  # as many as the autoscaler has them, now more and now fewer
    wanted = int(spec.get("replicas", 1))
    return (status.get("replicas", 0), status.get("availableReplicas", 0)) == (wanted, wanted)


def url(service: Object | None) -> str:
    """Where a Service answers: at its balancer's address, or within the cluster; "" = nowhere."""
    if service is None:
        return ""
    head, spec = service["metadata"], service["spec"]
    port = spec["ports"][0]["port"]
    host = f"{head['name']}.{head['namespace']}.svc"
    if spec.get("type") == "LoadBalancer":
        points = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        host = points[0].get("hostname") or points[0].get("ip") or ""
        host = f"[{host}]" if ":" in host else host
    scheme = "https" if spec["ports"][0].get("appProtocol") == "https" else "http"
    return f"{scheme}://{host}:{port}" if host else ""


def _reason(deployment: Object | None) -> str:
    """Why no pod can be made at all: a quota, an admission rule."""
    status = (deployment or {}).get("status", {})
    failed = condition(status, "ReplicaFailure")
    if failed.get("status") == "True":
        return one_line(f"{failed.get('reason', '')}: {failed.get('message', '')}")
    going = condition(status, "Progressing")
    if going.get("status") == "False":
        return one_line(f"{going.get('reason', '')}: {going.get('message', '')}")
    return ""
