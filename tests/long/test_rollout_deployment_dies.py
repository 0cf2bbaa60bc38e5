"""A deployment that a roll-out tries is killed: no caller meets it, and it goes back."""

import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from desk import Desk, until
from modelworks.core.local_folder import Layout, replicas_of
from shop_front import Callers, answers, given, rollout, told

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


def kill(layout: Layout) -> None:
    """Its supervisor and all replicas, as they are now."""
    for pid in (layout.supervisor(), *replicas_of(layout.folder)):
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_candidate_that_is_killed_goes_back_and_no_caller_sees_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    given(desk)
    (tmp_path / "good.yaml").write_text(rollout("good", bake="4m"))
    try:
        with ExitStack() as stack:
            running = lambda *words: stack.enter_context(desk.running(*words)).said  # noqa: E731
            control = running("up", "--port", "0", "--control-port", "0")["control"]
            snapshot = ("--snapshot", f"{control}/api/v1/routes/snapshot", "--workers", "2")
            gateway = running("gateway", *snapshot, "--port", "0", "--admin-port", "0")
            until("the gateway has the route", lambda: answers(gateway["url"]), 60)
            callers = Callers(gateway["url"])
            stack.enter_context(callers.asking())
            desk.mw("rollout", "start", "-f", "good.yaml")
            until("good answers its share", lambda: callers.versions["3.0.0"] > 100, 90)
            [layout] = [
                Layout(file.parent)
                for file in (tmp_path / "home").rglob("wanted.json")
                if file.parent.name == "good"
            ]
            end = time.monotonic() + 90
            while not told(control, "good")["ended_ns"]:
                assert time.monotonic() < end
                kill(layout)  # again: `up` starts it anew
                time.sleep(0.3)
            found = told(control, "good")
            until("good gets nothing any more", lambda: callers.spared("3.0.0"))
        assert found["rollout"]["phase"] == "rolled back"
        assert found["rollout"]["verdict"]["findings"][0]["metric"] == "error_rate"
        assert set(callers.statuses) == {200}, callers.statuses
    finally:
        desk.mw("delete", "-f", "modelworks.yaml", "--yes")
