"""The worker's part: a replay before the first step runs as a process of its own, looked after."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.control.replaying.planned import RefOf, found_for
from modelworks.control.replaying.standing import Standing
from modelworks.core.model import ModelVersion
from modelworks.core.processes import end
from modelworks.core.rollouts import Plan

_log = logging.getLogger(__name__)
LONGEST_S: Final = 1800.0
"""Of the process, whatever it does."""
TRIES: Final = 3
_PAUSE_S: Final = 5.0
_END_S: Final = 5.0
_MOST: Final = 4000  # characters of its last words


@dataclass(slots=True)
class _Run:
    """One process, or the pause before the next one."""

    process: "subprocess.Popen[bytes] | None"
    began: float
    tries: int
    candidate: str


class Tending:
    """Replays of roll-outs that wait for one.

    Args:
        home: the data folder's root.
        show: one version, by reference.
        ref_of: model and version of an arm.
        module: that is run.
    """

    def __init__(
        self,
        home: Path,
        show: Callable[[str], ModelVersion],
        ref_of: RefOf,
        module: str = "modelworks.apps.replayer",
    ) -> None:
        self._home = home
        self._show = show
        self._ref_of = ref_of
        self._module = module
        self._runs: dict[str, _Run] = {}

    def __call__(self, plan: Plan) -> Standing:
        """Look, and begin what is to be begun; never waits.

        Raises:
            ModelworksError: an arm is gone.
        """
        for candidate in plan.candidates:
            model, version = self._ref_of(plan, candidate)
            found = found_for(self._show(f"{model}:{version}"), plan, candidate)
            if found is None:
                return self._tended(plan, candidate)
            harm = found.harm(plan)
            if harm is not None:
                self.keep({*self._runs} - {plan.name})
                return Standing(fails=f"by a replay of recorded traffic, {harm.sentence}")
        self.keep({*self._runs} - {plan.name})
        return Standing()

    def keep(self, names: Collection[str]) -> None:
        """End the processes of all other roll-outs."""
        for name in {*self._runs} - {*names}:
            _end(self._runs.pop(name).process)

    def _tended(self, plan: Plan, candidate: str) -> Standing:
        run = self._runs.get(plan.name)
        waits = Standing(waits=f"recorded traffic is played to {candidate} before a user sees it")
        now = time.monotonic()
        if run is None or run.candidate != candidate:
            self._runs[plan.name] = _Run(self._begin(plan, candidate), now, 1, candidate)
            return waits
        if run.process is None:
            if now - run.began > _PAUSE_S:
                run.process, run.began = self._begin(plan, candidate), now
                run.tries += 1
            return waits
        if run.process.poll() is None:
            if now - run.began < LONGEST_S:
                return waits
            _end(run.process)
            why, final = f"it was not over in {LONGEST_S:g} s", False
        else:
            why, final = _words(run.process)
        if not final and run.tries < TRIES:
            _log.warning("the replay for '%s' is made again: %s", plan.name, why)
            run.process, run.began = None, now
            return waits
        self._runs.pop(plan.name)
        return Standing(fails=f"the replay that the plan asks for could not be made: {why}")

    def _begin(self, plan: Plan, candidate: str) -> "subprocess.Popen[bytes]":
        told = ["--home", str(self._home), "--rollout", plan.name, "--candidate", candidate]
        return subprocess.Popen(
            [sys.executable, "-m", self._module, *told, "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # one short line, in the end
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _words(process: "subprocess.Popen[bytes]") -> tuple[str, bool]:
    """Why it left nothing, and whether it would be the same again."""
    data = b""
    if process.stdout is not None:
        with process.stdout as pipe:
            data = pipe.read(_MOST)
    try:
        told = json.loads(data)
        return str(told["error"]), bool(told["final"])
    except (ValueError, KeyError, TypeError):
        return f"it ended with code {process.returncode} and left no result", False


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None:
        end(process, _END_S)
