"""The watch's pages in Chromium, as a person uses them: mouse, keyboard, a server that ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import watched_models
from browsers import chromium
from modelworks.control.service import Factory
from modelworks.testing.candidates import candidate

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def up(home, tmp_path):
    """A control plane over what was watched; its process, and its URL."""
    with Factory(home) as factory:
        factory.publish(candidate(tmp_path / "work", b"model", "fraud"))
        watched_models.fill(factory)
    command = [sys.executable, "-m", "modelworks.apps.control", "--home", str(home.root)]
    command += ["--port", "0", "--announce", str(tmp_path / "said")]
    process = subprocess.Popen(command, env={**os.environ, "MODELWORKS_HOME": str(home.root)})
    try:
        while not (tmp_path / "said").exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield process, json.loads((tmp_path / "said").read_text())["url"]
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def page(browser):
    """A page that fails the test where it asks anybody else, or breaks its own rules."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    yield page
    context.close()


def test_from_an_alarm_to_the_feature_that_moved(page, up):
    _, url = up
    page.goto(f"{url}/")
    page.click("nav >> text=Watch")
    page.wait_for_url(f"{url}/console/watch")
    assert page.inner_text("#alerts tbody tr:first-child").startswith("firing")
    page.click("#watched >> text=fraud")
    page.wait_for_url(f"{url}/console/watch/fraud")
    page.click("text=6 hours")
    page.wait_for_url("**/fraud?since=6h")
    assert page.inner_text("#moved tbody tr:first-child th") == "age"
    box = page.locator("#plot-latency-99th-percentile .curve").bounding_box()
    assert box["width"] > 200
    assert box["height"] > 5
    colour = "(e) => getComputedStyle(e).stroke"
    assert page.eval_on_selector(".curve.c0", colour) not in {"none", ""}
    assert {asked.startswith(url) for asked in page.asked} == {True}
    assert page.wrong == []


def test_a_keyboard_is_enough_and_a_refresh_takes_nothing_away(page, up):
    _, url = up
    page.goto(f"{url}/console/watch")
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
        if seen[-1] == "fraud":
            break
    assert {"Models", "Watch", "hour", "week", "runbook", "fraud"} <= set(seen)
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    with page.expect_response("**/console/watch-live?since=1h"):
        pass  # the page refreshes itself
    page.wait_for_function("document.activeElement.textContent === 'fraud'")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/console/watch/fraud")
    page.focus("#plot-requests-figures summary")
    page.keyboard.press("Enter")
    assert page.is_visible("#plot-requests-figures table")
    page.evaluate("document.activeElement.blur()")
    with page.expect_response("**/console/watch/fraud/live?since=1h"):
        pass
    page.wait_for_timeout(300)
    assert page.is_visible("#plot-requests-figures table")
    assert page.wrong == []


def test_a_screen_reader_is_told_what_the_pictures_show(page, up):
    _, url = up
    page.goto(f"{url}/console/watch/fraud?since=6h")
    told = page.locator("body").aria_snapshot()
    assert re.search(r'navigation "Pages"', told)
    assert re.search(r'group "How far back"', told)
    assert re.search(r'img "Latency, 99th percentile\. Last value', told)
    assert re.search(r'row "1 age 1\.0\.0 ', told)
    for column in ("Estimated loss", "Who is told", "Quality"):
        assert f'columnheader "{column}"' in told
    assert page.locator("svg:not([role=img])").count() == 0


def test_a_server_that_goes_away_leaves_what_was_there_and_says_so(page, up):
    process, url = up
    page.goto(f"{url}/console/watch")
    assert page.inner_text("#state") == "live"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    page.wait_for_selector("#state.stale")
    assert page.inner_text("#state") == "no answer, trying again"
    assert page.is_visible("#watched >> text=fraud")
    assert page.eval_on_selector("#live", "(e) => e.classList.contains('stale')")
