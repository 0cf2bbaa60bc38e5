"""Everything that can befall a gateway befalls it once; the long form is `test_chaos_front`."""

import pytest

from front_callers import Persistent
from front_chaos import Stage

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
CALLERS = 6


def test_callers_are_answered_whatever_befalls_one_part(tmp_path):
    with Stage(tmp_path) as stage, Persistent(stage.gateway.port, CALLERS) as callers:
        stage.pause = lambda: callers.until(150)
        callers.until(300)
        for name, act in stage.acts.items():
            act()
            callers.until(100)
            assert callers.failed == [], (name, callers.failed[:3])
        sent, dropped = stage.shadows()
    assert callers.failed == []
    assert callers.broken <= 2 * CALLERS  # of the one worker that was killed
    assert callers.slowest < 10
    assert sent > 0
    assert dropped > 0  # the slow shadow cost copies, and no caller anything
