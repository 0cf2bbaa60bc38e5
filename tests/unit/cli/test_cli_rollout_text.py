"""A roll-out in a terminal."""

import math
from dataclasses import replace

import pytest

from modelworks.cli.output import Output
from modelworks.cli.rollout_text import bar, findings, show, steps
from modelworks.control.rollouts.kept import Kept
from modelworks.core.rollouts import (
    Direction,
    Finding,
    Kind,
    Metric,
    Outcome,
    Phase,
    Plan,
    Rollout,
    Step,
    Strategy,
    Verdict,
)

pytestmark = pytest.mark.unit
SECOND = 10**9
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)
PLAN = Plan(
    *("fraud-2", "fraud", "1.0.0", ("2.0.0",), Strategy.CANARY),
    *((Step(0.0), Step(0.2, bake_s=600.0), Step(1.0)), ERRORS),
)
FOUND = Finding(
    *("error_rate", "*", "2.0.0", 0.005, 0.015, 0.01, -0.01, 0.025, 0.05),
    *(Outcome.PROMOTE, "the new version fails 1 point more often"),
)


def kept(**fields):
    rollout = Rollout(PLAN, Phase.RUNNING, 1, 100 * SECOND, 200 * SECOND, **fields)
    return Kept(rollout, shares={"1.0.0": 0.8, "2.0.0": 0.2})


@pytest.mark.parametrize(
    ("low", "difference", "high", "drawn"),
    [
        (-0.05, 0.0, 0.05, "........========o=======!........"),
        (0.06, 0.09, 0.2, "................|.......!.====o=="),
        (None, 0.01, 0.02, "================|=o=....!........"),
        (-math.inf, -9.0, math.inf, "o===============|=======!========"),
    ],
)
def test_a_bar_has_zero_in_its_middle_and_the_margin_at_three_quarters(
    low, difference, high, drawn
):
    text = bar(replace(FOUND, low=low, difference=difference, high=high))
    assert len(text) == 33
    assert text == drawn


def test_a_bar_of_what_was_not_measured_is_empty():
    assert bar(replace(FOUND, low=None, high=None)) == ""
    assert "!" not in bar(replace(FOUND, margin=0.0))


def test_steps_say_how_long_one_stands():
    assert steps(kept(), 290 * SECOND) == "steps: copies > [20 %, 90 s of 10 min] > 100 %"
    ended = replace(kept(), ended_ns=230 * SECOND)
    assert steps(ended, 999 * SECOND) == "steps: copies > [20 %, 30 s of 10 min] > 100 %"
    waiting = Kept(Rollout(PLAN))
    assert steps(waiting, 5) == "steps: copies > 20 % > 100 %"


def test_findings_stand_in_their_metrics_unit(capsys):
    verdict = Verdict(Outcome.HOLD, "the step stands 9 min more", (FOUND,))
    one = kept(verdict=verdict, reason=verdict.sentence)
    out = Output(as_json=False)
    show(out, [one], 300 * SECOND)
    findings(out, one)
    told = capsys.readouterr().out
    assert "1.0.0 80 %, 2.0.0 20 %" in told
    assert "fraud-2: the step stands 9 min more" in told
    assert "-1 to +2.5 points" in told
    assert "fine" in told
    findings(out, kept())
    assert "nothing was judged yet" in capsys.readouterr().err
