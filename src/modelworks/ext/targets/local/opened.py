"""The target `local`, open: files are written, a supervisor is started, and its status is read."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from modelworks.core.deployment import Observed, Phase, Rendered, Replica, Share, Wanted
from modelworks.core.errors import ConflictError, InvalidError, UnavailableError
from modelworks.core.files import replace_text
from modelworks.core.home import Home
from modelworks.core.local import LocalStatus
from modelworks.core.local_folder import (
    Layout,
    beating,
    read_status,
    read_wanted,
    replicas_of,
)
from modelworks.core.lock import locked
from modelworks.core.processes import descendants
from modelworks.ext.targets.local.render import PROMETHEUS, render, spec_of, wanted_of
from modelworks.ext.targets.sources import content
from modelworks.protocol.manifest.server import secret_files, secret_variables

_TAKEN_S: Final = 20.0  # until a supervisor has read what it is told
_GRACE_S: Final = 10.0  # after the longest drain, before everything is killed
_PATIENT_S: Final = 6.0  # with one that does not obey
_PORT_S: Final = 1.5  # the supervisor looks again meanwhile whether it is free
_AGAIN_S: Final = 1.0
_LOOK_S: Final = 0.05


class OpenLocal:
    """See `OpenTarget`.

    Args:
        folder: of the target on this machine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._records = Home.of_target(self._folder).records

    def render(self, wanted: Wanted) -> tuple[Rendered, ...]:
        """See `OpenTarget.render`."""
        return render(wanted, self._layout(wanted.name).folder, self._records)

    def apply(self, wanted: Wanted) -> None:
        """See `OpenTarget.apply`."""
        layout = self._layout(wanted.name)
        secrets = {share.revision.number: _secrets(share) for share in wanted.shares}
        _fits(wanted.shares)
        with locked(layout.applying):
            layout.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for number, hidden in secrets.items():
                _write_secrets(layout.secrets(number), hidden)
            files = {layout.folder / one.path: one.text for one in self.render(wanted)}
            told = files.pop(layout.wanted)
            for path, text in files.items():
                _keep(path, text)
            if layout.folder / PROMETHEUS not in files:
                (layout.folder / PROMETHEUS).unlink(missing_ok=True)
            _keep(layout.wanted, told)  # last: what it speaks of is there
            status = _supervised(layout, wanted_of(wanted, layout.folder, self._records).digest)
            end = time.monotonic() + _PORT_S
            while status.port_taken:
                if time.monotonic() > end:
                    raise ConflictError(
                        f"{status.problem}: stop it, or say another access.port",
                        field="access.port",
                    )
                time.sleep(_LOOK_S)
                status = read_status(layout.status) or status

    def observe(self, name: str) -> Observed | None:
        """See `OpenTarget.observe`."""
        layout = self._layout(name)
        if not layout.folder.exists():
            return None
        changed = []
        try:
            wanted = read_wanted(layout.wanted)
        except InvalidError as error:
            wanted = None
            changed.append(error.message)
        status = read_status(layout.status) or LocalStatus(applied="")
        replicas = status.replicas
        if layout.supervisor() is None:
            changed.append("the supervisor does not run: its replicas are not looked after")
            replicas = tuple(_unwatched(layout, replicas))
        elif layout.status.exists() and not beating(layout.status):
            changed.append("the supervisor hangs: its replicas are not looked after")
        if wanted is not None:
            changed += [
                f"the served list of revision {share.revision} is gone"
                for share in wanted.shares
                if not layout.served(share.revision).exists()
            ]
        return Observed(
            url=wanted.url if wanted is not None else "",
            replicas=replicas,
            changed=tuple(changed),
            reason=status.problem,
            settled=wanted is not None and status.applied == wanted.digest and not changed,
        )

    def delete(self, name: str) -> None:
        """See `OpenTarget.delete`."""
        layout = self._layout(name)
        left = layout.folder.exists() or layout.applying.exists()
        if not left and not replicas_of(layout.folder):
            return
        with locked(layout.applying):
            _end(layout)
            shutil.rmtree(layout.folder, ignore_errors=True)
            shutil.rmtree(layout.sockets, ignore_errors=True)
            layout.applying.unlink(missing_ok=True)

    def _layout(self, name: str) -> Layout:
        return Layout(self._folder / name)


def _fits(shares: Iterable[Share]) -> None:
    cores = len(os.sched_getaffinity(0))
    for share in shares:
        cpu = spec_of(share.revision).resources.cpu
        if cpu > max(1, cores):
            raise InvalidError(
                f"resources.cpu: {cpu:g} are wanted, and this machine has {cores} cores",
                field="resources.cpu",
            )


def _secrets(share: Share) -> dict[str, bytes]:
    """File name -> content; those that become variables begin with a dot.

    Raises:
        InvalidError: one is not there.
    """
    spec = spec_of(share.revision)
    hidden = {f".{name}": content(name, one) for name, one in secret_variables(spec).items()}
    for name, value in hidden.items():
        if b"\0" in value or not _text(value):
            raise InvalidError(
                f"secret {name[1:]}: a variable is text without zero bytes; mount it as a file",
                field="secrets",
            )
    return hidden | {one.name: content(one.name, one.source) for one in secret_files(spec)}


def _text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _write_secrets(folder: Path, files: dict[str, bytes]) -> None:
    """Have exactly these in a private folder."""
    if not files:
        shutil.rmtree(folder, ignore_errors=True)
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    for name, data in files.items():
        path = folder / name
        if path.exists() and path.read_bytes() == data:
            continue
        temporary = folder / f"{name}.new"
        temporary.touch(mode=0o600)
        temporary.write_bytes(data)
        temporary.replace(path)


def _keep(path: Path, text: str) -> None:
    """Have this text there; the same is not written again."""
    if not path.exists() or path.read_text(errors="replace") != text:
        replace_text(path, text, 0o700)


def _supervised(layout: Layout, digest: str) -> LocalStatus:
    """Have a supervisor, and wait until it obeys; one that does not is replaced.

    Raises:
        UnavailableError: it cannot be started, or does not answer.
    """
    end = time.monotonic() + _TAKEN_S
    patient = time.monotonic() + _PATIENT_S
    started = 0.0
    while True:
        if layout.supervisor() is None and time.monotonic() > started + _TAKEN_S / 4:
            _start(layout)
            started = time.monotonic()
        pid, status = layout.supervisor(), read_status(layout.status)
        obeys = status is not None and status.applied == digest and beating(layout.status)
        if pid is not None and status is not None and obeys:
            return status
        if pid and time.monotonic() > patient:
            # It hangs, or is of another version of Modelworks; its replicas go on without it.
            _signal([pid], signal.SIGKILL)
            patient = end
        if time.monotonic() > end:
            raise UnavailableError(
                f"the supervisor of {layout.folder.name} does not answer: see {layout.log}"
            )
        time.sleep(_LOOK_S)


def _start(layout: Layout) -> None:
    command = [sys.executable, "-m", "modelworks.apps.replicas", "--detach"]
    with layout.log.open("wb") as log:
        done = subprocess.run(
            [*command, "--folder", str(layout.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            check=False,
            timeout=_TAKEN_S,
        )
    if done.returncode:
        raise UnavailableError(f"the supervisor cannot be started: see {layout.log}")


def _unwatched(layout: Layout, replicas: Iterable[Replica]) -> Iterable[Replica]:
    """As they are while no supervisor runs."""
    alive = {mark.replica for mark in replicas_of(layout.folder).values()}
    for replica in replicas:
        if replica.name in alive:
            yield replica
        elif replica.phase is not Phase.STOPPING:
            yield replace(
                replica, phase=Phase.FAILED, reason="it ended, and nobody looked after it"
            )


def _end(layout: Layout) -> None:
    """Until supervisor and replicas have ended; after the longest drain they are killed."""
    try:
        drains = [share.drain_s for share in read_wanted(layout.wanted).shares]
    except InvalidError:
        drains = []
    end = time.monotonic() + max(drains, default=30.0) + _GRACE_S
    asked = 0.0
    while (pid := layout.supervisor()) is not None or replicas_of(layout.folder):
        late = time.monotonic() > end
        # Without a supervisor nobody else tells them; what it does not know yet is told again.
        every = set(replicas_of(layout.folder)) if pid is None or late else set()
        every |= {pid} if pid else set()
        if late:
            _signal({below for one in every for below in descendants(one)}, signal.SIGKILL)
        elif time.monotonic() > asked + _AGAIN_S:
            asked = time.monotonic()
            _signal(every, signal.SIGTERM)
        time.sleep(_LOOK_S)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
