"""Workers and threads from measurements: what kinds of models and machines come to."""

from dataclasses import replace

import pytest

from modelworks.core import codec
from modelworks.core.machine import Machine, this_machine
from modelworks.serving.sizing import HTTP_NS, Calibrated, Sizing, Speed, as_set, decide, usable

pytestmark = pytest.mark.unit
GB = 1_000_000_000
US, MS = 1e3, 1e6
BASE = 60_000_000
FOUR = Machine(4, 4.0, 16 * GB)


def speeds(one, crowd=1.0, processes=4, threads=()):
    """`threads`: pairs of (number, how many times faster than one)."""
    found = [Speed(1, 1, one)]
    if processes > 1:
        found.append(Speed(1, processes, one * crowd))
    return (*found, *(Speed(number, 1, one / faster) for number, faster in threads))


# As measured: 100 boosted trees, MobileNetV2, MiniLM with 32 tokens.
S = Calibrated("s", "1", 15 * US, 28 * US, 2_000_000, speeds(2.3 * US))
M = Calibrated(
    "m", "1", 13 * MS, 90 * US, 60_000_000, speeds(12 * MS, 1.05, threads=((2, 1.85), (4, 3.2)))
)
T = Calibrated(
    "t", "1", 12 * MS, 60 * US, 130_000_000, speeds(7.6 * MS, 1.1, threads=((2, 1.7), (4, 2.8)))
)


def chosen(machine, *models, threads=0):
    found = decide(machine, models, BASE, threads)
    assert found == decide(machine, models, BASE, threads)
    return found.workers, found.threads


@pytest.mark.parametrize("models", [(S,), (M,), (T,), (S, M), (S, M, T)])
def test_with_enough_memory_every_core_gets_a_worker_with_one_thread(models):
    assert chosen(FOUR, *models) == (4, 1)
    assert chosen(Machine(2, 2.0, 16 * GB), *models) == (2, 1)


@pytest.mark.parametrize("model", [S, M, T])
def test_one_core_is_one_worker(model):
    found = decide(Machine(1, 1.0, GB), (model,), BASE)
    assert (found.workers, found.threads) == (1, 1)
    assert "take turns" in found.reason


def test_a_model_too_large_for_several_workers_gets_threads():
    large = replace(M, bytes=5 * GB)
    assert chosen(FOUR, large) == (2, 2)
    assert chosen(Machine(4, 4.0, 8 * GB), large) == (1, 4)
    found = decide(FOUR, (large,), BASE)
    assert "a worker takes 5,060 MB and all may use 80% of 16,000 MB" in found.reason


def test_what_does_not_even_fit_once_is_served_once_and_said():
    found = decide(Machine(4, 4.0, GB), (replace(S, bytes=2 * GB),), BASE)
    assert (found.workers, found.threads) == (1, 1)
    assert "even this needs 2,060 MB" in found.reason


def test_small_models_that_must_share_one_worker_get_no_threads():
    assert chosen(Machine(4, 4.0, 2_500_000_000), replace(S, bytes=GB)) == (1, 1)


def test_where_neighbours_fight_for_memory_bandwidth_fewer_workers_do():
    greedy = replace(T, speeds=(Speed(1, 1, 8 * MS), Speed(1, 4, 30 * MS)))
    assert chosen(FOUR, greedy)[0] < 4


def test_threads_win_where_processes_hardly_add_up():
    odd = replace(T, speeds=(Speed(1, 1, 8 * MS), Speed(1, 4, 32 * MS), Speed(4, 1, 2.1 * MS)))
    assert chosen(FOUR, odd) == (1, 4)


def test_a_quota_counts_as_the_cores_it_is_worth():
    small = Machine(16, 1.5, 16 * GB, "cgroup")
    assert usable(small) == 2
    found = decide(small, (M,), BASE)
    assert (found.workers, found.threads) == (2, 1)
    assert "1.5 of 16 cores (CPU quota)" in found.reason
    assert found.options[0].gain == pytest.approx(1.5, abs=0.06)
    assert chosen(Machine(16, 0.5, 16 * GB, "cgroup"), M) == (1, 1)


def test_threads_that_were_set_are_kept():
    two = replace(M, speeds=(Speed(2, 1, 6.5 * MS), Speed(2, 2, 6.6 * MS)))
    assert chosen(FOUR, two, threads=2) == (2, 2)


def test_without_any_model_one_worker_a_core_and_four_at_most():
    found = decide(Machine(32, 32.0, 64 * GB), (), BASE)
    assert (found.workers, found.threads, found.calibrated) == (4, 1, False)
    assert "no model" in found.reason


def test_a_model_that_cannot_be_measured_leaves_one_worker_and_says_why():
    native = Calibrated("n", "1", problem="it runs in a process of its own")
    found = decide(FOUR, (native,), BASE)
    assert (found.workers, found.threads, found.calibrated) == (1, 1, False)
    assert found.reason == "not calibrated, so one worker: n: it runs in a process of its own"
    assert decide(FOUR, (native, S), BASE).workers == 4  # the others can


def test_unmeasured_models_count_with_their_size():
    big = Calibrated("big", "1", bytes=5 * GB, problem="no time")
    assert chosen(FOUR, S, big) == (2, 1)


def test_sixty_four_cores_and_a_thousand_models_are_told_in_a_few_lines():
    machine = Machine(64, 64.0, 256 * GB)
    many = tuple(Calibrated(f"m{n}", "1", problem="no time") for n in range(1000))
    found = decide(machine, (*many, S), BASE)
    assert found.workers >= 61
    assert found.models[0] == S
    assert len(str(codec.encode(found))) < 10_000


def test_it_crosses_the_wire():
    found = decide(FOUR, (S, M), BASE)
    assert codec.decode(Sizing, codec.encode(found)) == found
    assert codec.decode(Sizing, codec.encode(as_set(3, 2))) == as_set(3, 2)
    assert HTTP_NS > 0


def files(root, found):
    for name, text in found.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {"proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n"}


@pytest.mark.parametrize(
    ("found", "quota", "memory"),
    [
        (MEMINFO, None, 16_384_000_000),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/b/memory.max": "1000000000\n",
                "sys/fs/cgroup/a/memory.max": "max\n",
            },
            0.5,
            1_000_000_000,
        ),
        (  # a container: its own group is the top, whatever its name is outside
            MEMINFO
            | {
                "proc/self/cgroup": "0::/docker/abc\n",
                "sys/fs/cgroup/cpu.max": "25000 100000\n",
            },
            0.25,
            16_384_000_000,
        ),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "4:memory:/x\n2:cpu,cpuacct:/x\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "75000\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
            },
            0.75,
            16_384_000_000,
        ),
        ({"proc/self/cgroup": "nonsense\n", "sys/fs/cgroup/cpu.max": "a b c"}, None, 0),
        ({}, None, 0),
    ],
)
def test_the_kernels_limits_are_found(tmp_path, found, quota, memory):
    files(tmp_path, found)
    machine = this_machine(tmp_path)
    assert machine.quota == (quota or machine.cores)
    assert machine.memory_bytes == memory
    assert machine.limited_by == ("cgroup" if quota else "affinity")


def test_this_machine_has_something():
    machine = this_machine()
    assert machine.cores >= 1
    assert 0 < machine.quota <= machine.cores
