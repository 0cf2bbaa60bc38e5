"""Routes as they were asked for, kept."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from modelworks.core.desired import Audited, DesiredRoute, State
from modelworks.core.errors import NotFoundError
from modelworks.core.ids import now_ns
from modelworks.db.engine import TenantScope
from modelworks.deploy import locks, store


class Routes:
    """One tenant's routes; nothing is routed here.

    Args:
        scope: the tenant's rows.
        actor: who acts, as recorded.
        clock: UTC nanoseconds.
    """

    def __init__(
        self, scope: TenantScope, actor: str = "", clock: Callable[[], int] = now_ns
    ) -> None:
        self._scope = scope
        self._actor = actor
        self._clock = clock

    def every(self) -> list[DesiredRoute]:
        """All, by name."""
        with self._scope.read() as session:
            return store.every_route(session)

    def find(self, name: str) -> DesiredRoute | None:
        """One; None = nobody asked for it."""
        with self._scope.read() as session:
            return store.get_route(session, name)

    def get(self, name: str) -> DesiredRoute:
        """One.

        Raises:
            NotFoundError: nobody asked for it.
        """
        found = self.find(name)
        if found is None:
            known = ", ".join(one.name for one in self.every()[:8]) or "none"
            raise NotFoundError(f"no route '{name}'; there are: {known}", field="name")
        return found

    @contextmanager
    def locked(self, name: str, wait_s: float = 0.0) -> Iterator[locks.Lock]:
        """Be the only one who changes a route: see `locks.held`."""
        with locks.held(self._scope, f"route/{name}", self._clock, wait_s) as lock:
            yield lock

    def ask(
        self, document: Mapping[str, Any], target: str, settings: Mapping[str, str]
    ) -> DesiredRoute:
        """Note what is wanted; where nothing changed and nothing failed, nothing is written."""
        name = str(document["metadata"]["name"])
        now = self._clock()
        with self._scope.write() as session:
            before = store.get_route(session, name)
            if before is not None and before.state is State.READY:
                same = (before.document, before.target, dict(before.settings))
                if same == (document, target, dict(settings)):
                    return before
            after = DesiredRoute(
                name,
                target,
                settings,
                document,
                generation=before.generation + 1 if before else 1,
                created_ns=before.created_ns if before else now,
                updated_ns=now,
            )
            store.put_route(session, after)
            detail = {"generation": after.generation}
            entry = Audited(now, self._actor, "apply", f"route/{name}", detail)
            store.audit(session, entry)
            return after

    def move(self, name: str, weights: Mapping[str, int], reason: str) -> DesiredRoute:
        """Give its deployments other weights; those that are not named get none, and stay.

        Args:
            name: of the route.
            weights: deployment -> percent, 100 together; who is not a backend becomes one.
            reason: kept with the act.

        Raises:
            NotFoundError: nobody asked for the route.
        """
        with self._scope.write() as session:
            before = store.get_route(session, name)
            if before is None:
                raise NotFoundError(f"no route '{name}'", field="name")
            spec = before.document["spec"]
            known = [str(one["deployment"]) for one in spec["backends"]]
            names = dict.fromkeys([*known, *weights])
            backends = [{"deployment": one, "weight": weights.get(one, 0)} for one in names]
            if backends == spec["backends"]:
                return before
            now = self._clock()
            after = replace(
                before,
                document={**before.document, "spec": {**spec, "backends": backends}},
                generation=before.generation + 1,
                updated_ns=now,
            )
            store.put_route(session, after)
            detail = {"generation": after.generation, "weights": dict(weights), "reason": reason}
            store.audit(session, Audited(now, self._actor, "promote", f"route/{name}", detail))
            return after

    def note(self, desired: DesiredRoute, state: State, message: str = "") -> None:
        """Say what became of it; quiet where something else is asked for by now."""
        with self._scope.write() as session:
            now = store.get_route(session, desired.name)
            if now is None or now.generation != desired.generation:
                return
            after = replace(now, state=state, message=message)
            if after != now:
                store.put_route(session, replace(after, updated_ns=self._clock()))

    def gone(self, name: str) -> None:
        """It was taken away: forget it."""
        with self._scope.write() as session:
            store.remove_route(session, name)
            subject = f"route/{name}"
            store.audit(session, Audited(self._clock(), self._actor, "delete", subject, {}))
