"""`doctor` and the documentation say what is true."""

import socket
import stat
from pathlib import Path

import pytest

from modelworks.cli import checks
from modelworks.cli.exits import Exit
from modelworks.cli.main import COMMANDS
from modelworks.client import endpoints
from modelworks.core.home import Home, Stores

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]


def test_nothing_needed_is_broken_here(type_, home, monkeypatch):
    found = checks.everything(home, Stores())
    monkeypatch.setattr(checks, "everything", lambda *_: found)
    done = type_("doctor")
    assert done.code == Exit.OK
    assert "all that is needed works" in done.out
    for subject in ("python", "base", "extra platform", "importer onnx", "engine onnxruntime"):
        assert subject in done.out
    told = type_("doctor", "--json").json
    assert told["ok"] is True
    assert {f["state"] for f in told["findings"]} <= {"ok", "note"}
    assert "sandbox" in [f["subject"] for f in told["findings"]]


def test_what_is_broken_ends_with_1_and_a_cure(type_, monkeypatch):
    broken = [checks.Finding("home", checks.State.BROKEN, "cannot be written", "choose another")]
    monkeypatch.setattr(checks, "everything", lambda *_: broken)
    done = type_("doctor")
    assert done.code == Exit.FAILURE
    assert "-> choose another" in done.out
    assert type_("doctor", "--json").json["ok"] is False


def test_a_missing_library_names_its_extra(monkeypatch):
    real = checks._version
    monkeypatch.setattr(checks, "_version", lambda name: None if name == "skops" else real(name))
    found = {f.subject: f for f in checks.extras()}
    assert found["extra sklearn"].state is checks.State.NOTE
    assert found["extra sklearn"].cure == 'pip install "modelworks[sklearn]"'
    assert found["extra platform"].state is checks.State.OK
    importers = {f.subject: f for f in checks.plugins()}
    assert importers["importer sklearn"].state is checks.State.NOTE
    assert importers["importer onnx"].state is checks.State.OK


def test_a_base_library_that_does_not_load_is_broken(monkeypatch):
    monkeypatch.setattr(checks, "_needs", lambda: {"": ["numpy", "no-such-library"]})
    states = [f.state for f in checks.base()]
    assert states == [checks.State.OK, checks.State.BROKEN]


def test_folders(home: Home, tmp_path, monkeypatch):
    assert checks.folder(home)[0].state is checks.State.OK
    assert "not made yet" in checks.folder(Home(tmp_path / "a" / "b"))[0].detail
    file = tmp_path / "file"
    file.write_text("")
    assert checks.folder(Home(file))[0].state is checks.State.BROKEN
    monkeypatch.setattr(checks, "ROOM_BYTES", 10**18)
    assert checks.folder(home)[0].state is checks.State.NOTE
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_running_servers_and_ports(home: Home):
    path = endpoints.register(home, "fraud", "http://127.0.0.1:1", "serve", ("fraud",))
    subjects = [f.subject for f in checks.ports(home)]
    assert subjects[:2] == ["port 8000", "port 8080"]
    assert "running fraud" in subjects
    path.unlink()


def test_a_taken_port_is_a_note(home: Home, monkeypatch):
    class Taken(socket.socket):
        def bind(self, address: object, /) -> None:
            raise OSError(98, "Address already in use")

    monkeypatch.setattr(socket, "socket", Taken)
    found = checks.ports(home)[0]
    assert (found.state, found.cure) == (checks.State.NOTE, "choose another with --port")


def test_the_documentation_lists_every_exit_code_and_variable():
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    for code in Exit:
        assert str(int(code)) in text
    for name in ("MODELWORKS_HOME", "MODELWORKS_URL", "MODELWORKS_SERVER", "MODELWORKS_DEBUG"):
        assert name in text


def test_the_documentation_names_every_command():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    missing = [name for name in COMMANDS if f"modelworks {name}" not in text]
    assert missing == []
