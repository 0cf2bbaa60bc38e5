"""The machine as its files show it: read from a made-up root, and from this one."""

import os
import subprocess
import sys
import time
from dataclasses import replace

from modelworks.monitor.system import gpu, host, processes


def root_of(tmp_path, cpu=(100, 0, 50, 800), usage="", quota="max 100000"):
    files = {
        "proc/stat": "cpu  {} {} {} {} 40 0 0 0 0 0\ncpu0 1 2 3\n".format(*cpu),
        "proc/meminfo": "MemTotal: 8000 kB\nMemFree: 10 kB\nMemAvailable: 2000 kB\n",
        "proc/net/dev": "h\nh\n lo: 9 0 0 0 0 0 0 0 9 0\n eth0: 100 0 0 0 0 0 0 0 70 0\n",
        "proc/sys/fs/file-nr": "1234\t0\t99999\n",
        "proc/loadavg": "1.50 1 1 1/1 1\n",
        "proc/vmstat": "pgfault 3\npgmajfault 12\n",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": quota,
        "sys/fs/cgroup/cpu.stat": f"usage_usec {usage or 0}\n",
        "sys/fs/cgroup/memory.max": "4096000",
        "sys/fs/cgroup/memory.current": "3000000",
        "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 1000000\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_machine_is_read_within_its_control_group(tmp_path):
    seen = host.look(tmp_path, root_of(tmp_path))
    ticks = os.sysconf("SC_CLK_TCK")
    assert seen.cpu_s == 150 / ticks
    assert (seen.memory, seen.memory_limit) == (2_000_000, 4_096_000)
    assert (seen.received, seen.sent, seen.files, seen.load) == (100, 70, 1234, 1.5)
    assert seen.faults == 12
    assert 0 < seen.disk_free <= seen.disk_size


def test_a_quota_is_what_counts_where_there_is_one(tmp_path):
    seen = host.look(tmp_path, root_of(tmp_path, usage="2500000", quota="50000 100000"))
    assert (seen.cores, seen.cpu_s) == (0.5, 2.5)
    later = replace(seen, cpu_s=5.0)
    told = host.use(seen, later, 10.0).values
    assert told["host_cpu_cores"] == 0.25
    assert told["host_cpu_share"] == 0.5


def test_rates_come_from_two_looks_and_never_fall_below_nothing(tmp_path):
    seen = host.look(tmp_path, root_of(tmp_path))
    first = host.use(None, seen, 0.0).values
    assert "host_cpu_share" not in first
    assert first["host_memory_share"] == 2_000_000 / 4_096_000
    told = host.use(seen, replace(seen, received=600, sent=0, faults=32), 10.0).values
    assert told["host_received_bytes_per_s"] == 50
    assert told["host_sent_bytes_per_s"] == 0  # the machine began anew
    assert told["host_major_faults_per_s"] == 2


def test_where_nothing_can_be_read_nothing_is_made_up(tmp_path):
    seen = host.look(tmp_path / "gone", tmp_path / "nothing")
    told = host.use(None, seen, 0.0).values
    assert "host_memory_share" not in told
    assert "host_disk_share" not in told


def test_this_machine_is_read(tmp_path):
    seen = host.look(tmp_path)
    assert seen.memory_limit > seen.memory > 1 << 20
    assert seen.cpu_s > 0


def test_our_processes_are_found_by_what_they_are(tmp_path):
    code = "import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, "modelworks.apps.server"])
    try:
        until = time.monotonic() + 20
        found = processes.look([os.getpid()])
        while "server" not in found and time.monotonic() < until:
            found = processes.look([os.getpid()])
    finally:
        child.kill()
        child.wait()
    assert found["server"].count == 1
    assert found["server"].files >= 3
    assert found["other"].memory > 1 << 20


def test_cpu_of_a_part_that_lost_a_process_is_not_known():
    now = {"server": processes.Use(2, 10.0, 100, 5, 4), "control": processes.Use(1, 3.0)}
    told = processes.told({"server": 4.0, "control": 9.0}, now, 3.0)
    assert told["server"]["process_cpu_cores"] == 2.0
    assert "process_cpu_cores" not in told["control"]
    assert told["server"]["process_count"] == 2


def test_accelerators_are_read_as_nvidia_smi_prints_them():
    found = gpu.read("0, 37, 1024, 81920, 41, 120.5\n1, [N/A], 5, 81920, 40, [N/A]\nnonsense\n")
    assert found["0"]["host_gpu_share"] == 0.37
    assert found["0"]["host_gpu_memory_bytes"] == 2**30
    assert "host_gpu_share" not in found["1"]
    assert found["1"]["host_gpu_memory_bytes"] == 5 * 2**20
    assert set(found) == {"0", "1"}
