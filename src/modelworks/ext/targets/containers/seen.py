"""Containers as `inspect` shows them -> replicas, and what somebody else changed. Pure."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from modelworks.core.deployment import Phase, Replica
from modelworks.ext.targets.containers import names

Seen = Mapping[str, Any]
"""What `inspect` shows of one container."""
STOPPING: Final = re.compile(r"-stopping-([0-9]+)$")
"""At the end of the name of one that is to go: since when, in seconds since 1970."""
HUNG: Final = 3
"""Times the failures after which a replica is not ready: then another takes its place."""


def name_of(seen: Seen) -> str:
    """Of a container."""
    return str(seen["Name"]).lstrip("/")


def label(seen: Seen, key: str) -> str:
    """Of a container; "" = it has none."""
    return str((seen["Config"].get("Labels") or {}).get(key, ""))


def revision(seen: Seen) -> int:
    """Of a replica; 0 = of what holds a network, or nobody knows."""
    said = label(seen, names.REVISION)
    return int(said) if said.isdigit() else 0


def is_network(seen: Seen) -> bool:
    """Whether it only holds a network."""
    return not label(seen, names.REVISION) and bool(label(seen, names.NETWORK))


def stopping_since(seen: Seen) -> int | None:
    """When a replica was told to go, in seconds since 1970; None = it was not."""
    found = STOPPING.search(name_of(seen))
    return int(found[1]) if found else None


def networks(all_seen: Sequence[Seen]) -> dict[str, Seen]:
    """Id and name of every container that holds a network -> it."""
    holders = [one for one in all_seen if is_network(one)]
    return {key: one for one in holders for key in (str(one["Id"]), name_of(one))}


def cut_off(seen: Seen, holders: Mapping[str, Seen]) -> bool:
    """Whether the network that a replica joined is not there any more: nobody reaches it.

    Args:
        seen: a replica.
        holders: of `networks`.
    """
    mode = str(seen["HostConfig"]["NetworkMode"])
    if not mode.startswith("container:"):
        return False
    holder = holders.get(mode.partition(":")[2])
    if holder is None or not holder["State"]["Running"]:
        return True
    # A container that is started anew has a new network, and who joined the old one keeps that.
    running = bool(seen["State"]["Running"])
    return running and _time(seen["State"]["StartedAt"]) < _time(holder["State"]["StartedAt"])


def hung(seen: Seen) -> bool:
    """Whether a replica has not answered for so long that another is to take its place."""
    state = seen["State"].get("Health") or {}
    retries = int((seen["Config"].get("Healthcheck") or {}).get("Retries") or 1)
    failing = int(state.get("FailingStreak") or 0)
    return state.get("Status") == "unhealthy" and failing >= HUNG * retries


def replica(seen: Seen, holders: Mapping[str, Seen], words: Callable[[str], str]) -> Replica:
    """One replica.

    Args:
        seen: of it.
        holders: as for `cut_off`.
        words: id of a container -> the last words of its log.
    """
    restarts = int(seen.get("RestartCount") or 0)
    phase, reason = _phase(seen, holders)
    if phase is not Phase.READY and phase is not Phase.STOPPING:
        said = words(str(seen["Id"]))
        reason = f"{reason}; its log ends: {said}" if said else reason
    return Replica(name_of(seen), revision(seen), phase, reason, restarts)


def changed(all_seen: Sequence[Seen], kept: Mapping[int, int]) -> tuple[str, ...]:
    """What somebody else did to containers, one line each.

    Args:
        all_seen: containers of a deployment.
        kept: revision -> replicas of it, as they were when `apply` ended last.
    """
    return tuple(_changed(all_seen, kept))


def limits_of(seen: Seen) -> dict[str, int]:
    """What a container of ours was made with, of what can be changed while it runs."""
    said = label(seen, names.LIMITS)
    return {} if not said else dict(json.loads(said))


def limits_now(seen: Seen) -> dict[str, int]:
    """The same as it is now."""
    return {key: int(seen["HostConfig"].get(key) or 0) for key in limits_of(seen)}


def _changed(all_seen: Sequence[Seen], kept: Mapping[int, int]) -> Iterator[str]:
    holders = networks(all_seen)
    for number, many in sorted(kept.items()):
        there = sum(revision(one) == number and stopping_since(one) is None for one in all_seen)
        if there < many:
            yield f"revision {number}: {many - there} of {many} containers are gone"
    for one in all_seen:
        if stopping_since(one) is not None:
            continue
        state, name = one["State"], name_of(one)
        if state["Paused"]:
            yield f"{name} was paused"
        elif state["Status"] == "exited":
            yield f"{name} was stopped, or ended and is not started anew"
        elif not is_network(one) and cut_off(one, holders):
            yield f"{name} is cut off: the container that has its network was removed or restarted"
        was, now = limits_of(one), limits_now(one)
        for key in sorted(was):
            if was[key] != now[key]:
                yield f"{name}: {key} is {now[key]}, not {was[key]}"


def _phase(seen: Seen, holders: Mapping[str, Seen]) -> tuple[Phase, str]:
    state = seen["State"]
    status = str(state["Status"])
    if stopping_since(seen) is not None:
        return Phase.STOPPING, ""
    if status in {"restarting", "exited", "dead"}:
        return Phase.FAILED, _ended(seen)
    if status == "paused":
        return Phase.FAILED, "it is paused"
    if status != "running":
        error = str(state.get("Error") or "")
        return (Phase.FAILED, error) if error else (Phase.STARTING, "it was made, not started")
    if cut_off(seen, holders):
        return Phase.FAILED, "the container that has its network was removed or restarted"
    return _healthy(state)


def _healthy(state: Mapping[str, Any]) -> tuple[Phase, str]:
    health = state.get("Health") or {}
    status = str(health.get("Status") or "")
    log = health.get("Log") or [{}]
    said = " ".join(str(log[-1].get("Output") or "").split())[-300:]
    if status == "healthy":
        return Phase.READY, ""
    if status == "unhealthy":
        return Phase.FAILED, f"it does not answer its health check: {said}"
    return Phase.STARTING, said or "its first health check is to come"


def _ended(seen: Seen) -> str:
    state = seen["State"]
    code = state.get("ExitCode")
    if state.get("OOMKilled"):
        limit = int(seen["HostConfig"].get("Memory") or 0)
        return (
            f"it took more than its {limit >> 20} MiB of memory and was killed: "
            "raise resources.memory"
        )
    error = str(state.get("Error") or "")
    return f"it ended with {code}" + (f": {error}" if error else "")


def _time(text: str) -> datetime:
    """RFC 3339 with ns, of which microseconds are kept."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{rest[:6].ljust(6, '0')}+00:00")
