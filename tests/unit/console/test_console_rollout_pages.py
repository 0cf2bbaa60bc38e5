"""The pages of roll-outs over a real registry: what they show, and which buttons they have."""

import re

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modelworks.console.pages import install
from modelworks.console.rollouts import acts
from modelworks.control.endpoints import Watch
from modelworks.control.rollouts.kept import Kept
from modelworks.control.service import Factory
from modelworks.core.rollouts import (
    ArmEvidence,
    Direction,
    Evidence,
    Kind,
    Metric,
    Phase,
    Plan,
    Rollout,
    Step,
    Strategy,
    Sums,
)
from modelworks.core.semver import Semver
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit
EVIL = "<script>alert(1)</script>"
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)
PLAN = Plan(
    *("fraud-2", "fraud", "1.0.0", ("2.0.0",)),
    *(Strategy.CANARY, (Step(0.2), Step(1.0)), ERRORS),
)


@pytest.fixture
def factory(home, tmp_path):
    with Factory(home, actor="ana") as factory:
        for version in ("1.0.0", "2.0.0"):
            made = candidate(tmp_path / version, version.encode(), version=Semver.parse(version))
            factory.publish(made)
        factory.set_alias("fraud", "champion", "1.0.0")
        yield factory


@pytest.fixture
def ask(factory):
    app = FastAPI()
    watch = Watch(factory.home)
    install(app, factory, watch, factory.watching)
    client = TestClient(app, "http://here")
    yield client.get
    watch.close()


def look(factory, requests, errors):
    kept = factory.rollouts.get("fraud-2")
    arms = tuple(
        ArmEvidence(arm, requests, metrics={"error_rate": Sums(count=requests, total=wrong)})
        for arm, wrong in (("1.0.0", 0), ("2.0.0", errors))
    )
    now = kept.rollout.step_ns + requests
    return factory.rollouts.look("fraud-2", Evidence(now, arms, kept.shares))


def plain(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert "<style" not in answer.text
    assert not re.search(r'\sstyle="|<script>|\son\w+=', answer.text)
    return answer.text


def test_nothing_was_rolled_out_yet(ask):
    assert "modelworks rollout start" in plain(ask("/console/rollouts"))
    answer = ask("/console/rollouts/nobody")
    assert (answer.status_code, "no roll-out &#39;nobody&#39;" in answer.text) == (404, True)
    assert ask("/console/rollouts/nobody/report").status_code == 404


def test_one_has_findings_pictures_buttons_and_what_happened(factory, ask):
    factory.rollouts.start(PLAN)
    waiting = plain(ask("/console/rollouts/fraud-2"))
    assert "Nothing was judged yet" in waiting
    assert "<svg" not in waiting
    factory.rollouts.ready("fraud-2")
    look(factory, 10, 0)
    factory.rollouts.pause("fraud-2", EVIL)
    listed = plain(ask("/console/rollouts"))
    assert 'href="/console/rollouts/fraud-2"' in listed
    assert "1.0.0 80 %, 2.0.0 20 %" in listed
    assert EVIL not in listed
    text = plain(ask("/console/rollouts/fraud-2/live"))
    assert re.findall(r'data-verb="(\w+)"', text) == ["resume", "promote", "abort"]
    assert 'data-arm="2.0.0"' in text
    assert re.search(r'<svg[^>]*aria-label="error_rate: 0 points worse', text)
    assert "5 points" in text
    assert "&lt;script&gt;" in text
    report = ask("/console/rollouts/fraud-2/report")
    assert report.headers["content-disposition"] == "attachment"
    assert EVIL not in report.text


def test_one_that_ended_has_no_buttons(factory, ask):
    factory.rollouts.start(PLAN)
    factory.rollouts.ready("fraud-2")
    assert look(factory, 100, 80).rollout.phase is Phase.ROLLED_BACK
    text = plain(ask("/console/rollouts/fraud-2"))
    assert "data-verb" not in text
    assert '<span class="verdict failed" id="phase">rolled back</span>' in text
    assert '<span class="verdict failed">harmed</span>' in text


@pytest.mark.parametrize(
    ("phase", "verbs"),
    [
        (Phase.WAITING, ["pause", "abort"]),
        (Phase.RUNNING, ["pause", "promote", "abort"]),
        (Phase.PAUSED, ["resume", "promote", "abort"]),
        (Phase.INCONCLUSIVE, ["promote", "abort"]),
        (Phase.ABORTED, []),
    ],
)
def test_only_what_may_follow_has_a_button(phase, verbs):
    assert [one["verb"] for one in acts(Kept(Rollout(PLAN, phase)))] == verbs
