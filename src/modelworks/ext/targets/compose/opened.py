"""Deployments by Docker Compose, on an engine that is looked at by its API."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from modelworks.core.deployment import Observed, Rendered, Wanted
from modelworks.core.errors import InvalidError
from modelworks.core.files import replace_text
from modelworks.ext.targets.compose import render
from modelworks.ext.targets.compose.run import run
from modelworks.ext.targets.containers import names, secrets, seen
from modelworks.ext.targets.containers.bound import Bound
from modelworks.ext.targets.containers.container import USER, Container, container_of
from modelworks.ext.targets.containers.engine import Engine
from modelworks.ext.targets.containers.fleet import Fleet
from modelworks.ext.targets.containers.kept import Kept, locked

_STARTS_S: Final = 300
_USER: Final = int(USER.partition(":")[0])


class OpenCompose:
    """See `OpenTarget`.

    Args:
        engine: that Compose uses.
        kept: what was applied from here; Compose files lie there too.
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
        """See `OpenTarget.apply`. What is new is started before anything is told to go."""
        shelf = self._records.shelf(wanted.name)
        made = {
            share.revision.number: container_of(
                wanted, share.revision, own_network=not self._host, shelf=shelf
            )
            for share in wanted.shares
        }
        self._records.provide(self._engine, made.values())
        counts = {share.revision.number: share.replicas for share in wanted.shares}
        folder = self._kept.folder(wanted.name)
        with locked(folder / "lock") as lock:
            self._clear(wanted)
            for number, container in made.items():
                if counts[number]:
                    self._engine.provide(container.image, container.pull)
                    self._hide(folder, container)
            file = folder / render.FILE
            replace_text(file, render.text(render.compose(wanted, made, host=self._host)))
            scales = [f"--scale={render.service(one)}={many}" for one, many in counts.items()]
            words = ["up", "-d", "--no-recreate", *scales]
            seconds = _STARTS_S + max(one.stop_s for one in made.values())
            run(self._engine, file, render.project(wanted.name), words, seconds, holding=lock)
            self._shrink(wanted.name, counts)
            self._kept.write(wanted.name, counts)
            Fleet(self._engine, wanted.name).sweep(
                set(counts), {container.address.name for container in made.values()}
            )
            for old in (folder / render.SECRETS).glob("*"):
                if old.name not in map(str, counts):
                    shutil.rmtree(old, ignore_errors=True)

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
        shutil.rmtree(self._kept.folder(name), ignore_errors=True)

    def _clear(self, wanted: Wanted) -> None:
        """Put right what Compose leaves as it is, and have none in the way that is to go.

        Compose would count and even start those.
        """
        fleet = Fleet(self._engine, wanted.name)
        fleet.mend()
        fleet = Fleet(self._engine, wanted.name)
        for share in wanted.shares:
            for one in fleet.of(share.revision.number):
                if seen.label(one, names.DIGEST) != share.revision.digest:
                    fleet.retire(one)
        fleet.finish({share.revision.number for share in wanted.shares})

    def _shrink(self, deployment: str, counts: Mapping[int, int]) -> None:
        """Tell replicas of revisions to go that are not wanted any more."""
        fleet = Fleet(self._engine, deployment)
        for number in {seen.revision(one) for one in fleet.replicas} - set(counts):
            for one in fleet.of(number):
                fleet.retire(one)

    def _hide(self, folder: Path, container: Container) -> None:
        """Secrets as files beside the Compose file, which are bound into containers.

        Nobody but us looks into their folder; in a container there is one user.
        """
        if not container.files:
            return
        if self._engine.remote:
            raise InvalidError(
                "Compose binds secrets from files of the engine's own machine, and this engine is "
                "another's: use the target docker, or run the reconciler there",
                field="secrets",
            )
        for path, data in secrets.contents(container).items():
            file = folder / render.secret_path(container, path)
            for above in (file.parent.parent, file.parent):
                above.mkdir(mode=0o700, exist_ok=True)
            if file.exists() and file.read_bytes() == data:
                continue
            file.touch(mode=0o600)
            file.write_bytes(data)  # in place: a container that has it sees the new one
            if os.geteuid() == 0:
                os.chown(file, _USER, _USER)
                file.chmod(0o400)
            else:
                file.chmod(0o444)
