"""A server's freed memory serves its next request."""

import sys

import pytest

from modelworks.serving.heap import keep_freed
from modelworks.testing.fresh import told

pytestmark = pytest.mark.unit
_TOUCHED = """
import resource, sys
from modelworks.serving.heap import keep_freed
if sys.argv[1] == "kept":
    assert keep_freed()
for _ in range(4):
    kept = [bytes(600_000) for _ in range(4)]
    del kept
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    kept = [bytes(600_000) for _ in range(4)]
    del kept
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own call")
def test_freed_pages_are_used_again():
    untuned = {"PATH": "/usr/bin:/bin"}
    kept, as_ever = (told(_TOUCHED, how, environment=untuned) for how in ("kept", "as ever"))
    assert kept < 1000 < as_ever


def test_elsewhere_it_says_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed()
