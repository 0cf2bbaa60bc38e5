"""The watch's worker as a process: its duties run, and go on after `kill -9`."""

import os
import signal
import subprocess
import sys
import time

import pytest

from modelworks.control.service import Factory
from modelworks.core.home import Home

pytestmark = pytest.mark.real
DEADLINE_S = 120


def start(home, log):
    command = [sys.executable, "-m", "modelworks.apps.worker", "--home", str(home.root)]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=dict(os.environ))


def wait_for(factory, wanted, log):
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        states = {state.name: state for state in factory.watching.duties()}
        if wanted(states):
            return states
        time.sleep(0.2)
    raise AssertionError(f"{states}\n{log.read_text()}")


def test_duties_run_and_go_on_after_a_kill(tmp_path):
    home, log = Home(tmp_path / "home"), tmp_path / "worker.log"
    with Factory(home) as factory:
        worker = start(home, log)
        try:
            names = {"requests", "system", "alerts", "series", "compaction", "drift", "quality"}
            names |= {"forward"}
            first = wait_for(factory, lambda s: names <= s.keys(), log)
            assert {name: first[name].error for name in names} == dict.fromkeys(names, "")
            worker.kill()
            worker.wait()
            worker = start(home, log)
            ran = first["alerts"].ran_ns
            again = wait_for(factory, lambda s: s["alerts"].ran_ns > ran, log)
            assert again["alerts"].failures == 0
            load = factory.watching.series.select(
                "host_load", {}, time.time() - 600, time.time() + 60
            )
            assert load, "the machine was not looked at"
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0
        finally:
            worker.kill()
            worker.wait()


def test_a_window_that_is_no_part_of_an_hour_is_refused(tmp_path):
    command = [sys.executable, "-m", "modelworks.apps.worker", "--home", str(tmp_path)]
    done = subprocess.run(
        [*command, "--window", "61"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--window 61" in done.stderr
