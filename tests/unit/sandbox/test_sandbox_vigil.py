"""Why a model's process ended, in words that name the cause."""

import os
import signal
import sys
import time

import pytest

from modelworks.sandbox import spawn
from modelworks.sandbox.limits import GIB, Limits
from modelworks.sandbox.vigil import Vigil, Watched, _why, disk_use, resident

pytestmark = pytest.mark.unit
LIMITS = Limits(memory_bytes=2 * GIB, file_bytes=1000)


@pytest.mark.parametrize(
    ("code", "tail", "says"),
    [
        (0, b"", "ended itself with code 0"),
        (3, b"first\nlast words\n", "ended itself with code 3 (last words)"),
        (-signal.SIGKILL, b"", "was killed (SIGKILL), by hand or by the system"),
        (-signal.SIGSEGV, b"", "died of SIGSEGV"),
        (-signal.SIGABRT, b"what(): std::bad_alloc", "needed more memory than the 2 GiB"),
        (1, b"MemoryError\n", "needed more memory than the 2 GiB"),
        (1, b"DefaultCPUAllocator: can't allocate memory", "needed more memory"),
        (-signal.SIGXFSZ, b"", "wrote a file of more than 1000 bytes"),
        (-63, b"", "signal 63"),
        (1, b"\xff\xfe\x00" * 9000, "ended itself with code 1"),
    ],
)
def test_the_reason_is_named_in_one_short_line(code, tail, says):
    found = _why(code, tail, LIMITS)
    assert says in found
    assert "\n" not in found
    assert len(found) < 400


def test_what_is_gone_takes_nothing(tmp_path):
    assert resident(2**22 + 1) == 0
    assert disk_use(tmp_path / "nowhere") == 0
    (tmp_path / "file").write_bytes(bytes(10_000))
    assert disk_use(tmp_path) >= 8192


def test_who_waits_for_the_vigil_finds_all_tidied_up(tmp_path):
    read, write = os.pipe()
    process = spawn.start(spawn.Start([sys.executable, "-c", ""], (), dict(os.environ), write))
    os.close(write)
    work = tmp_path / "work"
    work.mkdir()

    def slowly():
        time.sleep(0.3)
        work.rmdir()

    vigil = Vigil(Watched(process, read, work, LIMITS), slowly, lambda _: None)
    assert vigil.watched.ended.wait(20)
    vigil.join(20)
    assert not work.exists()
