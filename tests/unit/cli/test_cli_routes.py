"""`modelworks routes`: looked at, moved, opened and closed; a file is replaced whole or not."""

import json

import pytest

from modelworks.cli import main
from modelworks.core.codec import encode
from modelworks.core.routes import Arm, Route, Snapshot
from modelworks.protocol.routes import spans
from modelworks.protocol.routes.access import Access
from modelworks.protocol.routes.reading import read_snapshot

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "routes.json"
    arms = (Arm("fraud/1"), Arm("fraud/2"))
    route = Route("fraud", arms, spans((), {"fraud/1": 1.0}), model="fraud")
    path.write_text(json.dumps(encode(Snapshot(3, (route,)))))
    return path


@pytest.fixture
def run(capsys):
    def called(*arguments):
        code = main.main(["routes", *map(str, arguments)])
        caught = capsys.readouterr()
        return code, caught.out, caught.err

    return called


def told(answer):
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def test_check(run, file):
    assert told(run("check", file, "--json")) == {
        "generation": 3,
        "arms": [
            {"route": "fraud", "model": "fraud", "arm": "fraud/1", "share": 1.0, "copies": 0.0},
            {"route": "fraud", "model": "fraud", "arm": "fraud/2", "share": 0.0, "copies": 0.0},
        ],
        "keys": [],
    }
    code, out, _ = run("check", file)
    assert code == 0
    assert "100.00%" in out
    file.write_text('{"generation": 1, "routes": [{}]}')
    code, _, err = run("check", file)
    assert code != 0
    assert "routes[0].name: missing" in err
    assert run("check", file.with_name("none"))[0] != 0


def test_share_moves_what_it_must(run, file):
    first = told(run("share", file, "fraud", "fraud/1=0.95", "fraud/2=0.05", "--json"))
    assert first == {"route": "fraud", "moved": pytest.approx(0.05), "generation": 4}
    second = told(run("share", file, "fraud", "fraud/1=.9", "fraud/2=.1", "--json"))
    assert second["moved"] == pytest.approx(0.05)
    assert len(read_snapshot(file.read_bytes()).routes[0].spans) == 2
    before = file.read_bytes()
    for wrong in (
        ("fraud", "fraud/1=0.9"),
        ("other", "fraud/1=1"),
        ("fraud", "fraud/1"),
        ("fraud", "fraud/1=x"),
        ("fraud", "fraud/1=0.5", "fraud/9=0.5"),
    ):
        assert run("share", file, *wrong)[0] != 0
    assert file.read_bytes() == before


def test_keys_come_and_go(run, file):
    made = told(run("key", file, "shop", "--model", "fr*", "--rate", "5", "--days", "1", "--json"))
    told(run("key", file, "ana", "--json"))
    assert made["key"] not in file.read_text()
    access = Access(read_snapshot(file.read_bytes()))
    caller = access.who(f"Bearer {made['key']}".encode())
    assert (caller.name, caller.models, caller.meter is not None) == ("shop", ("fr*",), True)
    assert caller.until_ns
    code, _, err = run("key", file, "shop")
    assert code != 0
    assert "revoke it first" in err
    assert told(run("check", file, "--json"))["keys"] == ["ana", "shop"]
    told(run("revoke", file, "shop", "--json"))
    assert run("revoke", file, "shop")[0] != 0
    code, _, err = run("revoke", file, "ana")  # it would open the routes to everybody
    assert code != 0
    assert "last key" in err
    assert told(run("check", file, "--json"))["keys"] == ["ana"]
