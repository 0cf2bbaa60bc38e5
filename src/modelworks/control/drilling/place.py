"""An installation for one drill: a data folder, an `up` on free ports; both go with the drill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from modelworks.control.drilling.spoilt import FAULT, ORIGINAL, Spoilt
from modelworks.control.records.service import Records
from modelworks.control.rollouts.service import Rollouts
from modelworks.control.scratch import clear, scratch
from modelworks.core import codec
from modelworks.core.errors import CrashedError, DeadlineError
from modelworks.core.home import Home
from modelworks.core.ids import uuid7
from modelworks.core.model import Alias, Evidence, Lineage, ModelVersion, Verdict
from modelworks.core.native import NATIVE, NativeModel, read_native, write_native
from modelworks.core.processes import end, marked
from modelworks.core.semver import Semver
from modelworks.registry.publish import Publication
from modelworks.sandbox.kernel import die_with_parent

KIND: Final = "drill"
_READY_S: Final = 120.0
_DRAIN_S: Final = 60.0
_ORPHANS_S: Final = 20.0
_POLL_S: Final = 0.1
_HOME: Final = "MODELWORKS_HOME"
_CODE: Final = "from modelworks.control.drilling.spoilt import load, predict\n"
_FOLDER: Final = "model"


class Verbs(Protocol):
    """What a drill does in its own installation."""

    @property
    def rollouts(self) -> Rollouts:
        """The verbs of roll-outs."""
        ...

    @property
    def records(self) -> Records:
        """The verbs of records and feedback."""
        ...

    def publish(self, publication: Publication) -> ModelVersion:
        """Make a candidate a version."""
        ...

    def set_alias(self, name: str, alias: str, version: str, reason: str = "") -> Alias:
        """Point an alias at a version."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The installation while it runs.

    Attributes:
        verbs: of its data folder.
        server: URL of its model server.
        work: where artifacts are put together.
        alive: whether its processes run.
    """

    verbs: Verbs
    server: str
    work: Path
    alive: Callable[[], bool]


@contextmanager
def place(home: Home, opened: Callable[[Home], Verbs], *, record: bool) -> Iterator[Place]:
    """An installation of its own, started; nothing of it is left at the end.

    Killed with `kill -9` we take its processes with us; the folder stays until the next drill or
    `modelworks collect` clears it away.

    Args:
        home: the data folder of the real one; environments of models are shared with it.
        opened: opens the verbs of a data folder.
        record: whether requests are recorded, for truth that comes late.

    Raises:
        CrashedError: it did not start; its last words are in the message.
    """
    clear(home.run)
    with scratch(home.run, KIND) as folder:
        own = Home(folder / "home").create()
        work = folder / "work"
        work.mkdir()
        own.environments.symlink_to(home.environments.absolute())
        verbs = opened(own)
        try:
            with _up(own, folder / "up.log", record=record) as (server, alive):
                yield Place(verbs, server, work, alive)
        finally:
            verbs.close()


def publish(
    verbs: Verbs, work: Path, original: Path, version: ModelVersion, number: Semver, spoilt: Spoilt
) -> str:
    """Put a version with its fault into the drill's registry; its number.

    Args:
        verbs: of the drill's installation.
        work: where it is put together.
        original: folder of the version's artifact.
        version: as it is registered.
        number: under which it is published.
        spoilt: the fault.
    """
    folder = work / str(number)
    inner = folder / _FOLDER
    inner.mkdir(parents=True)
    shutil.copytree(original, inner / ORIGINAL)
    (inner / "model.py").write_text(_CODE)
    (inner / FAULT).write_text(json.dumps(codec.encode(spoilt)))
    # What callers send is decoded by the server as ever; the steps run inside, with the original.
    signature = replace(version.signature, steps=())
    needs: tuple[str, ...] = ()
    if version.artifact.format == NATIVE:
        needs = read_native(original).requirements
    write_native(folder, NativeModel("python", _FOLDER, signature, needs))
    mark = f"drill {uuid7()}"
    told = Evidence("trust", Verdict.ACCEPTED, "made by a fire drill", {"digest": mark})
    made = verbs.publish(
        Publication(
            version.name,
            folder,
            NATIVE,
            signature,
            Lineage(source_digest=mark),
            (told,),
            number,
        )
    )
    shutil.rmtree(folder)  # the registry has it now
    return str(made.version)


@contextmanager
def _up(home: Home, log: Path, *, record: bool) -> Iterator[tuple[str, Callable[[], bool]]]:
    words = ["up", "--port", "0", "--control-port", "0", "--json"]
    words += ["--record", "1"] if record else []
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELWORKS_")}
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelworks.cli.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            env={**kept, _HOME: str(home.root)},
            start_new_session=True,  # Ctrl-C reaches us alone, and we drain it
            preexec_fn=die_with_parent,  # noqa: PLW1509 - before any thread of ours runs
        )
    try:
        yield _announced(process, log), lambda: process.poll() is None
    finally:
        end(process, _DRAIN_S)
        _gone(home)


def _announced(process: "subprocess.Popen[str]", log: Path) -> str:
    """The server's URL, once all answer."""
    lines: list[str] = []
    stream = process.stdout
    assert stream is not None  # noqa: S101 - a pipe was asked for
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(_READY_S)
    if not lines:
        raise DeadlineError(f"the drill's own installation was not ready in {_READY_S:g} s")
    try:
        return str(json.loads(lines[0])["server"])
    except (ValueError, KeyError) as error:
        words = " ".join(log.read_text(errors="replace").split())[-500:]
        raise CrashedError(f"the drill's own installation did not start: {words}") from error


def _gone(home: Home) -> None:
    """Wait for its parts, where somebody killed `up`: what they still write would stay behind."""
    until = time.monotonic() + _ORPHANS_S
    while found := [pid for pid, root in marked(_HOME).items() if root == str(home.root)]:
        if time.monotonic() > until:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        time.sleep(_POLL_S)


def numbers(stable: str, count: int) -> Sequence[Semver]:
    """Versions of the broken candidates: the next patches after the stable one."""
    first = Semver.parse(stable)
    return [Semver(first.major, first.minor, first.patch + 1 + place) for place in range(count)]
