"""Why a model's process ended, in words that name the cause."""

import signal

import pytest

from modelworks.sandbox.limits import GIB, Limits
from modelworks.sandbox.vigil import _why, disk_use, resident

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
