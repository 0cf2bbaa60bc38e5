"""What the snapshot for gateways is made of, read where it is kept."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.control.front.composed import Deployed, Own, compose
from modelworks.control.front.endpoints import deployed, reachable
from modelworks.control.front.places import Places
from modelworks.control.rollouts import routes as followed
from modelworks.control.rollouts import store
from modelworks.control.rollouts.kept import Kept
from modelworks.control.rollouts.loaded import carriers
from modelworks.core.desired import Desired, DesiredRoute
from modelworks.core.errors import NotFoundError
from modelworks.core.home import Home
from modelworks.core.reference import parse_ref
from modelworks.core.routes import Endpoint, Route, Snapshot
from modelworks.core.served import read_served
from modelworks.db.engine import TenantScope
from modelworks.deploy.carried import CARRIER
from modelworks.deploy.routes import Routes
from modelworks.deploy.service import Deployments

_FIRST_S: Final = 3.0  # that targets are waited for before the very first snapshot
_BEGIN_S: Final = 30.0  # that gateways wait for the server of an `up` that begins


@dataclass(frozen=True, slots=True)
class Reach:
    """How gateways reach this machine.

    Attributes:
        address: its name or number for other machines; empty = only gateways of this one do.
        public: the server of `up` listens for other machines.
        awaited: `up` has started us, and its server begins: where that is, is not known yet.
    """

    address: str = ""
    public: bool = False
    awaited: bool = False


class Sources:
    """Of one tenant and one data folder; used by one thread.

    Args:
        home: the data folder.
        scope: the tenant's rows.
        routes: of manifests.
        deployments: the same.
        served: list of what the server of `up` serves.
        reach: how gateways reach it.

    Attributes:
        known: the addresses of our own server are those of now, or it takes too long to wait.
    """

    def __init__(
        self,
        home: Home,
        scope: TenantScope,
        routes: Routes,
        deployments: Deployments,
        served: Path,
        reach: Reach,
    ) -> None:
        self._home = home
        self._scope = scope
        self._routes = routes
        self._deployments = deployments
        self._served = served
        self._reach = reach
        self._known: dict[tuple[str, int], tuple[str, str]] = {}
        self._places = Places(home.targets, deployments.machine)
        self._known_by = time.monotonic() + _BEGIN_S if reach.awaited else 0.0

    @property
    def known(self) -> bool:
        """See the class."""
        return time.monotonic() >= self._known_by

    def close(self) -> None:
        """Look at no target any more."""
        self._places.close()

    def __call__(self, before: Snapshot) -> tuple[Route, ...]:
        """All routes.

        Raises:
            ModelworksError: the database or a file cannot be read.
        """
        asked = [one for one in self._routes.every() if one.target == CARRIER]
        names = {one.name for one in asked}
        own = self._own([route for route in before.routes if route.name not in names])
        rollouts = self._rollouts() if asked else []
        return compose(own, asked, self._deployed(asked, before), rollouts, before.routes)

    def _own(self, before: list[Route]) -> Own:
        address = self._reach.address if self._reach.public else ""
        found = [Endpoint(reachable(url, address)) for url in carriers(self._home)]
        if not found:  # `up` begins: it has not said yet where its server is
            found = [*next(_endpoints(reversed(before)), ())]
        else:
            self._known_by = 0.0
        return Own(
            tuple(found),
            self._models(),
            followed.read(self._home.run / followed.FILE).routes,
        )

    def _models(self) -> dict[str, str]:
        try:
            served = read_served(self._served)
        except NotFoundError:
            return {}
        return {one.name: one.version for one in served.models if one.default}

    def _rollouts(self) -> list[Kept]:
        with self._scope.read() as session:
            return store.unsettled(session)

    def _deployed(self, asked: list[DesiredRoute], before: Snapshot) -> dict[str, Deployed]:
        named = {name for one in asked for name in one.deployments}
        wanted = [one for one in self._deployments.every() if one.name in named] if named else []
        # Gateways may have routes of ours though we have none: the first ones are to be whole.
        seen = self._places.look(wanted, 0.0 if before.generation else _FIRST_S)
        of = {one.name for one in asked}
        held = {
            arm.name: [place for place in arm.endpoints if not place.zone]  # its own
            for route in before.routes
            if route.name in of
            for arm in route.arms
        }
        address = self._reach.address
        return {
            one.name: deployed(
                one, self._runs(one), seen[one.name], held.get(one.name, ()), address
            )
            for one in wanted
        }

    def _runs(self, desired: Desired) -> tuple[str, str]:
        """Model and version of the revision that answers; a revision never changes."""
        key = (desired.name, desired.serving or desired.wanted)
        if key not in self._known:
            revision = self._deployments.known(desired.name).get(key[1])
            if revision is None:
                return parse_ref(str(desired.spec["model"]), variants=True).name, ""
            self._known = {k: v for k, v in self._known.items() if k[0] != desired.name}
            self._known[key] = (revision.model.name, revision.model.version)
        return self._known[key]


def _endpoints(routes: Iterable[Route]) -> Iterator[tuple[Endpoint, ...]]:
    return (arm.endpoints for route in routes for arm in route.arms if arm.endpoints)
