"""The console's sign-in in Chromium, over HTTP and HTTPS: what a person does, and what is kept."""

import json
import os
import signal
import subprocess
import sys

import pytest

from browsers import chromium
from certificates import Authority
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role

pytestmark = pytest.mark.real
COLLECT = "fetch('/api/v1/collect', {method: 'POST'}).then((answer) => answer.status)"


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def tls(request, tmp_path):
    if request.param == "http":
        return []
    pair = Authority(tmp_path / "authority").pair("server")
    return ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]


@pytest.fixture
def url(home, tmp_path, tls):
    """Of a control plane that asks for keys."""
    command = [sys.executable, "-m", "modelworks.cli.main", "up", "--json", "--port", "0"]
    command += ["--control-port", "0", "--keys", str(tmp_path / "keys"), *tls]
    KeyFile(tmp_path / "keys").add("nobody", Role.PREDICT)
    environ = {**os.environ, "MODELWORKS_HOME": str(home.root)}
    up = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        yield json.loads(up.stdout.readline())["control"]
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
    finally:
        up.kill()
        up.communicate(timeout=30)


@pytest.mark.parametrize("tls", ["http", "https"], indirect=True)
def test_signing_in_and_out(browser, url, tmp_path):
    file = KeyFile(tmp_path / "keys")
    ana, ops = file.add("ana", Role.READ), file.add("ops", Role.ADMIN)
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(url)
    assert page.url == f"{url}/console/login"
    page.fill("#key", "wrong")
    page.click("button")
    assert "not known" in page.inner_text("[role=alert]")
    page.wait_for_timeout(1500)  # until both keys count
    page.fill("#key", ana)
    page.click("button")
    page.wait_for_url(f"{url}/")
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert cookie["secure"] is url.startswith("https")
    assert ana not in cookie["value"]
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate(COLLECT) == 403
    page.wait_for_selector("#endpoints .dot.good")  # refreshed, and the server is seen
    file.revoke("ana")
    page.wait_for_url("**/console/login")  # the page itself finds out
    page.fill("#key", ops)
    page.click("button")
    page.wait_for_url(f"{url}/")
    assert page.evaluate(COLLECT) == 403  # whatever the key's role: a session looks
    page.click("text=Sign out")
    page.wait_for_url("**/console/login")
    assert context.cookies() == []
    context.close()


@pytest.mark.parametrize("tls", ["http"], indirect=True)
def test_another_sites_page_gets_nothing(browser, url, tmp_path):
    """It may send a form here, and the browser does not bring the session with it."""
    ana = KeyFile(tmp_path / "keys").add("ana", Role.ADMIN)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/console/login")
    page.wait_for_timeout(1500)
    page.fill("#key", ana)
    page.click("button")
    page.wait_for_url(f"{url}/")
    form = f'<form method="post" action="{url}/api/v1/collect"><button>go</button></form>'
    page.route(
        "http://evil.test/", lambda route: route.fulfill(body=form, content_type="text/html")
    )
    page.goto("http://evil.test/")
    with page.expect_response(f"{url}/api/v1/collect") as found:
        page.click("button")
    assert found.value.status == 403
    assert "cookie" not in found.value.request.all_headers()
    context.close()
