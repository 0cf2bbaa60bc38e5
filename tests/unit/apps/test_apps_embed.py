"""Settings, back-off and children: what the composition roots decide."""

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelworks
from modelworks.apps.children import Child, free
from modelworks.apps.embed import DEFAULT_SERVER, Settings, connect
from modelworks.apps.up import FIRST_WAIT, LONGEST_WAIT, wait_before
from modelworks.client.http import HttpTransport
from modelworks.control.service import Factory
from modelworks.core.errors import (
    ConflictError,
    CrashedError,
    DeadlineError,
    InvalidError,
    UnavailableError,
)
from modelworks.core.home import Home

pytestmark = pytest.mark.unit


def test_settings_without_an_environment():
    found = Settings.read({})
    assert found == Settings(Home(Path.home() / ".modelworks"), "", DEFAULT_SERVER)


def test_settings_from_the_environment():
    found = Settings.read(
        {"MODELWORKS_HOME": "~/x", "MODELWORKS_URL": "http://u", "MODELWORKS_SERVER": "http://s"}
    )
    assert found == Settings(Home(Path.home() / "x"), "http://u", "http://s")
    assert Settings.read({"MODELWORKS_HOME": "", "MODELWORKS_SERVER": ""}) == Settings.read({})


def test_a_url_means_http_and_none_means_here(home):
    remote = connect(Settings(home, "http://127.0.0.1:9"))
    assert isinstance(remote, HttpTransport)
    here = connect(Settings(home))
    assert isinstance(here, Factory)
    here.close()


def test_a_home_given_to_the_client_wins_over_the_environments_url(home, monkeypatch):
    monkeypatch.setenv("MODELWORKS_URL", "http://127.0.0.1:9")
    with modelworks.Client(home=home.root) as client:
        assert client.models() == []
    with modelworks.Client() as client, pytest.raises(UnavailableError):
        client.models()


def test_a_client_for_predictions_opens_no_registry(tmp_path):
    with modelworks.Client(home=tmp_path / "never", server="http://127.0.0.1:9") as client:
        assert client.data.ready() is False
    assert not (tmp_path / "never").exists()


@given(st.integers(0, 10_000))
def test_waits_grow_and_are_bounded(failures):
    assert 0 <= wait_before(failures) <= wait_before(failures + 1) <= LONGEST_WAIT
    assert wait_before(0) == 0
    assert wait_before(1) == FIRST_WAIT


def test_a_taken_port_and_a_foreign_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ConflictError) as caught:
            free("127.0.0.1", taken.getsockname()[1])
        assert caught.value.field == "port"
    free("127.0.0.1", 0)
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(InvalidError) as wrong:
            free(host, 0)
        assert wrong.value.field == "host"


def _module(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> str:
    (folder / "acting.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "acting"


ANNOUNCE = "import json, pathlib, signal, sys, time\nfile = pathlib.Path(sys.argv[-1])\n"
READY = "file.write_text(json.dumps({'url': 'http://127.0.0.1:5', 'port': 5}))\n"


def test_a_child_is_ready_when_it_says_so(tmp_path, monkeypatch, capfd):
    code = ANNOUNCE + "print('early', flush=True)\n" + READY + "time.sleep(60)"
    child = Child("part", _module(tmp_path, monkeypatch, code), [])
    try:
        assert child.wait_ready(30).port == 5
        assert child.code() is None
    finally:
        assert child.stop(10) == -15
    assert child.drained
    assert "early" in capfd.readouterr().err


def test_a_child_that_will_not_drain_is_killed(tmp_path, monkeypatch):
    code = ANNOUNCE + "signal.signal(15, signal.SIG_IGN)\n" + READY + "time.sleep(60)"
    child = Child("part", _module(tmp_path, monkeypatch, code), [], tmp_path / "log")
    child.wait_ready(30)
    assert child.stop(0.2) == -9
    assert child.stop() == -9


@pytest.mark.parametrize(
    ("code", "kind"), [(1, CrashedError), (2, InvalidError), (4, InvalidError), (6, ConflictError)]
)
@pytest.mark.parametrize("logged", [True, False])
def test_a_child_that_fails_leaves_its_last_words(tmp_path, monkeypatch, code, kind, logged):
    words = "2026-11-21 23:31:57,310 ERROR 16986 modelworks.server the list is torn"
    script = f"import sys\nprint({words!r}, file=sys.stderr)\nsys.exit({code})"
    log = tmp_path / "log" if logged else None
    child = Child("part", _module(tmp_path, monkeypatch, script), [], log)
    with pytest.raises(kind) as caught:
        child.wait_ready(30)
    child.stop()
    assert type(caught.value) is kind
    assert caught.value.message.endswith(f"(exit code {code}): the list is torn")


def test_a_child_that_never_says_anything(tmp_path, monkeypatch):
    child = Child("part", _module(tmp_path, monkeypatch, "import time\ntime.sleep(60)"), [])
    try:
        with pytest.raises(DeadlineError, match=r"0\.3 s"):
            child.wait_ready(0.3)
    finally:
        child.stop()
