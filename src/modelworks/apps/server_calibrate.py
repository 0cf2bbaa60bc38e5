"""`--workers auto`: measures the models on this machine in processes of their own, then decides."""

import contextlib
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from modelworks.apps.server_models import policy_of
from modelworks.apps.server_settings import ServerSettings
from modelworks.core import codec
from modelworks.core.errors import (
    CrashedError,
    DeadlineError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.machine import Machine, this_machine
from modelworks.serving.sizing import MEMORY, Calibrated, Sizing, Speed, decide, usable
from modelworks.serving.wire import Lines, Message, line, unpack_error

_log = logging.getLogger("modelworks.server")
_SPEED_S: Final = 0.15
_HTTP_S: Final = 0.3
_ROUNDS: Final = 2  # the quieter one counts: somebody else may use the machine just then
_OPTIONAL_S: Final = 3.0  # steps that only refine are left out after that
_ALL_S: Final = 30.0  # whatever the models are, the server starts after that
_END_S: Final = 10.0
_PROBES: Final = 8  # processes at the same time; more cores are told by extension
_THREADS_NS: Final = 200_000  # shorter calls gain nothing from threads


def calibrate(settings: ServerSettings, machine: Machine | None = None) -> Sizing:
    """Measure and decide; never fails: what cannot be measured is said in the reason.

    Args:
        settings: of the server; its `threads`, where set, is kept.
        machine: other than this one, for tests.
    """
    began = time.monotonic()
    machine = machine or this_machine()
    try:
        machine = _limited(machine, policy_of(settings).memory_bytes)
        with ExitStack() as stack:
            models, base = _measure(settings, machine, stack)
        sizing = decide(machine, tuple(models), base, settings.threads)
    except (ModelworksError, OSError, ValueError) as error:
        why = error.message if isinstance(error, ModelworksError) else str(error)
        models = [Calibrated("calibration", "", problem=why)]
        sizing = replace(decide(machine, tuple(models), 0, settings.threads), models=())
    sizing = replace(sizing, seconds=round(time.monotonic() - began, 2))
    _log.info("workers and threads: %s (calibrated in %.1f s)", sizing.reason, sizing.seconds)
    return sizing


def _limited(machine: Machine, memory_bytes: int) -> Machine:
    """With the limit that the server was given for all its workers; 0 = none."""
    if not memory_bytes:
        return machine
    known = machine.memory_bytes or memory_bytes
    return replace(machine, memory_bytes=min(memory_bytes, known))


def _measure(
    settings: ServerSettings, machine: Machine, stack: ExitStack
) -> tuple[list[Calibrated], int]:
    """Every model with its speeds, and the memory of a process without any."""
    began = time.monotonic()
    until = began + _ALL_S
    first = _Probe(settings, stack, until)
    loaded = first.ask(do="load", threads=settings.threads or 1)
    models = codec.decode(list[Calibrated], loaded["models"], "models")
    base, spent = loaded["base"], time.monotonic() - began
    if not any(not model.problem for model in models):
        return models, base
    alone = first.ask(do="speed", seconds=_SPEED_S)["speeds"]
    speeds = _Speeds(models)
    speeds.add(alone, settings.threads or 1, 1)
    http: dict[str, float] = {}
    with contextlib.suppress(CrashedError, UnavailableError):  # then its usual cost is assumed
        http = first.ask(do="http", seconds=_HTTP_S)["http"]
    cores = usable(machine)
    enough = began + spent + _OPTIONAL_S
    others = _affordable(machine, models, base, min(cores, _PROBES)) - 1
    if others > 0 and time.monotonic() + spent < enough:
        crowd = [first, *(_Probe(settings, stack, until) for _ in range(others))]
        _together(crowd[1:], do="load", threads=settings.threads or 1)
        rounds = [_slowest(crowd) for _ in range(_ROUNDS)]
        slowest = {key: min(each[key] for each in rounds) for key in rounds[0]}
        speeds.add(slowest, settings.threads or 1, len(crowd))
        for probe in crowd[1:]:
            probe.end()
    if others + 1 < cores:  # then threads are what the other cores can be used with
        enough += _OPTIONAL_S
    long = any(model.call_ns >= _THREADS_NS for model in models)
    for threads in _doublings(cores) if long and not settings.threads else ():
        if time.monotonic() + spent < enough:
            first.ask(do="load", threads=threads)
            speeds.add(first.ask(do="speed", seconds=_SPEED_S)["speeds"], threads, 1)
    return speeds.of(http), base


class _Speeds:
    """Collects what was measured, by model."""

    def __init__(self, models: Sequence[Calibrated]) -> None:
        self._models = models
        self._found: dict[str, list[Speed]] = {}

    def add(self, by_key: Mapping[str, float], threads: int, processes: int) -> None:
        """One measurement of all models."""
        for key, ns in by_key.items():
            self._found.setdefault(key, []).append(Speed(threads, processes, round(ns, 1)))

    def of(self, http: Mapping[str, float]) -> list[Calibrated]:
        """The models, complete."""
        complete = []
        for model in self._models:
            key = f"{model.name}:{model.version}"
            cost = http.get(key, min(http.values(), default=model.http_ns))
            speeds = tuple(self._found.get(key, ()))
            complete.append(replace(model, http_ns=round(cost, 1), speeds=speeds))
        return complete


class _Probe:
    """One process that measures; ended with the stack it was made in."""

    def __init__(self, settings: ServerSettings, stack: ExitStack, until: float) -> None:
        self._until = until
        ours, theirs = socket.socketpair()
        self.link = stack.enter_context(ours)
        self._lines = Lines()
        of_list = ["--served", settings.served] if settings.served else ["--file", settings.file]
        of_list += ["--name", settings.name] if settings.name else []
        of_list += ["--isolation", settings.isolation] if settings.isolation else []
        fd = theirs.fileno()
        module = [sys.executable, "-m", "modelworks.apps.server_probe", str(fd)]
        with theirs:
            self._process = subprocess.Popen(
                [*module, *of_list],
                pass_fds=(fd,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        stack.callback(self.end)

    def tell(self, **command: Any) -> None:
        """Send a command."""
        with contextlib.suppress(OSError):  # it ended: `answer` says so
            self.link.sendall(line(command))

    def answer(self) -> Message:
        """The answer to the last command.

        Raises:
            CrashedError: the process ended.
            DeadlineError: it did not answer in time.
            ModelworksError: what it could not do.
        """
        while True:
            self.link.settimeout(max(0.01, self._until - time.monotonic()))
            try:
                data = self.link.recv(65536)
            except TimeoutError:
                raise DeadlineError(f"it took longer than {_ALL_S:g} s") from None
            except OSError:
                data = b""
            if not data:
                code = self._process.wait(_END_S)
                raise CrashedError(f"the process that measured ended with exit code {code}")
            for found in self._lines.feed(data):
                if "error" in found:
                    raise unpack_error(found["error"])
                return found

    def ask(self, **command: Any) -> Message:
        """Send a command and wait for its answer."""
        self.tell(**command)
        return self.answer()

    def end(self) -> None:
        """Kill it: it holds nothing that has to be put away. Twice is quiet."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_END_S)


def _together(probes: Sequence[_Probe], **command: Any) -> list[Message]:
    for probe in probes:
        probe.tell(**command)
    return [probe.answer() for probe in probes]


def _slowest(crowd: Sequence[_Probe]) -> dict[str, float]:
    """Each model's time in the process that was slowest, all running it at the same time."""
    found = [answer["speeds"] for answer in _together(crowd, do="speed", seconds=_SPEED_S)]
    return {key: max(each.get(key, 0.0) for each in found) for key in found[0]}


def _affordable(machine: Machine, models: Sequence[Calibrated], base: int, most: int) -> int:
    """Processes that may hold the models at the same time while we measure."""
    each = base + sum(model.bytes for model in models)
    if not machine.memory_bytes or not each:
        return most
    return max(1, min(most, int(MEMORY * machine.memory_bytes // each)))


def _doublings(cores: int) -> list[int]:
    """2, 4, 8 and so on, and all cores."""
    found = [2**power for power in range(1, 9) if 2**power < cores]
    return [*found, cores] if cores > 1 else []
