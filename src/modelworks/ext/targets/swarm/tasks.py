"""Tasks of a service -> replicas. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from modelworks.core.deployment import Phase, Replica
from modelworks.ext.targets.containers import names

Task = Mapping[str, Any]
_OVER: Final = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
_BROKEN: Final = frozenset({"failed", "rejected"})
_WAITING: Final = frozenset({"new", "pending", "assigned", "accepted", "preparing", "ready"})
_KILLED: Final = 137


def replicas(tasks: Sequence[Task], words: Callable[[str], str]) -> tuple[Replica, ...]:
    """What there is of a service, tasks that ended left out.

    Args:
        tasks: of it, those of the past included: Swarm keeps a few.
        words: id of a container -> the last words of its log.
    """
    found = []
    for task in sorted(tasks, key=lambda one: (one.get("Slot", 0), str(one["CreatedAt"]))):
        before = [
            one
            for one in tasks
            if _same(one, task) and one["Status"]["State"] in _BROKEN and one is not task
        ]
        looked = _look(task, before, words)
        if looked is not None:
            found.append(looked)
    return tuple(found)


def revision(task: Task) -> int:
    """Of a task; 0 = nobody knows."""
    labels = task["Spec"]["ContainerSpec"].get("Labels") or {}
    said = str(labels.get(names.REVISION, ""))
    return int(said) if said.isdigit() else 0


def _look(task: Task, before: Sequence[Task], words: Callable[[str], str]) -> Replica | None:
    state, desired = str(task["Status"]["State"]), str(task["DesiredState"])
    name = f"{names.PREFIX}{task.get('Slot', 0)}-{task['ID'][:12]}"
    number, restarts = revision(task), len(before)
    if desired in {"shutdown", "remove"}:
        alive = state not in _OVER and state not in _WAITING
        return Replica(name, number, Phase.STOPPING, "", restarts) if alive else None
    if state == "running":
        return Replica(name, number, Phase.READY, "", restarts)
    if state in _OVER:
        return Replica(name, number, Phase.FAILED, _why(task, words), restarts + 1)
    if before and state in _WAITING:
        last = max(before, key=lambda one: str(one["CreatedAt"]))
        return Replica(name, number, Phase.FAILED, _why(last, words), restarts)
    status = task["Status"]
    reason = str(status.get("Err") or status.get("Message") or state)
    return Replica(name, number, Phase.STARTING, reason, restarts)


def _why(task: Task, words: Callable[[str], str]) -> str:
    """Why a task failed, with the last words of its log where this node has them."""
    status = task["Status"]
    container = status.get("ContainerStatus") or {}
    reason = str(status.get("Err") or status.get("Message") or status["State"])
    limit = task["Spec"].get("Resources", {}).get("Limits", {}).get("MemoryBytes", 0)
    if container.get("ExitCode") == _KILLED and limit:
        reason += f": killed, as one is that takes more than its {limit >> 20} MiB of memory"
    said = words(str(container["ContainerID"])) if container.get("ContainerID") else ""
    return f"{reason}; its log ends: {said}" if said else reason


def _same(one: Task, other: Task) -> bool:
    return one.get("Slot") == other.get("Slot") and revision(one) == revision(other)
