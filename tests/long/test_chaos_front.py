"""Sixty troubles in a row, in an order of chance: callers of a gateway are answered, every one."""

import sys
from collections import Counter
from random import Random

import pytest

from front_callers import Persistent
from front_chaos import Stage

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
ACTS = 60
CALLERS = 6
SEED = 20


def test_sixty_troubles_and_no_request_that_fails(tmp_path):
    chance, seen = Random(SEED), Counter()
    with Stage(tmp_path, SEED) as stage, Persistent(stage.gateway.port, CALLERS) as callers:
        stage.pause = lambda: callers.until(300)
        callers.until(500)
        names = [name for name in stage.acts for _ in range(ACTS // len(stage.acts))]
        chance.shuffle(names)
        for name in names:
            stage.acts[name]()
            seen[name] += 1
            callers.until(300)
            assert callers.failed == [], (name, dict(seen), callers.failed[:3])
        sent, dropped = stage.shadows()
    sys.stdout.write(
        f"{callers.answered} answered, {callers.broken} broken connections, the slowest answer "
        f"{callers.slowest:.2f} s, {sent:.0f} copies sent, {dropped:.0f} dropped, {dict(seen)}\n"
    )
    assert callers.failed == []
    assert min(seen.values()) == ACTS // len(stage.acts)
    assert callers.broken <= 2 * CALLERS * seen["kill a worker"]
    assert dropped > 0
