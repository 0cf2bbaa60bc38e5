"""Which servers run: entries of the living only, whatever lies in the folder."""

import json
import os
import subprocess
import sys

import pytest

from modelworks.client import endpoints
from modelworks.core.home import Home

pytestmark = pytest.mark.unit


def test_an_entry_is_listed_while_its_process_lives(home: Home):
    path = endpoints.register(home, "fraud", "http://127.0.0.1:1", "serve", ("fraud@champion",))
    (found,) = endpoints.listed(home)
    assert (found.name, found.pid, found.models) == ("fraud", os.getpid(), ("fraud@champion",))
    path.unlink()
    assert endpoints.listed(home) == []


def test_entries_of_the_dead_are_taken_away(home: Home):
    path = endpoints.register(home, "x", "http://127.0.0.1:1", "serve", ())
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    data = json.loads(path.read_text()) | {"pid": process.pid}
    path.write_text(json.dumps(data))
    assert endpoints.listed(home) == []
    assert not path.exists()


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert endpoints.alive(process.pid) is False
    process.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"name": "a"}', "\udcff"])
def test_foreign_files_are_passed_over(home: Home, text: str):
    folder = home.run / "endpoints"
    folder.mkdir()
    (folder / "1.json").write_bytes(text.encode(errors="surrogateescape"))
    assert endpoints.listed(home) == []
    assert (folder / "1.json").exists()


def test_no_folder_is_no_server(tmp_path):
    assert endpoints.listed(Home(tmp_path / "nothing")) == []
