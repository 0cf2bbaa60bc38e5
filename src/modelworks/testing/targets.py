"""The contract of `Target`: what every place must do with a deployment, for real.

A plug-in's test file is two fixtures:

    class TestMyTable(TargetTable):
        @pytest.fixture
        def case(self, tmp_path): ...  # a TableCase

    class TestMyTarget(TargetContract):
        @pytest.fixture(scope="class")
        @classmethod
        def case(cls, tmp_path_factory): ...  # a TargetCase
"""

import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final
from zlib import crc32

import pytest

from modelworks.core.deployment import Wanted
from modelworks.core.digest import of_file
from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models
from modelworks.testing.target_life import LOOK_S, Life, TargetCase
from modelworks.testing.target_tables import TableCase, TargetTable
from modelworks.testing.target_traffic import Traffic, call

__all__ = ["TableCase", "TargetCase", "TargetContract", "TargetTable"]

_KILLED_AFTER_S: Final = (0.0, 0.02, 0.1, 0.4)
_NOTHING: Final = "MODELWORKS_SERVER_NOTHING"  # a setting that no server knows: it ends
_APPLY: Final = """
import pickle, sys
from pathlib import Path
from modelworks.plugins.load import load
name, settings, folder, wanted = pickle.loads(Path(sys.argv[1]).read_bytes())
opened = load("targets", name)().open(settings, folder)
print("ready", flush=True)
opened.apply(wanted)
"""


class TargetContract:
    """Inherit, and provide the class-scoped fixture `case`."""

    @pytest.fixture(scope="class")
    @classmethod
    def models(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, ServedModel]:
        """Version 1 answers twice its input, version 2 three times."""
        found = {}
        for version, factor in ((1, 2.0), (2, 3.0)):
            path = onnx_models.double(
                tmp_path_factory.mktemp("models") / "model.onnx", factor=factor
            )
            found[version] = ServedModel("fraud", f"{version}.0.0", str(path), of_file(path))
        return found

    @pytest.fixture
    def life(
        self, case: TargetCase, models: Mapping[int, ServedModel], request: pytest.FixtureRequest
    ) -> Iterator[Life]:
        """One that nothing is left of in the end, whatever the test did."""
        name = f"mw-{crc32(request.node.name.encode()):08x}"
        life = Life(case, name, models)
        try:
            yield life
        finally:
            life.opened.delete(name)
        assert life.opened.observe(name) is None
        assert not case.leftovers(name)

    def test_a_life(self, life: Life) -> None:
        first = life.settle(life.goal(1, 1))
        assert life.call() == 2.0
        assert first.ready(1) == 1
        assert not first.changed
        self._twice_changes_nothing(life, life.goal(1, 1))
        traffic = life.traffic()
        with traffic.flowing():
            traffic.until(2.0)
            life.settle(life.goal(1, 1, replicas=2))
            assert life.fewest >= 1
            self._rolls(life, life.goal(2, 2, replicas=2), traffic, factor=3.0)
            self._rolls(life, life.goal(1, 1, replicas=2), traffic, factor=2.0)
            life.settle(life.goal(1, 1, replicas=1))
            traffic.until(2.0)
        assert not traffic.failures, (traffic.failures[:5], traffic.answers)
        assert set(traffic.answers) == {2.0, 3.0}
        life.opened.delete(life.name)
        assert life.opened.observe(life.name) is None
        assert not life.case.leftovers(life.name)
        with pytest.raises(OSError, match=r"."):
            call(first.url, "fraud", life.case.enter)

    def test_what_cannot_start_says_why_and_the_old_one_goes_on(self, life: Life) -> None:
        life.settle(life.goal(1, 1))
        traffic = life.traffic()
        with traffic.flowing():
            broken = life.goal(2, 2, said={"environment": {_NOTHING: "1"}})
            assert _NOTHING in life.fail(broken)
            assert life.fewest >= 1
            traffic.until(2.0)
            life.settle(life.goal(1, 1))
            traffic.until(2.0)
        assert not traffic.failures, traffic.failures[:5]
        assert set(traffic.answers) == {2.0}

    def test_a_change_from_outside_is_seen_and_put_right(self, life: Life) -> None:
        goal = life.goal(1, 1)
        life.settle(goal)
        life.case.disturb(life.name)
        end = time.monotonic() + 30
        while not life.observe().changed:
            assert time.monotonic() < end, life.observe()
            time.sleep(LOOK_S)
        assert all("\n" not in line for line in life.observe().changed)
        assert not life.settle(goal).changed
        assert life.call() == 2.0

    def test_killed_in_the_middle_of_an_apply_it_completes(
        self, life: Life, tmp_path: Path
    ) -> None:
        for place, after_s in enumerate(_KILLED_AFTER_S):
            goal = life.goal(1 + place % 2, 1 + place % 2, replicas=1 + place % 2)
            _apply_and_kill(life.case, goal, tmp_path / "wanted", after_s)
        goal = life.goal(2, 2)
        life.settle(goal)
        assert life.call() == 3.0
        self._twice_changes_nothing(life, goal)

    def test_nothing_is_found_and_deleted_quietly(self, life: Life) -> None:
        assert life.opened.observe(life.name) is None
        life.opened.delete(life.name)
        life.opened.delete(life.name)

    def test_two_live_side_by_side(self, life: Life) -> None:
        other = Life(replace(life.case, port=life.case.second_port), "mw-other", life.models)
        life.settle(life.goal(1, 1))
        try:
            other.settle(other.goal(1, 2))
            assert (life.call(), other.call()) == (2.0, 3.0)
        finally:
            other.opened.delete(other.name)
        assert other.opened.observe(other.name) is None
        assert life.call() == 2.0

    def test_tls_by_secrets(self, life: Life) -> None:
        if life.case.certificate is None:
            return
        chain, key = life.case.certificate
        access = {
            "port": life.case.port,
            "certificate": {"file": str(chain)},
            "private_key": {"file": str(key)},
        }
        seen = life.settle(life.goal(1, 1, said={"access": access}))
        assert seen.url.startswith("https://")
        assert life.call() == 2.0

    def test_none_is_none(self, life: Life) -> None:
        life.settle(life.goal(1, 1))
        seen = life.settle(life.goal(1, 1, replicas=0))
        assert not seen.replicas
        life.settle(life.goal(1, 1))
        assert life.call() == 2.0

    @staticmethod
    def _rolls(life: Life, goal: Wanted, traffic: Traffic, factor: float) -> None:
        """Another revision takes over, and no fewer answer meanwhile than before."""
        before = len(life.observe().replicas)
        life.settle(goal)
        assert life.fewest >= before
        traffic.until(factor)
        asked = sum(traffic.answers.values()), traffic.answers[factor]
        time.sleep(0.5)  # answers that were on their way
        since = sum(traffic.answers.values()) - asked[0], traffic.answers[factor] - asked[1]
        assert since[0] - since[1] <= 4, "the revision before still answers"

    @staticmethod
    def _twice_changes_nothing(life: Life, goal: Wanted) -> None:
        before = life.observe()
        life.opened.apply(goal)
        time.sleep(1.0)  # what was begun would show
        after = life.observe()
        assert after.replicas == before.replicas
        assert after.url == before.url
        assert after.settled


def _apply_and_kill(case: TargetCase, wanted: Wanted, file: Path, after_s: float) -> None:
    """Let another process apply, and end it so many seconds after it began."""
    file.write_bytes(pickle.dumps((case.kind.name, dict(case.settings), case.folder, wanted)))
    process = subprocess.Popen([sys.executable, "-c", _APPLY, file], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
