"""What is kept of a roll-out's looks, and what its report says."""

import re
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from modelworks.control.rollouts.gathering.copies import documents
from modelworks.control.rollouts.gathering.pairs import Copied
from modelworks.control.rollouts.report.figures import apart, between, span, value
from modelworks.control.rollouts.report.looks import COMPARED, MOST, due, points_of, too_many
from modelworks.control.rollouts.report.page import html
from modelworks.control.rollouts.report.picture import HEIGHT, Band, band
from modelworks.control.rollouts.report.pictures import pictures
from modelworks.control.rollouts.report.told import Told, report_of
from modelworks.control.rollouts.report.told import told as told_of
from modelworks.control.service import Factory
from modelworks.core import codec
from modelworks.core.errors import NotFoundError
from modelworks.core.home import Home
from modelworks.core.rollouts import (
    ArmEvidence,
    Direction,
    Evidence,
    Finding,
    Kind,
    Metric,
    Outcome,
    Phase,
    Plan,
    Step,
    Strategy,
    Sums,
    Verdict,
)
from modelworks.core.semver import Semver
from modelworks.rollout.shadow.tally import Form, Pairs, tally
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit
SECOND = 10**9
END = 1_900_000_000 * SECOND
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)
SHARES = {"1.0.0": 0.5, "2.0.0": 0.5}


class Clock:
    now = 1_800_000_000 * SECOND

    def __call__(self):
        return self.now

    def tick(self, seconds=1.0):
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock():
    return Clock()


@contextmanager
def opened(folder, clock):
    with Factory(Home(folder / "home"), actor="ana", clock=clock) as factory:
        for version in ("1.0.0", "2.0.0"):
            factory.publish(
                candidate(folder / version, version.encode(), version=Semver.parse(version))
            )
        factory.set_alias("fraud", "champion", "1.0.0")
        yield factory


@pytest.fixture
def factory(tmp_path, clock):
    with opened(tmp_path, clock) as factory:
        yield factory


def plan(**fields):
    usual = {"name": "fraud-2", "route": "fraud", "stable": "1.0.0", "candidates": ("2.0.0",)}
    usual |= {"strategy": Strategy.CANARY, "steps": (Step(0.5), Step(1.0)), "primary": ERRORS}
    return Plan(**{**usual, "sample": 1000, "most_s": 86_400.0, **fields})


def evidence(now, requests, errors=0, share=0.5):
    """Requests and errors of the candidate; the stable arm got its share and has none."""
    others = round(requests * (1 - share) / share)
    counts = {"1.0.0": (others, 0), "2.0.0": (requests, errors)}
    arms = tuple(
        ArmEvidence(arm, count, metrics={"error_rate": Sums(count=count, total=wrong)})
        for arm, (count, wrong) in counts.items()
    )
    return Evidence(now, arms, {"1.0.0": 1 - share, "2.0.0": share})


@pytest.fixture
def running(factory):
    factory.rollouts.start(plan())
    factory.rollouts.ready("fraud-2")
    return factory.rollouts


def test_looks_are_kept_often_first_and_seldom_later(running, clock):
    for second in range(40):
        clock.tick()
        running.look("fraud-2", evidence(clock(), second))
    found = report_of(running, "fraud-2", END).looks
    gaps = [(b.at_ns - a.at_ns) / SECOND for a, b in pairwise(found)]
    assert gaps[:10] == [1.0] * 10
    assert gaps[-1] > 1
    assert found[5].requests == {"1.0.0": 5, "2.0.0": 5}
    assert found[5].shares == SHARES
    (point,) = found[5].points
    assert (point.metric, point.slice, point.arm, point.margin) == (
        *("error_rate", "*", "2.0.0"),
        0.05,
    )


def test_a_day_of_looks_once_a_second_is_a_few_hundred():
    last, count = 0, 0
    for second in range(1, 86_400):
        if due(1, last, second * SECOND):
            last, count = second * SECOND, count + 1
    assert 100 < count < 200


def test_the_look_that_ends_it_is_kept(running, clock):
    clock.tick()
    running.look("fraud-2", evidence(clock(), 10))
    clock.tick(0.001)
    assert running.look("fraud-2", evidence(clock(), 100, 60)).rollout.phase is Phase.ROLLED_BACK
    outcomes = [one.outcome for one in report_of(running, "fraud-2", END).looks]
    assert outcomes == [Outcome.HOLD, Outcome.ROLL_BACK]


def test_looks_have_a_bound():
    numbers = []
    for number in range(5000):
        numbers.append(number)
        gone = set(too_many(numbers))
        assert not gone & set(numbers[-50:])
        numbers = [one for one in numbers if one not in gone]
        assert len(numbers) <= MOST
    assert numbers[0] == 0
    assert due(10, 0, 10)
    assert due(10, 5, 10)  # of the step before
    assert not due(0, 160, 169)
    assert due(0, 160, 170)


def test_of_many_slices_the_first_are_kept():
    slices = tuple(f"s={number}" for number in range(100))
    found = [
        Finding("error_rate", one, "2.0.0", 0, 0, 0, None, None, 0.1, Outcome.HOLD, "")
        for one in slices
    ]
    found.append(replace(found[0], slice="*"))
    kept = points_of(plan(slices=slices), Verdict(Outcome.HOLD, "", tuple(found[::-1])))
    assert [one.slice for one in kept] == ["*", *slices[: COMPARED - 1]]


def test_a_report_of_nobody(factory):
    with pytest.raises(NotFoundError, match="no roll-out 'x'"):
        report_of(factory.rollouts, "x", END)


def guarded():
    slow = Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, margin=0.2, relative=True)
    return plan(steps=(Step(0.05, bake_s=600.0), Step(0.5), Step(1.0)), guardrails=(slow,))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A roll-out that goes two steps, is paused, and rolled back; its latency is never measured."""
    clock = Clock()
    with opened(tmp_path_factory.mktemp("told"), clock) as factory:
        verbs = factory.rollouts
        verbs.start(guarded())
        verbs.ready("fraud-2")
        for look in range(40):
            clock.tick(16)
            verbs.look("fraud-2", evidence(clock(), 50 * look, look, 0.05))
        verbs.pause("fraud-2", "<lunch>")
        clock.tick(100)
        verbs.resume("fraud-2")
        for errors in (0, 2, 60):
            clock.tick()
            verbs.look("fraud-2", evidence(clock(), 100, errors))
        return report_of(verbs, "fraud-2", END)


def test_a_report_says_all_that_is_known(told):
    assert told.sentence.startswith("rolled back: back to 1.0.0: the new version fails")
    assert [one.phase.value for one in told.events][:3] == ["waiting", "running", "running"]
    assert any("paused by ana: <lunch>" in one.sentence for one in told.events)
    assert told.looks[-1].outcome is Outcome.ROLL_BACK
    assert {look.step for look in told.looks} == {0, 1}
    assert "latency_p99_ms was not measured at any look" in told.missing
    assert "step 1 of 3: 5 % of the traffic, for 10 min at least" in told.plan
    assert "guardrail: latency_p99_ms, lower is better; 20 % worse allowed" in told.plan
    # two metrics in two steps; a pause begins nothing anew
    assert told.risk.each == pytest.approx(0.01 / 2 / 2)
    assert told.risk.spent == pytest.approx(2 * 2 * told.risk.each)


def test_a_page_needs_nothing_else_and_shows_no_text_as_markup(told):
    text = html(told)
    whole = re.sub(r"<meta[^>]*>|<!doctype html>", "", text).replace("&nbsp;", " ")
    root = ET.fromstring(whole)
    assert {one.tag for one in root.iter()}.isdisjoint({"script", "link", "img", "iframe"})
    assert not re.search(r"(src|href|url)\s*[=(]", text)
    assert "&lt;lunch&gt;" in text
    figures = {one.get("id"): one for one in root.iter("figure")}
    assert list(figures) == ["shares", "plot-error-rate"]
    classes = [one.get("class") for one in figures["plot-error-rate"].iter("path")]
    assert {"band", "curve c0", "limit", "zero", "step"} <= set(classes)
    assert classes.count("step") == 1


def test_a_picture_is_as_high_as_its_later_half(told):
    (drawn,) = pictures(told)[1:]
    for path in re.findall(r' d="([^"]+)"', drawn.svg):
        for number in re.findall(r"[ML][\d.]+ ([\d.]+)", path):
            assert 0 <= float(number) <= HEIGHT
    assert "points worse" in drawn.svg
    assert "nan" not in drawn.svg
    assert "inf" not in drawn.svg


def test_what_is_allowed_moves_with_the_stable_figure():
    moving = [Band(float(x), 0.0, -1.0, 1.0, 2.0 - x / 10) for x in range(10)]
    (path,) = re.findall(r'class="limit" d="([^"]+)"', band("i", "t", "ms", moving, [], 9.0).svg)
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    assert heights == sorted(heights)
    assert heights[0] < heights[-1]


def test_a_line_is_broken_where_evidence_begins_anew_or_nothing_is_known():
    points = [Band(float(x), 0.0, -1.0, None if x % 2 else 1.0, 1.0) for x in range(6)]
    points[4] = Band(4.0, 0.0, None, None, 1.0)
    svg = band("i", "t", "ms", points, [2.0], 6.0).svg
    assert svg.count('class="band"') == 3
    assert svg.count('class="step"') == 1


def test_a_report_before_anything_began(factory):
    factory.rollouts.start(plan())
    told = report_of(factory.rollouts, "fraud-2", END)
    assert told.missing == ("nothing was judged: no look was taken",)
    assert pictures(told) == []
    assert "nothing was judged" in html(told)


def test_what_a_person_promoted_is_not_said_to_be_proved(running, clock):
    clock.tick()
    running.look("fraud-2", evidence(clock(), 10))
    running.promote("fraud-2", "I know")
    missing = report_of(running, "fraud-2", END).missing
    assert "that it is no worse: a person promoted it, or time was up" in missing


def test_copies_and_their_worst_examples_are_shown(running):
    silent = [False, False, False, True]
    ids, stable, other = ["a", "b", "<c>", "d"], ["0", "1", "1", "1"], ["0", "1", "0", "1"]
    pairs = Copied(tally(Pairs(Form.LABELS, ids, stable, other, np.array(silent))))
    kept = replace(running.get("fraud-2"), copies=documents(plan(), {"2.0.0": pairs}))
    told = told_of(kept, [], [], END)
    assert told.kept.copies == {}
    assert "tally" not in told.copies["2.0.0"]
    assert codec.decode(Told, codec.encode(told)) == told
    text = html(told)
    assert "4 pairs, 50 % agree" in text
    assert "copies without an answer: 1" in text
    assert "<td>&lt;c&gt;</td><td>1</td>" in text
    assert "<td>d</td><td>no answer</td>" in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.5, "0.5 s"),
        (90, "90 s"),
        (120, "2 min"),
        (600, "10 min"),
        (5400, "90 min"),
        (86_400, "1 d"),
    ],
)
def test_spans(seconds, said):
    assert span(seconds) == said


def test_figures_in_their_metrics_unit():
    slow = Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER)
    assert value(ERRORS, 0.0234) == "2.34 %"
    assert between(ERRORS, -0.002, 0.016) == "-0.2 to +1.6 points"
    assert between(slow, None, 12.5) == "? to +12.5 ms"
    assert apart(None, 0.0) == "0"
    assert value(None, float("inf")) == "inf"
