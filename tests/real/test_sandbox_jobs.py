"""The sandbox's walls, tried by jobs that misbehave: cold and warm."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    MissingExtraError,
    ModelworksError,
    RefusedError,
    UnavailableError,
)
from modelworks.sandbox import kernel
from modelworks.sandbox.jobs import Job, Warm, run
from modelworks.sandbox.limits import Limits

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's"),
]

TESTS = Path(__file__).parent.parent
SMALL = {"memory_bytes": 1 << 30, "cpu_seconds": 20, "wall_seconds": 30}


@pytest.fixture(scope="module")
def warm():
    with Warm(("json",)) as host:
        yield host


@pytest.fixture(params=["cold", "warm"])
def sandbox(request, tmp_path):
    """`sandbox(function, arguments, **limits)` in both forms."""
    host = request.getfixturevalue("warm") if request.param == "warm" else None
    work = tmp_path / "work"
    work.mkdir()

    def call(function, arguments=None, *, progress=None, reads=(), devices=(), **limits):
        job = Job(
            f"sandboxed_jobs:{function}",
            arguments or {},
            work,
            Limits(**{**SMALL, **limits}),
            reads,
            (TESTS,),
            devices=devices,
        )
        return (host.run if host else run)(job, progress)

    return call


def one_line(error: ModelworksError) -> str:
    assert "\n" not in error.message
    assert len(error.message) <= 500
    return error.message


def test_a_job_answers_and_sees_nothing_of_ours(sandbox, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    with (tmp_path / "open").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        lines = []
        outcome = sandbox("echo", {"a": [1, "é"]}, progress=lines.append)
    assert outcome.value["arguments"] == {"a": [1, "é"]}
    assert lines == ["first line"]
    assert "SECRET_TOKEN" not in outcome.value["environment"]
    assert outcome.value["environment"]["HOME"].startswith(str(tmp_path))
    assert Path(outcome.value["cwd"]) == tmp_path / "work"
    assert (tmp_path / "work" / "made.txt").read_text() == "x"
    assert outcome.value["session"]
    assert outcome.value["fds"] <= 6  # 0 1 2, the answer, the listing itself
    assert outcome.cpu_seconds > 0
    assert 0 < outcome.peak_bytes < 1 << 30


def test_every_wall_stands_here_or_says_why(sandbox):
    walls = sandbox("echo").isolation
    for name in ("network", "files", "processes", "privileges"):
        assert getattr(walls, name) or walls.reasons
    assert walls.complete == (
        walls.network and walls.files and walls.processes and walls.privileges
    )


@pytest.mark.parametrize(
    ("function", "limits", "named"),
    [
        ("memory", {"memory_bytes": 300 << 20}, "memory"),
        ("spin", {"cpu_seconds": 1}, "1 s of CPU time"),
        ("sleep", {"wall_seconds": 0.5}, "longer than 0.5 s"),
        ("huge_file", {"file_bytes": 3 << 20}, "file"),
        ("many_files", {"disk_bytes": 20 << 20}, "disk"),
    ],
)
def test_each_limit_stops_the_job_and_is_named(sandbox, function, limits, named):
    with pytest.raises(RefusedError) as caught:
        sandbox(function, **limits)
    assert named in one_line(caught.value)


def test_a_full_disk_is_named(sandbox, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path / "work")]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs privileges; RLIMIT_FSIZE is tested above")
    try:
        with pytest.raises(UnavailableError, match="no space left"):
            sandbox("huge_file")
    finally:
        subprocess.run(["umount", str(tmp_path / "work")], check=True)


def test_files_outside_are_out_of_reach(sandbox, tmp_path):
    outside = tmp_path / "outside.txt"
    with pytest.raises(RefusedError, match="forbids"):
        sandbox("write_to", {"path": str(outside)})
    assert not outside.exists()
    outside.write_text("secret")
    with pytest.raises(RefusedError, match="forbids"):
        sandbox("read_from", {"path": str(outside)})
    assert sandbox("read_from", {"path": str(outside)}, reads=(outside,)).value == {
        "text": "secret"
    }
    with pytest.raises(RefusedError, match="forbids"):
        sandbox("write_to", {"path": str(outside)}, reads=(outside,))


def test_devices_of_accelerators_can_be_written_to(sandbox, tmp_path):
    """As a driver wants it; what lies beside them stays out of reach."""
    device, other = tmp_path / "nvidia0", tmp_path / "nvidia1"
    device.touch()
    sandbox("write_to", {"path": str(device)}, devices=(device, tmp_path / "absent"))
    assert device.read_text() == "out"
    with pytest.raises(RefusedError, match="forbids"):
        sandbox("write_to", {"path": str(other)}, devices=(device,))


@pytest.mark.parametrize("how", ["system", "popen", "exec", "spawn"])
def test_programs_are_refused_by_name(sandbox, tmp_path, how):
    canary = tmp_path / "work" / "canary"
    with pytest.raises(RefusedError, match="Operation not permitted"):
        sandbox("shell", {"how": how, "canary": str(canary)})
    assert not canary.exists()


def test_programs_are_refused_beneath_python(sandbox, tmp_path):
    canary = tmp_path / "work" / "canary"
    assert sandbox("shell", {"how": "libc", "canary": str(canary)}).value["code"] != 0
    assert not canary.exists()


def test_a_fork_bomb_does_not_start(sandbox):
    with pytest.raises(RefusedError, match="fork"):
        sandbox("fork")
    assert sandbox("fork_by_libc").value == {"forked": []}


def test_the_network_is_out_of_reach(sandbox):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        with pytest.raises(RefusedError, match="socket"):
            sandbox("connect", {"port": listener.getsockname()[1]})
        with pytest.raises(TimeoutError):
            listener.accept()
    assert sandbox("connect_by_libc").value == {"socket": -1}


def test_other_processes_are_out_of_reach(sandbox):
    assert sandbox("kill_parent", {"pid": os.getpid()}).value == {"answer": -1}


def test_errors_come_out_as_they_were_but_short(sandbox):
    with pytest.raises(RefusedError, match=r"^not this xxx") as caught:
        sandbox("fail", {"how": "refused"})
    assert len(one_line(caught.value)) == 500
    assert caught.value.field == "file"
    with pytest.raises(MissingExtraError, match=r"modelworks\[torch\]") as caught:
        sandbox("fail", {"how": "extra"})
    assert caught.value.extra == "torch"
    with pytest.raises(CrashedError, match="KeyError") as caught:
        sandbox("fail", {"how": "foreign"})
    one_line(caught.value)
    with pytest.raises(InvalidError, match="nested"):
        sandbox("fail", {"how": "recursion"})


@pytest.mark.parametrize(
    ("how", "named"), [("segv", "SIGSEGV"), ("abort", "SIGABRT"), ("exit", "last words")]
)
def test_a_death_is_one_line(sandbox, how, named):
    with pytest.raises(CrashedError) as caught:
        sandbox("die", {"how": how})
    assert named in one_line(caught.value)


def test_a_worker_killed_from_outside_is_one_line(sandbox):
    def kill(line):
        os.kill(int(line), signal.SIGKILL)

    with pytest.raises(CrashedError, match="SIGKILL") as caught:
        sandbox("sleep", progress=kill)
    one_line(caught.value)
    assert sandbox("echo").value  # a warm host lives on


def test_an_impatient_caller_leaves_no_process(sandbox):
    pids = []

    def interrupt(line):
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sandbox("sleep", progress=interrupt)
    assert not psutil.pid_exists(pids[0]) or psutil.Process(pids[0]).status() == "zombie"


def test_answers_are_bounded_and_checked(sandbox):
    with pytest.raises(CrashedError, match="over its limit"):
        sandbox("long_answer", {"length": 100_000}, result_bytes=50_000)
    assert len(sandbox("long_answer", {"length": 100_000}).value["text"]) == 100_000
    with pytest.raises(CrashedError, match="no answer"):
        sandbox("no_object")
    with pytest.raises(CrashedError, match="no JSON"):
        sandbox("garbage")


def test_noise_and_threads_do_no_harm(sandbox):
    assert sandbox("noise").value == {"fine": True}
    lines = []
    sandbox("thread", progress=lines.append)
    assert lines == ["from a thread"]


def test_progress_is_in_order(sandbox):
    lines = []
    sandbox("count", {"lines": 500}, progress=lines.append)
    assert lines == [f"line {i}" for i in range(500)]


def test_unknown_functions_are_told(sandbox):
    with pytest.raises(CrashedError, match="nothing_like_it"):
        sandbox("nothing_like_it")


def test_arguments_are_bounded(sandbox):
    with pytest.raises(InvalidError, match="128 KiB"):
        sandbox("echo", {"text": "x" * (200 << 10)})


def test_a_warm_host_serves_threads_one_after_another(warm, tmp_path):
    results = []

    def call(number):
        work = tmp_path / str(number)
        work.mkdir()
        job = Job("sandboxed_jobs:echo", {"n": number}, work, Limits(**SMALL), (), (TESTS,))
        results.append(warm.run(job).value["arguments"]["n"])

    threads = [threading.Thread(target=call, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(6))


def test_a_warm_host_that_cannot_start_says_why():
    with pytest.raises(CrashedError, match="no_such_module"), Warm(("no_such_module",)):
        pass


def test_without_privileges_the_walls_stand_too(tmp_path):
    """Most users are not root: without capabilities a user namespace of its own is the way."""
    code = (
        "from pathlib import Path; from modelworks.sandbox import kernel\n"
        "from modelworks.sandbox.jobs import Job, run\n"
        "kernel.drop_capabilities()\n"
        f"work, tests = Path({str(tmp_path)!r}), Path({str(TESTS)!r})\n"
        "job = Job('sandboxed_jobs:echo', {}, work, path=(tests,))\n"
        "walls = run(job).isolation\n"
        "print(walls.files, walls.processes, walls.privileges, walls.network, walls.reasons)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("True True True True"), done.stdout + done.stderr
    assert (tmp_path / "made.txt").read_text() == "x"


def test_a_kernel_that_offers_nothing_is_told(tmp_path, monkeypatch):
    """What `isolate` says where each wall is refused; in a child, for walls stay."""
    pid = os.fork()
    if pid == 0:
        from modelworks.sandbox import isolate

        def refuse(*_):
            raise OSError(38, "Function not implemented")

        for name in ("own_network", "drop_capabilities", "no_new_privileges", "landlock"):
            setattr(kernel, name, refuse)
        kernel.forbid_calls = refuse
        walls = isolate.isolate(tmp_path, (), Limits())
        good = not walls.network and not walls.complete and len(walls.reasons) == 5
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
