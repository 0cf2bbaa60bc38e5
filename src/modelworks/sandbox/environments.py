"""Python environments of their own for libraries that clash with ours: made once, kept, listed.

An environment lies under the digest of the Python, the machine and its requirement lines. Only
wheels are installed, so that making one runs no code of any package; and whatever runs in one is
started without `site` (see `launch`), so that no `.pth` file of a package runs outside the walls.
"""

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelworks.core import codec
from modelworks.core.errors import (
    ConflictError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.ids import now_ns
from modelworks.sandbox.install import WHOLE, Order, install, pip_is_here
from modelworks.sandbox.visible import Visible, show_ourselves

__all__ = [
    "WHOLE",
    "Environment",
    "Launch",
    "find",
    "launch",
    "listed",
    "make",
    "name_of",
    "remove",
    "requirements",
    "short",
]

Progress = Callable[[str], None]

_MARKER = "modelworks-environment.json"
_BASE = "numpy"  # all that the sandbox's child and the loaders import besides the standard library
_WEIGHTY = ("jax", "keras", "mlflow", "scikit-learn", "tensorflow", "torch")  # named first
_LONGEST, _MOST = 300, 500
_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?:\s*\[[A-Za-z0-9._, -]+\])?"
    r"(?:\s*(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+(?:\s*,\s*(?:==|~=|!=|<=|>=|<|>)"
    r"\s*[A-Za-z0-9.*+!_-]+)*)?"
    r"(?:\s*;[A-Za-z0-9_.'\"<>=!~() ,-]+)?"
)


@dataclass(frozen=True, slots=True)
class Environment:
    """One that is there.

    Attributes:
        name: digest of the Python, the machine and the requirements.
        requirements: as asked for, sorted.
        python: version.
        made_ns: when.
        size_bytes: on disk.
        folder: where.
    """

    name: str
    requirements: tuple[str, ...]
    python: str
    made_ns: int
    size_bytes: int
    folder: Path

    @property
    def interpreter(self) -> Path:
        """Its Python; start it as `launch` says."""
        return _interpreter(self.folder)


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start an environment's Python so that Modelworks is visible and nothing else runs.

    Attributes:
        command: the interpreter and its flags; `-m MODULE ...` follows.
        path: for PYTHONPATH.
        reads: real folders that it must be able to read behind Landlock.
    """

    command: tuple[str, ...]
    path: tuple[str, ...]
    reads: tuple[Path, ...]


def requirements(lines: Iterable[str]) -> tuple[str, ...]:
    """Requirement lines without comments and blanks, sorted, each once; `WHOLE` may be one.

    Raises:
        InvalidError: a line that is no plain requirement: an option (`-r`, `--index-url`), a URL,
            a path, a version-control address.
    """
    found = set()
    for raw in lines:
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        if not line:
            continue
        if line != WHOLE and (len(line) > _LONGEST or not _LINE.fullmatch(line)):
            shown = line if len(line) <= 80 else line[:77] + "..."
            raise InvalidError(
                f"'{shown}' is no requirement that an environment is made from: a name and its "
                "versions are wanted (numpy==2.4.6), no option, URL or path",
                field="requirements",
            )
        found.add(line)
    if len(found) > _MOST:
        raise InvalidError(f"more than {_MOST} requirement lines", field="requirements")
    return tuple(sorted(found))


def name_of(lines: tuple[str, ...]) -> str:
    """The name of the environment with these requirement lines, for this Python and machine."""
    parts = (sys.implementation.cache_tag, platform.python_version(), sysconfig.get_platform())
    text = "\n".join((*map(str, parts), *requirements(lines)))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def make(
    lines: tuple[str, ...],
    root: Path,
    progress: Progress | None = None,
    *,
    wheels: Path | None = None,
    timeout_s: float = 1800.0,
) -> Path:
    """The Python of an environment with these requirements; it is made where it is not there.

    One process makes it, others wait. One that a killed process left half-made is made again.

    Args:
        lines: requirement lines, best pinned.
        root: the folder of all environments.
        progress: told each step.
        wheels: a folder of wheels to take everything from; nothing is then fetched.
        timeout_s: for waiting and making together.

    Raises:
        InvalidError: a line is none, versions contradict each other, or no wheel is to be had.
        UnavailableError: no network, a full disk, or the time is over; nothing is left behind.
    """
    wanted = requirements(lines)
    say = progress or (lambda _: None)
    deadline = time.monotonic() + timeout_s
    folder = root / name_of(wanted)
    if _complete(folder) is not None:
        return _interpreter(folder)
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder, deadline, say) as lock:
            if _complete(folder) is None:
                _build(folder, wanted, say, _Way(wheels, deadline, lock))
    except OSError as error:
        raise _disk(root, error) from error
    return _interpreter(folder)


def find(lines: tuple[str, ...], root: Path) -> Path | None:
    """The Python of the environment with these requirements, where it is there."""
    folder = root / name_of(lines)
    return _interpreter(folder) if _complete(folder) is not None else None


def listed(root: Path) -> list[Environment]:
    """Every whole environment, oldest first."""
    if not root.is_dir():
        return []
    found = [_complete(folder) for folder in sorted(root.iterdir()) if folder.is_dir()]
    return sorted((one for one in found if one is not None), key=lambda one: one.made_ns)


def remove(name: str, root: Path) -> Environment:
    """Remove one environment; what needs it makes it again.

    Args:
        name: its name, or the beginning of it (8 characters or more).
        root: the folder of all environments.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it is being made right now, or the name fits several.
    """
    fitting = [one for one in listed(root) if len(name) >= 8 and one.name.startswith(name)]
    if not fitting:
        raise NotFoundError(
            f"no environment '{name}'; modelworks environments list names them", field="name"
        )
    if len(fitting) > 1:
        raise ConflictError(f"'{name}' fits {len(fitting)} environments; say more of it")
    folder = fitting[0].folder
    try:
        with _locked(folder, time.monotonic() + 1.0, lambda _: None):
            (folder / _MARKER).unlink(missing_ok=True)
            shutil.rmtree(folder)
    except UnavailableError as error:
        raise ConflictError(f"the environment {fitting[0].name} is being made right now") from error
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be removed: {error.strerror or error}") from error
    return fitting[0]


def launch(python: Path) -> Launch:
    """How to start the Python of an environment that `make` made.

    Raises:
        NotFoundError: it is not there (any more), or is none of ours.
        UnavailableError: the disk is full.
    """
    folder = python.parent.parent
    if _complete(folder) is None:
        raise NotFoundError(
            f"the environment of {python} is gone; import the model again, or start the server "
            "again, and it is made"
        )
    packages = _packages(folder)
    try:
        visible: Visible = show_ourselves(folder.parent)
    except OSError as error:
        raise _disk(folder.parent, error) from error
    # -S: a wheel may carry a .pth file, whose lines would run at start, before any wall stands.
    return Launch(
        (str(python), "-S", "-s", "-P"),
        (str(visible.folder), str(packages)),
        (folder.resolve(), visible.folder.resolve(), *visible.targets),
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """Where an environment is filled from, until when, and under which lock."""

    wheels: Path | None
    deadline: float
    lock: int


def _build(folder: Path, wanted: tuple[str, ...], say: Progress, way: _Way) -> None:
    _discard(folder)
    say(f"Making an environment for {short(wanted)} (once)")
    try:
        venv.EnvBuilder(with_pip=not pip_is_here(), symlinks=True).create(folder)
        matches = [_LINE.fullmatch(line) for line in wanted]
        named = {match["name"].lower() for match in matches if match}
        order = Order(
            wanted if _BASE in named else (*wanted, _BASE), way.wheels, way.deadline, way.lock
        )
        install(_interpreter(folder), order, say)
        _finish(folder, wanted)
    except BaseException as error:
        _discard(folder)
        if isinstance(error, OSError | ModelworksError) or not isinstance(error, Exception):
            raise
        raise UnavailableError(f"an environment cannot be made: {error}") from error


def _finish(folder: Path, wanted: tuple[str, ...]) -> None:
    """The marker is written last: without it an environment is none."""
    size = sum(item.lstat().st_size for item in folder.rglob("*"))
    made = Environment(
        folder.name, wanted, platform.python_version(), now_ns(), size, folder.resolve()
    )
    with (folder / f"{_MARKER}.new").open("w") as file:
        json.dump(codec.encode(made), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    (folder / f"{_MARKER}.new").replace(folder / _MARKER)


def _complete(folder: Path) -> Environment | None:
    """What the marker says, where the Python behind it still stands."""
    try:
        data = json.loads((folder / _MARKER).read_bytes())
        found = codec.decode(Environment, data | {"folder": str(folder)})
    except (OSError, ValueError, TypeError, ModelworksError):
        return None
    return found if _interpreter(folder).exists() else None


def _interpreter(folder: Path) -> Path:
    return folder / "bin" / "python"


def _packages(folder: Path) -> Path:
    return Path(
        sysconfig.get_path("purelib", "posix_prefix", {"base": str(folder), "platbase": ""})
    )


def _discard(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, deadline: float, say: Progress) -> Iterator[int]:
    """Alone with one environment; the installer inherits the lock, should this process be killed.

    Raises:
        UnavailableError: another process holds it for too long.
    """
    handle = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        said = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        "another process makes the same environment and is not done; try again",
                        retry_after=60,
                    ) from None
                if not said:
                    say("Waiting for another process that makes the same environment")
                    said = True
                time.sleep(0.1)
        yield handle
    finally:
        os.close(handle)


def _disk(root: Path, error: OSError) -> UnavailableError:
    cure = "choose another folder with MODELWORKS_HOME"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        cure = "free some (modelworks environments list shows what the others take) and try again"
    return UnavailableError(
        f"an environment cannot be made in {root}: {error.strerror or error}; {cure}"
    )


def short(wanted: tuple[str, ...]) -> str:
    """What an environment is for, in a few words: its weightiest packages first."""
    wanted = tuple(line for line in wanted if line != WHOLE)
    wanted = tuple(sorted(wanted, key=lambda line: (not line.startswith(_WEIGHTY), line)))
    head = ", ".join(wanted[:3])
    return head if len(wanted) <= 3 else f"{head} and {len(wanted) - 3} more"
