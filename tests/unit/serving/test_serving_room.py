"""Room for models: who leaves, what is known of footprints, what the system has."""

import json
import os

import pytest

from modelworks.core.errors import UnavailableError
from modelworks.core.served import Isolation, ServedModel
from modelworks.serving import memory
from modelworks.serving.entries import Entry
from modelworks.serving.footprints import Footprint, Footprints
from modelworks.serving.memory import MIB, Machine, machine
from modelworks.serving.policy import Policy
from modelworks.serving.room import Limit, NoRoomError, Plan, Tenant, limit_of, plan, refusal
from modelworks.serving.wire import pack_error, unpack_error

pytestmark = pytest.mark.unit
MODEL = ServedModel("m", "1.0.0", "/nowhere", "sha256:1")


def tenant(name, size, used, *, free=True, pinned=False):
    return Tenant((name, "1"), size, used, free and not pinned, pinned)


OLD, MIDDLE, NEW = (tenant(name, 100, used) for used, name in enumerate("abc"))


@pytest.mark.parametrize(
    ("wanted", "room", "tenants", "decided"),
    [
        (50, 50, [OLD], Plan((), fits=True, later=False)),
        (50, 0, [NEW, OLD, MIDDLE], Plan((OLD.key,), fits=True, later=False)),
        (150, 0, [NEW, OLD, MIDDLE], Plan((OLD.key, MIDDLE.key), fits=True, later=False)),
        (50, -120, [NEW, OLD, MIDDLE], Plan((OLD.key, MIDDLE.key), fits=True, later=False)),
        (301, 0, [NEW, OLD, MIDDLE], Plan((), fits=False, later=False)),
        (50, 0, [tenant("p", 100, 0, pinned=True)], Plan((), fits=False, later=False)),
        (50, 0, [tenant("b", 100, 0, free=False)], Plan((), fits=False, later=True)),
        (50, 0, [tenant("b", 100, 0, free=False), NEW], Plan((NEW.key,), fits=True, later=False)),
        (150, 0, [tenant("b", 100, 0, free=False), NEW], Plan((), fits=False, later=True)),
        (50, 0, [], Plan((), fits=False, later=False)),
    ],
)
def test_who_leaves(wanted, room, tenants, decided):
    assert plan(wanted, room, tenants) == decided


def test_a_refusal_says_the_numbers_and_can_cross_to_another_process():
    limit = Limit(300 * MIB, of_system=False)
    wanted = Footprint(200 * MIB, measured=False)
    error = refusal(Entry(MODEL), wanted, -5, limit, plan(200 * MIB, -5, []))
    assert isinstance(error, NoRoomError)
    for said in ("200 MiB", "estimated", "0 MiB of 300 MiB", "--memory-limit", "unpin"):
        assert said in error.message
    assert "\n" not in error.message
    assert error.retry_after > 1
    passing = refusal(Entry(MODEL), wanted, 0, limit, Plan((), fits=False, later=True))
    assert passing.passing
    assert "try again" in passing.message
    crossed = unpack_error(pack_error(error))
    assert type(crossed) is UnavailableError
    assert crossed.message == error.message


def test_room_is_the_less_of_the_limit_and_what_the_system_has():
    limit = Limit(1000 * MIB, of_system=False)
    assert limit.room(400 * MIB, None) == 600 * MIB
    tight = Machine(total=8192 * MIB, available=300 * MIB)
    assert 0 < limit.room(400 * MIB, tight) < 300 * MIB
    assert limit_of(1000, 4) == Limit(250, of_system=False)
    system = limit_of(0, 2)
    assert system is not None
    assert system.of_system
    assert 0 < system.bytes < machine().total / 2


def test_footprints_are_estimated_then_measured_then_remembered(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(bytes(10 * MIB))
    model = ServedModel("m", "1.0.0", str(file), "sha256:1")
    path = tmp_path / "footprints.json"
    known = Footprints(path)
    first = known.expected(model)
    assert not first.measured
    assert 10 * MIB < first.bytes < 100 * MIB
    apart = ServedModel("m", "1.0.0", str(file), "sha256:1", isolation=Isolation.PROCESS)
    assert known.expected(apart).bytes > first.bytes
    known.measured(model, 12 * MIB)
    for found in (known, Footprints(path)):
        assert found.expected(model) == Footprint(12 * MIB, measured=True)
        assert not found.expected(apart).measured
    Footprints(path).measured(apart, 70 * MIB)
    assert len(json.loads(path.read_text())) == 2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "b", "c": -1}', "null"])
def test_a_damaged_memory_of_footprints_is_none(tmp_path, text):
    path = tmp_path / "footprints.json"
    path.write_text(text)
    known = Footprints(path)
    assert not known.expected(MODEL).measured
    known.measured(MODEL, 5)
    assert Footprints(path).expected(MODEL) == Footprint(5, measured=True)


def test_footprints_that_cannot_be_written_are_kept_here(tmp_path):
    known = Footprints(tmp_path / "missing" / "footprints.json")
    known.measured(MODEL, 7)
    assert known.expected(MODEL) == Footprint(7, measured=True)


def test_memory_of_processes_is_read():
    mine = memory.own()
    assert mine > 10 * MIB
    assert 10 * MIB < memory.of_processes([os.getpid()]) <= memory.own() * 1.2
    assert memory.of_processes([2**22 + 1]) == 0


def system(root, total_mb, available_mb, groups="", files=None):
    (root / "proc/self").mkdir(parents=True)
    text = f"MemTotal: {total_mb * 1024} kB\nMemAvailable: {available_mb * 1024} kB\n"
    (root / "proc/meminfo").write_text(text)
    (root / "proc/self/cgroup").write_text(groups)
    for path, content in (files or {}).items():
        file = root / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(content))
    return machine(root)


def test_the_tightest_cgroup_counts(tmp_path):
    files = {
        "a/memory.max": 400 * MIB,
        "a/memory.current": 300 * MIB,
        "a/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
        "a/b/memory.max": "max",
        "a/b/memory.current": 0,
        "a/b/memory.stat": "",
    }
    found = system(tmp_path, 1000, 800, "0::/a/b\n", files)
    assert found == Machine(400 * MIB, 200 * MIB)


def test_the_older_cgroups_count_and_none_is_no_limit(tmp_path):
    files = {
        "memory/memory.limit_in_bytes": 300 * MIB,
        "memory/memory.usage_in_bytes": 250 * MIB,
        "memory/memory.stat": f"total_inactive_file {50 * MIB}\n",
    }
    groups = "9:cpu,cpuacct:/x\n7:memory:/docker/elsewhere\n"
    found = system(tmp_path / "old", 1000, 800, groups, files)
    assert found == Machine(300 * MIB, 100 * MIB)
    assert system(tmp_path / "none", 1000, 800) == Machine(1000 * MIB, 800 * MIB)
    assert machine(tmp_path / "nowhere") is None


def test_a_policy_changes_lines_and_nothing_else():
    policy = Policy(pinned=frozenset({"m"}), isolation=Isolation.PROCESS)
    found = policy.line(MODEL)
    assert found.pinned
    assert found.isolation is Isolation.PROCESS
    assert Policy().line(MODEL) == MODEL
