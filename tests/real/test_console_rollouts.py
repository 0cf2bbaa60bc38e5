"""Roll-outs in Chromium, as a person stops and promotes them: confirmation, reason, key."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from browsers import chromium
from modelworks.control.service import Factory
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from modelworks.core.rollouts import (
    ArmEvidence,
    Direction,
    Evidence,
    Kind,
    Metric,
    Plan,
    Step,
    Strategy,
    Sums,
)
from modelworks.core.semver import Semver
from modelworks.testing.candidates import candidate

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser):
    """A page that fails the test where it asks anybody else, or breaks its own rules."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    yield page
    context.close()


def look(verbs, requests, errors=0):
    """A look at which both arms have been asked as often; errors are the candidate's."""
    kept = verbs.get("fraud-2")
    arms = tuple(
        ArmEvidence(arm, requests, metrics={"error_rate": Sums(count=requests, total=wrong)})
        for arm, wrong in (("1.0.0", 0), ("2.0.0", errors))
    )
    verbs.look("fraud-2", Evidence(kept.rollout.step_ns + requests, arms, kept.shares))


@pytest.fixture
def running(home, tmp_path):
    """A roll-out that runs."""
    with Factory(home, actor="ana") as factory:
        for version in ("1.0.0", "2.0.0"):
            made = candidate(tmp_path / version, version.encode(), version=Semver.parse(version))
            factory.publish(made)
        factory.set_alias("fraud", "champion", "1.0.0")
        steps = (Step(0.5, bake_s=600.0), Step(1.0))
        plan = Plan("fraud-2", "fraud", "1.0.0", ("2.0.0",), Strategy.CANARY, steps, ERRORS)
        factory.rollouts.start(plan)
        factory.rollouts.ready("fraud-2")
        look(factory.rollouts, 10)
        yield factory


@contextmanager
def control(home, folder, *more):
    """A control plane; its URL."""
    said = folder / "said"
    command = [sys.executable, "-m", "modelworks.apps.control", "--home", str(home.root)]
    command += ["--port", "0", "--announce", str(said), *more]
    process = subprocess.Popen(command, env={**os.environ, "MODELWORKS_HOME": str(home.root)})
    try:
        while not said.exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield json.loads(said.read_text())["url"]
    finally:
        process.kill()
        process.wait(30)


def test_a_person_watches_pauses_resumes_and_aborts(page, running, home, tmp_path):
    with control(home, tmp_path) as url:
        page.goto(f"{url}/")
        page.click("nav >> text=Roll-outs")
        page.click("#rollouts >> text=fraud-2")
        page.wait_for_url(f"{url}/console/rollouts/fraud-2")
        assert page.inner_text("#phase") == "running"
        # the picture is drawn in our own colours, and goes on as looks come
        box = page.locator("#plot-error-rate .limit").bounding_box()
        assert box["width"] > 200
        fill = "(e) => getComputedStyle(e).fill"
        assert page.eval_on_selector("#plot-error-rate .band", fill) not in {"none", "rgb(0, 0, 0)"}
        look(running.rollouts, 400)
        page.wait_for_selector("#live >> text=400 requests in this step")

        page.click("text=Pause")
        assert page.inner_text("#act-title") == "Pause?"
        page.click("text=Cancel")
        assert page.inner_text("#phase") == "running"
        page.click("text=Pause")
        page.fill("#act-reason", "<b>lunch</b>")
        page.keyboard.press("Enter")
        page.wait_for_selector("#phase >> text=paused")
        assert page.inner_text("#why").endswith(": <b>lunch</b>")

        page.click("#live button >> text=Resume")
        assert not page.is_visible("#act-reason")
        page.click("#act-do")
        page.wait_for_selector("#phase >> text=running")

        page.click("#live button >> text=Abort")
        running.rollouts.abort("fraud-2", "somebody was quicker")
        page.click("#act-do")
        page.wait_for_selector("#act-said >> text=it cannot become aborted")
        page.click("text=Cancel")
        page.wait_for_selector("#phase >> text=aborted")
        assert page.locator("[data-verb]").count() == 0
        with page.expect_download() as kept:
            page.click("text=Report")
        report = kept.value.path().read_text()
        assert "somebody was quicker" in report
        assert {asked.startswith(url) for asked in page.asked} == {True}
        assert [words for words in page.wrong if "409" not in words] == []


def test_a_session_only_looks_and_a_key_acts_in_its_name(page, running, home, tmp_path):
    keys = {
        role: KeyFile(tmp_path / "keys").add(name, role)
        for name, role in (("mia", Role.ADMIN), ("leo", Role.READ))
    }
    with control(home, tmp_path, "--keys", str(tmp_path / "keys")) as url:
        page.goto(url)
        page.fill("#key", keys[Role.READ])
        page.click("main button")
        page.wait_for_selector("nav")
        page.goto(f"{url}/console/rollouts/fraud-2")
        page.click("#live button >> text=Promote 2.0.0")
        page.click("#act-do")  # without a key the form is not sent
        assert page.evaluate("document.activeElement.id") == "act-key"
        page.fill("#act-key", keys[Role.READ])
        page.click("#act-do")
        page.wait_for_selector("#act-said >> text=admin")
        page.fill("#act-key", keys[Role.ADMIN])
        page.fill("#act-reason", "I know better")
        page.click("#act-do")
        page.wait_for_selector("#phase >> text=promoted")
        assert page.input_value("#act-key") == ""
        last = running.rollouts.history("fraud-2")[-1]
        assert last.actor == "mia"
        assert last.sentence == "2.0.0 promoted by mia, unproved: I know better"
