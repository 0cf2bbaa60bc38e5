"""What a pod is at, and why it is not ready. Pure, but for the words that are fetched on demand."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelworks.core.deployment import Phase, Replica
from modelworks.ext.targets.kubernetes.failures import one_line
from modelworks.ext.targets.kubernetes.objects.asked import REVISION, Object

_HOPELESS: Final = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""A container waits for these reasons when it cannot go on by itself; the cluster tries again."""
_CRASHED: Final = "CrashLoopBackOff"
_LAST_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Words:
    """What others say of a pod; asked for only where it is not ready.

    Attributes:
        event: pod -> its last warning.
        log: pod, container, whether of the run before -> the end of its log.
    """

    event: Callable[[str], str]
    log: Callable[[str, str, bool], str]


def replica(pod: Object, words: Words) -> Replica:
    """One pod, as it was seen."""
    head, status = pod["metadata"], pod.get("status", {})
    number = str(head.get("labels", {}).get(REVISION, ""))
    containers = list(_containers(status))
    restarts = max((int(one.get("restartCount", 0)) for one in containers), default=0)
    phase, reason = _phase(head, status, containers, words)
    return Replica(
        name=head["name"],
        revision=int(number) if number.isdecimal() else 0,
        phase=phase,
        reason=one_line(reason),
        restarts=restarts,
    )


def ended(pod: Object) -> str | None:
    """Why a pod is over for good (evicted, its node lost), and another stands in; None = is not."""
    status = pod.get("status", {})
    if status.get("phase") not in {"Failed", "Succeeded"}:
        return None
    said = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
    return one_line(f"{pod['metadata']['name']} ended: {said or status['phase']}")


def _phase(
    head: Mapping[str, Any],
    status: Mapping[str, Any],
    containers: list[Mapping[str, Any]],
    words: Words,
) -> tuple[Phase, str]:
    if head.get("deletionTimestamp"):
        return Phase.STOPPING, ""
    if condition(status, "Ready").get("status") == "True":
        return Phase.READY, ""
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        said = scheduled.get("message") or scheduled.get("reason") or "no reason"
        return Phase.STARTING, f"no node takes it: {said}"
    for one in containers:
        waiting = one.get("state", {}).get("waiting")
        if waiting is not None and waiting.get("reason") in _HOPELESS:
            return Phase.FAILED, _stuck(head["name"], one, waiting, words)
        over = one.get("state", {}).get("terminated")
        if over is not None and over.get("reason") != "Completed":
            return Phase.FAILED, _over(head["name"], one, over, words, previous=False)
    return Phase.STARTING, words.event(head["name"])


def _stuck(pod: str, container: Mapping[str, Any], waiting: Mapping[str, Any], words: Words) -> str:
    over = container.get("lastState", {}).get("terminated")
    if waiting["reason"] == _CRASHED and over is not None:
        return _over(pod, container, over, words, previous=True)
    said = waiting.get("message") or words.event(pod) or "no more is said"
    return f"{waiting['reason']}: {said}"


def _over(
    pod: str,
    container: Mapping[str, Any],
    over: Mapping[str, Any],
    words: Words,
    *,
    previous: bool,
) -> str:
    if over.get("reason") == "OOMKilled":
        return "OOMKilled: it wanted more than resources.memory"
    name = str(container.get("name", ""))
    log = words.log(pod, name, previous) or str(over.get("message") or "")
    last = "; ".join([line.strip() for line in log.splitlines() if line.strip()][-_LAST_LINES:])
    return f"it ended with {over.get('exitCode', '?')}: {last or over.get('reason') or 'silent'}"


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition of a status; empty = it has none such."""
    found = (one for one in status.get("conditions") or () if one.get("type") == kind)
    return next(found, {})
