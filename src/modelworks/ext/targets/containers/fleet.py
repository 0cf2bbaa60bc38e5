"""The containers of one deployment on an engine: found, mended, told to go, removed."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from docker.errors import APIError, NotFound

from modelworks.core.deployment import Observed, Phase, Replica
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from modelworks.ext.targets.containers import names, seen
from modelworks.ext.targets.containers.container import Address
from modelworks.ext.targets.containers.engine import Engine, asked
from modelworks.ext.targets.containers.kept import Kept

_LOOK_S: Final = 0.1
_ORDER: Final = (Phase.READY, Phase.STARTING, Phase.FAILED, Phase.STOPPING)
_UPDATABLE: Final = {
    "Memory": "mem_limit",
    "MemorySwap": "memswap_limit",
    "CpuShares": "cpu_shares",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
}


class Fleet:
    """What an engine has of one deployment, as it was when this was made.

    Args:
        engine: that has it.
        deployment: its name.
    """

    def __init__(self, engine: Engine, deployment: str) -> None:
        self.engine = engine
        self.deployment = deployment
        self.all = engine.containers(deployment)
        self.networks = seen.networks(self.all)
        self.replicas = [one for one in self.all if seen.label(one, names.REVISION)]

    def of(self, revision: int) -> list[dict[str, Any]]:
        """Replicas of a revision that are to stay, the best first."""
        own = [
            one
            for one in self.replicas
            if seen.revision(one) == revision and seen.stopping_since(one) is None
        ]
        return sorted(own, key=lambda one: (_ORDER.index(self._look(one).phase), one["Name"]))

    def observed(self, kept: Kept) -> Observed | None:
        """What runs; None = nothing does, and nothing is to.

        Replicas that ended as they were told to, or should have by now, are cleared away: no engine
        does so by itself, and nothing else is asked of a target while they end.
        """
        was = kept.read(self.deployment)
        if not self.all and was is None:
            return None
        there = [one for one in self.replicas if not self._reap(one)]
        replicas = tuple(self._look(one, words=True) for one in there)
        return Observed(self._url(replicas), replicas, seen.changed(self.all, was or {}))

    def mend(self) -> None:
        """Put right what can be on containers that are there; what cannot be is removed.

        Who is removed here answers nobody any more.
        """
        for one in self.all:
            if seen.stopping_since(one) is not None:
                self._reap(one)
                continue
            if not seen.is_network(one) and not seen.label(one, names.REVISION):
                self.remove(one)  # what carried secrets into a volume, when that was interrupted
            elif one["State"]["Dead"] or (
                one in self.replicas and seen.cut_off(one, self.networks)
            ):
                self.remove(one)
            elif one in self.replicas and seen.hung(one):
                self.retire(one)
            else:
                self._put_right(one)

    def retire(self, one: Mapping[str, Any]) -> None:
        """Tell a replica to go: it answers what it has, and takes no more.

        Its name says so from then on, for whoever looks, or goes on with this. Who does not run, or
        is started again and again, has nothing to answer: it is removed.
        """
        if one["State"]["Status"] != "running":
            self.remove(one)
            return
        name = f"{seen.name_of(one)}-stopping-{int(time.time())}"
        with asked(f"the container {name}"):
            try:
                self.engine.api.rename(one["Id"], name)
                # The signal that the container stops by: the engine does not start it anew.
                self.engine.api.kill(one["Id"], "SIGTERM")
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409:  # that is: it does not run any more
                    raise
                self.engine.api.remove_container(one["Id"], force=True, v=True)

    def remove(self, one: Mapping[str, Any]) -> None:
        """Remove a container, running or not."""
        with asked(f"the container {seen.name_of(one)}"):
            try:
                self.engine.api.remove_container(one["Id"], force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409:  # that is: another process does so
                    raise

    def sweep(self, revisions: set[int], addresses: set[str]) -> None:
        """Remove networks and secrets that nobody uses.

        Args:
            revisions: that are wanted.
            addresses: names of those that are.
        """
        now = Fleet(self.engine, self.deployment)
        used = {seen.label(one, names.NETWORK) for one in now.replicas} | addresses
        for holder in (one for one in now.all if seen.is_network(one)):
            if seen.label(holder, names.NETWORK) not in used:
                now.remove(holder)
        needed = {seen.revision(one) for one in now.replicas} | revisions
        filters = {"label": f"{names.DEPLOYMENT}={self.deployment}"}
        with asked("the list of volumes"):
            volumes = self.engine.api.volumes(filters=filters)["Volumes"] or []
            for volume in volumes:
                said = str(volume["Labels"].get(names.REVISION, ""))
                if said.isdigit() and int(said) not in needed:
                    self.engine.api.remove_volume(volume["Name"], force=True)

    def delete(self) -> None:
        """End every replica after its drain, and remove all there is."""
        for one in self.replicas:
            if seen.stopping_since(one) is None:
                self.retire(one)
        self._until_ended(self.replicas)
        left = Fleet(self.engine, self.deployment)
        for one in [*left.replicas, *left.all]:
            left.remove(one)
        self.sweep(set(), set())

    def finish(self, revisions: set[int]) -> None:
        """Wait for replicas of these revisions that are to go, and remove them."""
        leaving = [
            one
            for one in Fleet(self.engine, self.deployment).replicas
            if seen.revision(one) in revisions and seen.stopping_since(one) is not None
        ]
        self._until_ended(leaving)
        for one in leaving:
            self.remove(one)

    def _until_ended(self, leaving: Sequence[Mapping[str, Any]]) -> None:
        """As long as the one that may take longest."""
        limit = max((int(one["Config"].get("StopTimeout") or 0) for one in leaving), default=0)
        end = time.monotonic() + limit
        running = leaving
        while running and time.monotonic() < end:
            now = [self.engine.inspect(str(one["Id"])) for one in running]
            running = [one for one in now if one is not None and one["State"]["Running"]]
            time.sleep(_LOOK_S if running else 0)

    def _reap(self, one: Mapping[str, Any]) -> bool:
        """Remove a replica that was to go and did, or takes too long; whether it was one."""
        since = seen.stopping_since(one)
        limit = int(one["Config"].get("StopTimeout") or 0)
        over = since is not None and (not one["State"]["Running"] or time.time() > since + limit)
        if over:
            self.remove(one)
        return over

    def _put_right(self, one: Mapping[str, Any]) -> None:
        name = seen.name_of(one)
        with asked(f"the container {name}"):
            if one["State"]["Paused"]:
                self.engine.api.unpause(one["Id"])
            was, now = seen.limits_of(one), seen.limits_now(one)
            if was != now:
                # Memory is first raised and then lowered with swap: they go together.
                self.engine.api.update_container(
                    one["Id"], **{_UPDATABLE[key]: value for key, value in was.items() if value}
                )
        if one["State"]["Status"] in {"exited", "created"}:
            self.start(one)

    def start(self, one: Mapping[str, Any]) -> None:
        """Start a container; one that cannot be is removed, for another to take its place.

        Raises:
            InvalidError: its port is taken.
            UnavailableError: the engine is in trouble.
        """
        try:
            with asked(f"the container {seen.name_of(one)}"):
                self.engine.api.start(one["Id"])
        except (NotFoundError, ConflictError):
            self.remove(one)
        except (InvalidError, UnavailableError):
            self.remove(one)
            raise

    def _look(self, one: Mapping[str, Any], *, words: bool = False) -> Replica:
        return seen.replica(one, self.networks, self.engine.words if words else _silent)

    def _url(self, replicas: Sequence[Replica]) -> str:
        """Of the newest revision that answers, else of the newest."""
        best = sorted(
            (one for one in replicas if one.phase is not Phase.STOPPING),
            key=lambda one: (one.phase is not Phase.READY, -one.revision),
        )
        if not best:
            return ""
        made = next(one for one in self.replicas if seen.name_of(one) == best[0].name)
        port, _, who = seen.label(made, names.NETWORK).partition("-")
        tls = any("_TLS_CERT=" in said for said in made["Config"]["Env"] or [])
        return Address(int(port), who == "public", tls).url(self.engine.name)


def _silent(_container: str) -> str:
    return ""
