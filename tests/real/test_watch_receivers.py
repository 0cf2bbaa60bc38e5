"""The worker as a process sends records on: to a receiver that goes away, and comes back."""

import os
import subprocess
import sys

import pytest

from desk import until
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.records import Record
from modelworks.protocol.records import SegmentWriter
from sink_receivers import Webhook

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def write(home, numbers):
    writer = SegmentWriter(home.records / "segments")
    at = 10**18
    writer.write([Record(f"r{n}", at + n, "fraud", "1.0.0") for n in numbers])
    writer.close()


def test_records_go_on_while_the_worker_runs(tmp_path):
    home, hook = Home(tmp_path / "home"), Webhook()
    hook.start()
    with Factory(home) as factory:
        factory.receivers.put(hook.url, "siem", {"timeout": "1"})
        write(home, range(20))
        command = [sys.executable, "-m", "modelworks.apps.worker", "--home", str(home.root)]
        with (tmp_path / "worker.log").open("ab") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))

        def told():
            return {one.name: one.error for one in factory.watching.duties()}.get("forward", "")

        try:
            until("they came", lambda: len(hook.events) == 20, 60)
            hook.stop()
            write(home, range(20, 30))
            until("the board says so", lambda: told().startswith("siem: "), 60)
            hook.again()
            until("the others came too", lambda: len(hook.events) == 30, 60)
            until("all is well again", lambda: not told(), 60)
            (state,) = factory.receivers.states()
            assert (state.sent, state.waiting, state.dropped) == (30, 0, 0)
        finally:
            hook.stop()
            worker.kill()
            worker.wait()
