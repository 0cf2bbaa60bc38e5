"""Deployments on one engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelworks.core.deployment import Observed, Rendered, Share, Wanted
from modelworks.core.errors import ConflictError, NotFoundError
from modelworks.ext.targets.containers import names, secrets, seen
from modelworks.ext.targets.containers.bound import Bound
from modelworks.ext.targets.containers.container import Container, container_of
from modelworks.ext.targets.containers.engine import Engine, asked
from modelworks.ext.targets.containers.fleet import Fleet
from modelworks.ext.targets.containers.kept import Kept
from modelworks.ext.targets.docker import render


class OpenDocker:
    """See `OpenTarget`.

    Args:
        engine: where.
        kept: what was applied from here.
        records: of this machine.
        host: replicas use the machine's own network.
    """

    def __init__(self, engine: Engine, kept: Kept, records: Bound, *, host: bool) -> None:
        self._engine = engine
        self._kept = kept
        self._records = records
        self._host = host

    def render(self, wanted: Wanted) -> tuple[Rendered, ...]:
        """See `OpenTarget.render`."""
        shelf = self._records.shelf(wanted.name)
        return render.render(wanted, host=self._host, shelf=shelf)

    def apply(self, wanted: Wanted) -> None:
        """See `OpenTarget.apply`. What is new is made before anything is told to go."""
        shelf = self._records.shelf(wanted.name)
        made = [
            (
                share,
                container_of(wanted, share.revision, own_network=not self._host, shelf=shelf),
            )
            for share in wanted.shares
        ]
        self._records.provide(self._engine, [one for _, one in made])
        Fleet(self._engine, wanted.name).mend()
        for share, container in made:
            self._engine.provide(container.image, container.pull)
            joined = render.HOST if self._host else self._network(wanted, container)
            self._grow(share, container, joined)
        self._shrink(wanted)
        self._kept.write(wanted.name, {one.revision.number: one.replicas for one in wanted.shares})
        Fleet(self._engine, wanted.name).sweep(
            {share.revision.number for share in wanted.shares},
            {container.address.name for _, container in made},
        )

    def take_image(self, archive: Path, name: str) -> str:
        """See `TakesImages`."""
        return self._engine.take(archive, name)

    def observe(self, name: str) -> Observed | None:
        """See `OpenTarget.observe`."""
        return Fleet(self._engine, name).observed(self._kept)

    def delete(self, name: str) -> None:
        """See `OpenTarget.delete`."""
        Fleet(self._engine, name).delete()
        self._records.leave(name)
        self._kept.forget(name)

    def _network(self, wanted: Wanted, container: Container) -> str:
        """Have the container whose network replicas at an address share; its name."""
        name = names.network(wanted.name, container.address.name)
        if self._engine.inspect(name) is None:
            self._create(name, render.network(wanted, container))
        return name

    def _grow(self, share: Share, container: Container, joined: str) -> None:
        """As many replicas of a revision as it is to have, at least."""
        fleet = Fleet(self._engine, container.deployment)
        own = fleet.of(container.revision)
        for one in own:  # of the same number, and not the same: left by somebody else
            if seen.label(one, names.DIGEST) != share.revision.digest:
                fleet.retire(one)
        own = [one for one in own if seen.label(one, names.DIGEST) == share.revision.digest]
        if container.files and share.replicas:
            secrets.fill(self._engine, container, own[0]["Id"] if own else None)
        taken = {seen.name_of(one) for one in fleet.replicas}
        place, missing = 1, share.replicas - len(own)
        while missing > 0:
            name = names.replica(container.deployment, container.revision, place)
            if name not in taken:
                self._create(name, render.replica(container, joined))
                missing -= 1
            place += 1

    def _shrink(self, wanted: Wanted) -> None:
        """No more replicas than there are to be, the worst of them told to go."""
        fleet = Fleet(self._engine, wanted.name)
        counts = {share.revision.number: share.replicas for share in wanted.shares}
        for number in {seen.revision(one) for one in fleet.replicas}:
            extra: Sequence[Any] = fleet.of(number)[counts.get(number, 0) :]
            for one in extra:
                fleet.retire(one)

    def _create(self, name: str, body: dict[str, Any]) -> None:
        """Make and start a container; quiet where another process does so at the same time."""
        try:
            with asked(f"the container {name}"):
                self._engine.api.create_container_from_config(body, name)
        except ConflictError:
            return
        made = self._engine.inspect(name)
        if made is None:
            raise NotFoundError(f"the container {name} was removed while it was made")
        Fleet(self._engine, str(body["Labels"][names.DEPLOYMENT])).start(made)
