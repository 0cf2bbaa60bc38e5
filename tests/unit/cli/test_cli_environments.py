"""`modelworks environments`, as it is typed."""

import json

import pytest

from modelworks.cli.exits import Exit
from modelworks.ext.importers.keras import pins
from modelworks.sandbox import environments

pytestmark = pytest.mark.unit


@pytest.fixture
def made(home):
    """An environment as `make` leaves it, without its libraries."""
    folder = home.environments / environments.name_of(("tiny==1.0",))
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    marker = {
        "name": folder.name, "requirements": ["tiny==1.0"], "python": "3.11.7",
        "made_ns": 1, "size_bytes": 2_500_000, "folder": str(folder),
    }  # fmt: skip
    (folder / "modelworks-environment.json").write_text(json.dumps(marker))
    return folder


def test_list(type_, made):
    shown = type_("environments", "list")
    assert shown.code == Exit.OK
    assert made.name[:12] in shown.out
    assert "2.5 MB" in shown.out
    assert "tiny==1.0" in shown.out
    (one,) = type_("environments", "list", "--json").json
    assert one["folder"] == str(made)


def test_list_of_none(type_):
    shown = type_("environments", "list")
    assert (shown.code, shown.out) == (Exit.OK, "")
    assert "no environment was made yet" in shown.err
    assert type_("environments", "list", "--json").json == []


def test_remove(type_, made):
    assert type_("environments", "remove", "12345678").code == Exit.NOT_FOUND
    assert type_("environments", "remove").code == Exit.USAGE
    done = type_("environments", "remove", made.name[:8])
    assert (done.code, done.out) == (Exit.OK, f"removed {made.name}, 2.5 MB\n")
    assert not made.exists()
    assert type_("environments", "remove", "--all", "--json").json == []


def test_make_prints_what_a_machine_without_a_network_wants(type_):
    lines = type_("environments", "make", "keras", "--print").out.splitlines()
    assert set(lines) == set(pins.requirements()) - {environments.WHOLE}
    assert type_("environments", "make", "keras", "--print", "--json").json == lines


def test_make_refuses_what_it_cannot_do(type_, tmp_path):
    assert type_("environments", "make").code == Exit.USAGE
    assert "pins no environment" in type_("environments", "make", "onnx").err
    assert type_("environments", "make", "absent").code == Exit.NOT_FOUND
    assert type_("environments", "make", "keras", "--wheels", "absent").code == Exit.NOT_FOUND
    file = tmp_path / "requirements.txt"
    file.write_text("-r other.txt\n")
    refused = type_("environments", "make", "--requirements", str(file))
    assert refused.code == Exit.INVALID
    assert "is no requirement" in refused.err


def test_make_finds_what_is_there(type_, made, tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("# mine\ntiny==1.0\n")
    done = type_("environments", "make", "--requirements", str(file))
    assert (done.code, done.out) == (Exit.OK, f"{made.name}\n")
