"""The watch of one tenant: its duties, what they found, and what they compare with."""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from modelworks.control.forwarding.receivers import Receivers
from modelworks.control.watching import store
from modelworks.control.watching.asking import Servers
from modelworks.control.watching.board import Board, Standing, board, standing
from modelworks.control.watching.diagnosis.asking import Diagnosis, History, Registry, ask
from modelworks.control.watching.duty import Duty, DutyState
from modelworks.control.watching.forwarding import Forwarding
from modelworks.control.watching.machine import System
from modelworks.control.watching.parts import Parts
from modelworks.control.watching.references import References
from modelworks.control.watching.requests import Requests
from modelworks.control.watching.runner import Runner
from modelworks.control.watching.upkeep import Compaction, Retention, Settling
from modelworks.control.watching.use_cases import USE_CASES, Maker
from modelworks.core.alerts import Alert
from modelworks.core.ids import now_ns
from modelworks.core.model import ModelVersion
from modelworks.core.served import ServedList
from modelworks.db.engine import TenantScope
from modelworks.monitor.series.names import HOUR
from modelworks.monitor.series.service import SeriesStore
from modelworks.monitor.series.sketches import SketchStore

if TYPE_CHECKING:
    from modelworks.control.watching.qualities import Qualities
    from modelworks.monitor.alerts.service import Alerts, Listed


class Models(Registry, Protocol):
    """Who knows the models."""

    def show(self, ref: str) -> ModelVersion:
        """One version."""
        ...


class Watching:
    """Series, duties and references.

    Args:
        scope: the tenant's rows.
        registry: of the models.
        history: of deployments.
        actor: who acts.
        clock: UTC nanoseconds.
        use_cases: that alerts may call.
    """

    def __init__(
        self,
        scope: TenantScope,
        registry: Models,
        history: History,
        actor: str = "",
        clock: Callable[[], int] = now_ns,
        use_cases: Mapping[str, Maker] = USE_CASES,
    ) -> None:
        self._scope = scope
        self._actor = actor
        self._clock = clock
        self.series = SeriesStore(scope, clock)
        self.references = References(scope, registry.show, actor, clock)
        self._registry = registry
        self._history = history
        self._use_cases = use_cases
        self._alerts: Alerts | None = None

    @property
    def qualities(self) -> "Qualities":
        """How the quality of each model is watched."""
        from modelworks.control.watching.qualities import Qualities  # noqa: PLC0415 - numpy, scipy

        return Qualities(self._scope, self._registry.show, self._actor, self._clock)

    def duties(self) -> list[DutyState]:
        """How every duty that ever ran does, by name."""
        with self._scope.read() as session:
            return store.every(session)

    def board(self, model: str, since: float, until: float) -> Board:
        """How models do; see `control.watching.board`."""
        return board(self.series, model, since, until, self._standing(), self.duties())

    def alerts(self) -> list[Alert]:
        """Alerts that are pending, fire, or ended within a day."""
        return [one.held.alert for one in self._listed()]

    def _standing(self) -> list[Standing]:
        return [
            standing(one.held.alert, one.id, one.quiet, one.held.acknowledged_by)
            for one in self._listed()
        ]

    def _listed(self) -> "list[Listed]":
        from modelworks.monitor.alerts.service import Alerts  # noqa: PLC0415 - pydantic

        if self._alerts is None:  # kept: rules are read anew only where they changed
            self._alerts = Alerts(self._scope, clock=self._clock)
        return self._alerts.every()

    def diagnose(self, name: str, since: float, until: float) -> Diagnosis:
        """What may have changed about a deployment or a model.

        Raises:
            NotFoundError: there is neither of that name.
        """
        return ask(name, self.series, self._history, self._registry, self.alerts(), since, until)

    def runner(self, parts: Parts, window_s: int = HOUR) -> Runner:
        """The loop of a worker.

        Args:
            parts: that the duties work on.
            window_s: windows of drift.
        """
        return Runner(self._scope, self._all(parts, window_s), self._clock)

    def _all(self, parts: Parts, window_s: int) -> Sequence[Duty]:
        from modelworks.control.watching.alerting import Alerting  # noqa: PLC0415 - pydantic
        from modelworks.control.watching.drifting import Drift  # noqa: PLC0415 - scipy
        from modelworks.control.watching.quality import Quality  # noqa: PLC0415 - the same
        from modelworks.monitor.alerts.service import Alerts  # noqa: PLC0415 - pydantic

        machine = socket.gethostname()[:32] if parts.shared else ""
        servers = Servers(parts.home, parts.deploying)
        use_cases = {name: make(parts) for name, make in self._use_cases.items()}
        alerts = Alerts(self._scope, self.series, use_cases, self._actor, self._clock)
        drift = Drift(
            lambda: parts.records().store,
            self.references.find,
            SketchStore(self._scope),
            self._scope.tenant,
            window_s,
        )
        quality = Quality(
            lambda: parts.records().joining(),
            lambda ref: self._registry.show(ref).signature,
            parts.home.root / "quality",
            self._scope.tenant,
            self.qualities.find,
        )
        return [
            Requests(servers.metrics, machine),
            self._advance(parts, servers),
            System(parts.home, machine),
            Compaction(parts.records),
            drift,
            quality,
            Alerting(alerts),
            Forwarding(Receivers(parts.home.records), machine),
            Settling(self.series),
            Retention(parts.records, lambda: parts.deploying.retention(_days(parts.desired()))),
        ]

    def _advance(self, parts: Parts, servers: Servers) -> Duty:
        from modelworks.control.front.gateways import admins  # noqa: PLC0415 - beside it
        from modelworks.control.replaying.filling import filled  # noqa: PLC0415 - scipy
        from modelworks.control.replaying.planned import refs  # noqa: PLC0415 - the same
        from modelworks.control.replaying.tending import Tending  # noqa: PLC0415 - the same
        from modelworks.control.rollouts.evidence import together  # noqa: PLC0415 - the same
        from modelworks.control.rollouts.gathering import copies  # noqa: PLC0415 - the same
        from modelworks.control.rollouts.gathering.recorded import Recorded  # noqa: PLC0415 - scipy
        from modelworks.control.rollouts.gathering.truth import Truth  # noqa: PLC0415 - the same
        from modelworks.control.rollouts.grounds.ground import Among, Sights  # noqa: PLC0415 - same
        from modelworks.control.rollouts.loaded import Loaded, carriers  # noqa: PLC0415 - beside it
        from modelworks.control.watching.advancing import Advance  # noqa: PLC0415 - scipy
        from modelworks.control.watching.sights.admins import Admins  # noqa: PLC0415 - beside it
        from modelworks.control.watching.sights.gateways import Fronted  # noqa: PLC0415 - the same
        from modelworks.control.watching.sights.servers import Served  # noqa: PLC0415 - the same

        signature = lambda ref: self._registry.show(ref).signature  # noqa: E731 - as above
        tenant, verbs = self._scope.tenant, parts.rollouts()
        recorded = Recorded(
            lambda: parts.records().store,
            signature,
            lambda name: parts.rollouts().get(name),
            lambda name, told: copies.keep(self._scope, name, told, self._clock()),
            tenant,
        )
        known = Truth(lambda: parts.records().joining(), signature, tenant)
        served = Served(
            lambda: servers.of(carriers(parts.home)), Loaded(lambda: carriers(parts.home))
        )
        fronted = Fronted(parts.deploying.one, Admins(lambda: admins(parts.home, parts.gateways)))
        sights: Sights = {Among.VERSIONS: served, Among.DEPLOYMENTS: fronted}
        show, ref_of = self._registry.show, refs(parts.deploying.runs)
        replays = Tending(parts.home.root, show, ref_of)
        further = filled(
            together([known, recorded]), show, ref_of, lambda name: verbs.get(name).rollout.step
        )
        return Advance(verbs, sights, further, replays)


def _days(served: ServedList) -> Mapping[str, int]:
    """For how long records of each served model are kept."""
    return {
        model.name: model.records.retention_days
        for model in served.models
        if model.records is not None
    }
