"""Wheels by uv or pip, into an environment or a folder: bounded in time, a failure in one line."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError

Progress = Callable[[str], None]

WHOLE = "--no-deps"
"""A line that says: the list is whole, what its packages ask for besides is not installed."""

_POLL_S, _SAY_S, _GRACE_S = 0.2, 2.0, 5.0
_TAIL = 64 << 10
_STEP = re.compile(
    r"^\s*(?:Collecting|Downloading|Building|Resolved|Prepared|Installing|Installed)"
)
_OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|Max retries exceeded"
    r"|dns error|Failed to fetch|error sending request|Network is unreachable"
    r"|Temporary failure in name resolution|Connection refused|Could not connect|No network",
    re.IGNORECASE,
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|os error 28", re.IGNORECASE)
_NONE = re.compile(
    r"No matching distribution found for (?P<pip>[^\s(]+)"
    r"|Because (?P<uv>\S+) (?:was not found|has no wheels|has no usable wheels|has no)"
    r"|Because there is no version of (?P<version>\S+)"
    r"|only (?P<older>\S+?)[<>=!]\S* (?:is|are) available",
)
_CLASH = re.compile(
    r"ResolutionImpossible|conflicting dependencies|unsatisfiable|No solution found", re.IGNORECASE
)
_BETWEEN = re.compile(
    r"Cannot install (?P<pip>.+?) because these"
    r"|Because (?P<uv>.+? depends on .+?)(?:,| and you| we can)",
    re.DOTALL,
)


def _pip() -> ModuleSpec | None:
    """By the path alone: setuptools' own finder warns of distutils and takes it away."""
    return PathFinder.find_spec("pip")


def pip_is_here() -> bool:
    """Whether this Python, or uv, can fill an environment that has no pip of its own."""
    return _uv() is not None or _pip() is not None


@dataclass(frozen=True, slots=True)
class Order:
    """What to install, and within which bounds.

    Attributes:
        lines: checked by `environments.requirements`; `WHOLE` among them is no package.
        wheels: a folder to take everything from; None = the index.
        deadline: `time.monotonic()` at which it is stopped.
        lock: file descriptor that the installer keeps open, should this process be killed; None =
            there is none.
    """

    lines: tuple[str, ...]
    wheels: Path | None
    deadline: float
    lock: int | None


def install(python: Path, order: Order, say: Progress) -> None:
    """Install requirement lines into the environment of `python`; no package's code runs.

    Where uv is found it goes first; where it fails pip is asked, which may know of an index or a
    proxy that uv does not.

    Raises:
        InvalidError: contradictory, or no wheel is to be had.
        UnavailableError: no network, a full disk, or the time is over.
    """
    source = ["--only-binary", ":all:"]
    if order.wheels is not None:
        source += ["--no-index", "--find-links", str(order.wheels.resolve())]
    if WHOLE in order.lines:
        source.append("--no-deps")
    with tempfile.TemporaryDirectory(prefix="modelworks-") as folder:
        asked = Path(folder, "requirements.txt")
        asked.write_text("".join(f"{line}\n" for line in order.lines if line != WHOLE))
        commands = _commands(python)
        for position, command in enumerate(commands):
            code, text = _run([*command, *source, "-r", str(asked)], say, order)
            if code == 0:
                return
            if position == len(commands) - 1 or _FULL.search(text):
                raise explain(text, order.wheels)


def fetch(
    lines: tuple[str, ...], into: Path, options: list[str], say: Progress, seconds: float
) -> None:
    """Download the wheels of requirement lines, and of what they ask for, into a folder.

    Args:
        lines: best pinned.
        into: exists.
        options: of pip, which say for which Python and system (`--platform`).
        say: told each step.
        seconds: at most.

    Raises:
        InvalidError: contradictory, or no wheel is to be had.
        UnavailableError: no pip, no network, a full disk, or the time is over.
    """
    if _pip() is None:
        raise UnavailableError(
            "pip is not here to fetch wheels with: python -m ensurepip, or bring them: --wheels DIR"
        )
    command = [sys.executable, "-s", "-m", "pip", "download", "--no-input", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "-d", str(into), *options]
    with tempfile.TemporaryDirectory(prefix="modelworks-") as folder:
        asked = Path(folder, "requirements.txt")
        asked.write_text("".join(f"{line}\n" for line in lines))
        order = Order(lines, None, time.monotonic() + seconds, None)
        code, text = _run([*command, "-r", str(asked)], say, order, "the wheels were not here")
    if code:
        raise explain(text, what="the wheels cannot be fetched", cure="--wheels DIR")


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _commands(python: Path) -> list[list[str]]:
    """Every way to install into that environment, best first."""
    found = []
    if (uv := _uv()) is not None:
        found.append(
            [uv, "pip", "install", "--python", str(python), "--compile-bytecode", "--no-progress"]
        )
    quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    if _pip() is not None:
        pip = [sys.executable, "-s", "-m", "pip", "--python", str(python), "install"]
        found.append([*pip, *quiet, "--no-warn-script-location"])
    elif (python.parent / "pip").exists():
        found.append([str(python), "-s", "-m", "pip", "install", *quiet])
    if not found:
        raise UnavailableError(
            "neither pip nor uv is here to make an environment with: python -m ensurepip, or "
            "pip install uv"
        )
    return found


def _run(
    command: list[str], say: Progress, order: Order, late: str = "the environment was not ready"
) -> tuple[int, str]:
    # Handed on as it is, for the installer's own settings (index, proxy, certificates); less what
    # would show it the libraries of this Python.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=tempfile.gettempdir(),
            pass_fds=() if order.lock is None else (order.lock,),
            start_new_session=True,
        )
        try:
            code = _follow(process, output.fileno(), say, order.deadline, late)
        finally:
            _end(process)
        return code, _tail(output.fileno())


def _follow(
    process: subprocess.Popen[bytes], output: int, say: Progress, deadline: float, late: str
) -> int:
    said, last = time.monotonic(), ""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_S)
        now = time.monotonic()
        if now > deadline:
            raise UnavailableError(
                f"{late} in time: the network is slow, or something hangs; try again "
                "(what was fetched is kept by the installer)",
                retry_after=60,
            )
        if now - said >= _SAY_S:
            said = now
            steps = [x.strip() for x in _tail(output).splitlines() if _STEP.match(x)]
            if steps and steps[-1] != last:
                last = steps[-1]
                say(last[:120])


def _tail(handle: int) -> str:
    size = os.fstat(handle).st_size
    return os.pread(handle, _TAIL, max(0, size - _TAIL)).decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)


def explain(
    text: str,
    wheels: Path | None = None,
    what: str = "the environment cannot be made",
    cure: str = "modelworks environments make --wheels DIR",
) -> ModelworksError:
    """An installer's output as one line: what is wrong and the cure.

    Args:
        text: of pip or uv; its addresses are left out, for they may hold passwords.
        wheels: the folder that was the only source.
        what: was tried, in words.
        cure: takes wheels that were brought on another way.
    """
    if _FULL.search(text):
        return UnavailableError(
            f"{what}: no space left on the disk; free some (modelworks environments list shows "
            "what those take) and try again"
        )
    if _OFFLINE.search(text) and wheels is None:
        return UnavailableError(
            f"{what}: the package index does not answer; connect this machine, or bring the "
            f"wheels on another way: {cure}",
            retry_after=60,
        )
    missing, clash = _NONE.search(text), _CLASH.search(text)
    if missing is not None and (clash is None or "because these" not in text):
        package = next(group for group in missing.groups() if group)
        where = f"in {wheels}" if wheels else "to be had for this Python and machine"
        return InvalidError(
            f"{what}: no wheel of {_clean(package)} is {where}; choose a version that has one",
            field="requirements",
        )
    if clash is not None:
        between = _BETWEEN.search(text)
        both = next((group for group in between.groups() if group), "") if between else ""
        return InvalidError(
            f"{what}: the requirements contradict each other"
            + (f" ({_clean(both)})" if both else "")
            + "; loosen one of them",
            field="requirements",
        )
    last = next((x for x in reversed(text.strip().splitlines()) if x.strip()), "no word of why")
    return UnavailableError(f"{what}: {_clean(last)}", retry_after=60)


def _clean(text: str) -> str:
    """One short line without addresses."""
    line = " ".join(re.sub(r"\w+://\S+", "(address)", text).split()).rstrip(".,:")
    return line if len(line) <= 200 else line[:197] + "..."
