"""Energy by the processor's counters, over a made folder like /sys/class/powercap."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.variants import Goal, Objective
from modelworks.optimize import energy
from modelworks.optimize.energy import Counter, energy_counters, joules, joules_a_row
from modelworks.optimize.scoring import better
from optimize_fakes import measurement

pytestmark = pytest.mark.unit
ROWS = [{"x": np.zeros((4, 1), np.float32)}]
MOST = 262_143_328_850


@pytest.fixture
def zone(tmp_path):
    """A zone of the tree; returns the file of its counter."""

    def zone(place, name, microjoules=1000, most=MOST):
        folder = tmp_path / "sys/class/powercap" / place
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
        return folder / "energy_uj"

    return zone


def test_every_package_counts_once_and_nothing_else(tmp_path, zone):
    assert energy_counters(tmp_path) == ()
    first, second = zone("intel-rapl:0", "package-0"), zone("intel-rapl:1", "package-1", most=7)
    zone("intel-rapl:0:0", "core")  # parts of the first package
    zone("intel-rapl:0:1", "dram")
    zone("intel-rapl:2", "psys")  # the whole platform, both packages within
    zone("intel-rapl-mmio:0", "package-0")  # the first package by another way
    zone("dtpm", "nothing of ours")
    assert energy_counters(tmp_path) == (Counter(first, MOST), Counter(second, 7))


def test_the_real_folders_are_what_is_read(tmp_path, zone):
    """In /sys they are links; a sandbox is told what lies behind them."""
    real = zone("../../devices/virtual/powercap/intel-rapl/intel-rapl:0", "package-0").parent
    links = tmp_path / "sys/class/powercap"
    links.mkdir(parents=True, exist_ok=True)
    (links / "intel-rapl:0").symlink_to(real)
    (found,) = energy_counters(tmp_path)
    assert found.path == real.resolve() / "energy_uj"


@pytest.mark.parametrize("damage", ["unreadable", "no number", "no name"])
def test_a_package_that_cannot_be_read_leaves_none(tmp_path, zone, damage):
    """The energy of one of two packages would be told as all of it."""
    zone("intel-rapl:0", "package-0")
    file = zone("intel-rapl:1", "package-1")
    if damage == "unreadable":  # also for root: a folder cannot be read as a file
        file.unlink()
        file.mkdir()
    elif damage == "no number":
        file.write_text("busy\n")
    else:
        (file.parent / "name").unlink()
        (file.parent / "name").mkdir()
    assert energy_counters(tmp_path) == ()


def test_a_counter_that_begins_again_counts_on(tmp_path):
    counters = (Counter(tmp_path / "a", 1_000_000), Counter(tmp_path / "b", 5_000_000))
    assert joules(counters, (900_000, 10), (400_000, 20)) == pytest.approx(0.50001)
    assert joules(counters, (0, 0), (1_000_000, 5_000_000)) == pytest.approx(6.0)
    assert joules(counters, (3, 4), (3, 4)) == 0


class Burning:
    """A session of which each call takes so many microjoules."""

    def __init__(self, counter, each, fails_at=0):
        self.counter, self.each, self.fails_at, self.calls = counter, each, fails_at, 0

    def infer(self, inputs):
        self.calls += 1
        if self.calls == self.fails_at:
            raise InvalidError("the model refuses this input")
        now = int(self.counter.path.read_text()) + self.each
        self.counter.path.write_text(f"{now % self.counter.most}\n")
        return [inputs]


@pytest.fixture
def counter(zone, monkeypatch):
    """One that begins again every few calls; a turn is three calls."""
    path = zone("intel-rapl:0", "package-0", 999_000, most=4_000_000)
    clock = itertools.count()
    monkeypatch.setattr(energy.time, "perf_counter", lambda: 0.04 * next(clock))
    return Counter(path, 4_000_000)


def test_each_form_has_its_own_share(counter):
    source, half = Burning(counter, 800_000), Burning(counter, 400_000)
    failing = Burning(counter, 1, fails_at=7)
    found = joules_a_row([source, None, failing, half], ROWS, 4, [counter])
    assert found == [pytest.approx(0.2), None, None, pytest.approx(0.1)]
    assert joules_a_row([source], ROWS, 4, []) == [None]


def test_where_nothing_is_counted_nothing_is_told(counter, tmp_path):
    idle = Burning(counter, 0)
    assert joules_a_row([idle], ROWS, 4, [counter]) == [None]
    gone = Counter(tmp_path / "gone", 5)
    assert joules_a_row([Burning(counter, 1)], ROWS, 4, [gone]) == [None]


def test_energy_that_nobody_counted_is_said():
    own, source = measurement(), measurement()
    goal = Goal(objective=Objective.ENERGY)
    assert (
        better(goal, own, source).summary == "no energy was counted for it or for the source form"
    )
    own, source = replace(own, energy_j=0.5), replace(source, energy_j=1.0)
    assert better(goal, own, source).summary == "2.00 times less energy"
