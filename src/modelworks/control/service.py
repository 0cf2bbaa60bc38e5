"""The factory in one process: every verb of the control plane, on this machine's data folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from modelworks.control.verbs import Verbs, os_user
from modelworks.deploy.routes import Routes
from modelworks.registry.service import Registry

if TYPE_CHECKING:
    from modelworks.control.deploying.service import Deploying
    from modelworks.control.forwarding.receivers import Receivers
    from modelworks.control.front.service import Front
    from modelworks.control.front.sources import Reach
    from modelworks.control.optimizing.service import Optimizing
    from modelworks.control.records.service import Records
    from modelworks.control.replaying.asked import Asked as Replay
    from modelworks.control.replaying.service import Replays
    from modelworks.control.rollouts.service import Rollouts
    from modelworks.control.watching.parts import Parts
    from modelworks.control.watching.service import Watching
    from modelworks.core.rollouts import Plan as RolloutPlan
    from modelworks.monitor.alerts.service import Alerts

__all__ = ["Factory", "os_user"]


class Factory(Verbs):
    """The in-process transport: what the command line and the control plane both call.

    Its features are made when they are asked for: what they import is large.
    """

    @property
    def deploying(self) -> "Deploying":
        """The verbs of deployments."""
        from modelworks.control.deploying.images import Maker  # noqa: PLC0415 - pydantic
        from modelworks.control.deploying.service import Deploying  # noqa: PLC0415 - the same
        from modelworks.control.rollouts.grounds.held import Held  # noqa: PLC0415 - the same

        images = Maker(self.home, self.show)
        found = (self._deployments, self._routes, self._resolver, images, self.home.targets)
        return Deploying(*found, Held(self._scope))

    @property
    def records(self) -> "Records":
        """The verbs of records and feedback."""
        from modelworks.control.records.service import Records  # noqa: PLC0415 - numpy

        note = self._deployments.note_act
        return Records(self.home, self._stores, self._tenant, note, self._clock)

    @property
    def optimizing(self) -> "Optimizing":
        """The verbs of optimizing."""
        from modelworks.control.optimizing.service import Optimizing  # noqa: PLC0415 - numpy

        return Optimizing(self, self._registry)

    @property
    def receivers(self) -> "Receivers":
        """Who gets records from the worker."""
        from modelworks.control.forwarding.receivers import Receivers  # noqa: PLC0415 - numpy

        return Receivers(self.home.records, self._deployments.note_act)

    @property
    def watching(self) -> "Watching":
        """The verbs of the watch."""
        from modelworks.control.watching.service import Watching  # noqa: PLC0415 - numpy

        return Watching(self._scope, self, self._deployments, self._actor, self._clock)

    @property
    def alerting(self) -> "Alerts":
        """The verbs of alerts; who evaluates them is `watching`."""
        from modelworks.monitor.alerts.service import Alerts  # noqa: PLC0415 - pydantic

        return Alerts(self._scope, actor=self._actor, clock=self._clock)

    @property
    def rollouts(self) -> "Rollouts":
        """The verbs of roll-outs."""
        return self.rollouts_by(self._actor)

    def rollouts_by(self, actor: str) -> "Rollouts":
        """The verbs of roll-outs as somebody acts: what is kept and audited names him."""
        from modelworks.control.rollouts.grounds import deployments, versions  # noqa: PLC0415 - scipy
        from modelworks.control.rollouts.grounds.ground import Among, Grounds  # noqa: PLC0415 - same
        from modelworks.control.rollouts.routes import FILE  # noqa: PLC0415 - numpy, scipy
        from modelworks.control.rollouts.service import Rollouts  # noqa: PLC0415 - the same

        registry = Registry(self._scope, self._blobs, self.home.cache, actor, self._clock)
        moved = Routes(self._scope, actor, self._clock)
        grounds: Grounds = {
            Among.VERSIONS: versions.Versions(registry, self.home.run / FILE),
            Among.DEPLOYMENTS: deployments.Deployments(moved),
        }
        return Rollouts(self._scope, registry, grounds, actor, self._clock)

    @property
    def replays(self) -> "Replays":
        """The verbs of replays."""
        from modelworks.control.replaying.service import Replays  # noqa: PLC0415 - numpy, scipy

        series, name = self.watching.series, "requests"

        def counted(asked: "Replay") -> int:
            labels = {"model": asked.model, "version": asked.stable}
            found = series.select(name, labels, asked.since_ns / 1e9, asked.until_ns / 1e9)
            return int(sum(value for one in found for value in one.values if value == value))  # noqa: PLR0124 - NaN

        return Replays(self.show, self.records.joining, counted, self._tenant)

    def replayed(self, plan: "RolloutPlan", arm: str) -> tuple[str, str]:
        """Model and version of an arm of a roll-out: a version, or what a deployment runs."""
        from modelworks.control.replaying.planned import refs  # noqa: PLC0415 - numpy, scipy

        return refs(self.deploying.runs)(plan, arm)

    def front(self, served: Path, reach: "Reach") -> "Front":
        """What gateways go by; the caller starts and closes it."""
        from modelworks.control.front.keeping import FILE  # noqa: PLC0415 - what loads little stays
        from modelworks.control.front.service import Front  # noqa: PLC0415 - the same
        from modelworks.control.front.sources import Sources  # noqa: PLC0415 - the same

        parts = (self._routes, self._deployments, served, reach)
        sources = Sources(self.home, self._scope, *parts)
        file = self.home.run / FILE
        return Front(sources, file, sources.close, known=lambda: sources.known)

    @property
    def watched(self) -> "Parts":
        """What a worker's duties work on."""
        from modelworks.control.watching.parts import Parts  # noqa: PLC0415 - numpy

        shared = bool(self._stores.database)
        return Parts(
            self.home,
            self.deploying,
            lambda: self.records,
            self.desired,
            lambda: self.rollouts,
            shared,
        )
