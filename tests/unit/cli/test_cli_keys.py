"""`modelworks keys`, as it is typed."""

import pytest

from modelworks.cli.exits import Exit
from modelworks.core.key_file import parse_file

pytestmark = pytest.mark.unit


def test_add_list_revoke(type_, home):
    shown = type_("keys", "add", "shop")
    assert shown.code == Exit.OK
    key = shown.out.strip()
    assert key.startswith("mw_")
    assert key not in shown.err
    path = home.root / "keys"
    assert parse_file(path).find(b"Bearer " + key.encode()).name == "shop"
    made = type_("keys", "add", "ana", "--role", "admin", "--json").json
    assert (made["name"], made["role"], made["file"]) == ("ana", "admin", str(path))
    listed = type_("keys", "list").out
    assert "shop" in listed
    assert key not in listed
    assert [one["role"] for one in type_("keys", "list", "--json").json] == ["predict", "admin"]
    assert type_("keys", "revoke", "shop").code == Exit.OK
    assert [one["name"] for one in type_("keys", "list", "--json").json] == ["ana"]


def test_another_file(type_, tmp_path, home):
    path = tmp_path / "x" / "keys"
    assert type_("keys", "add", "shop", "--file", str(path)).code == Exit.OK
    assert path.exists()
    assert not (home.root / "keys").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["add", "a b"], Exit.INVALID, "letters, digits"),
        (["add", "shop", "--role", "root"], Exit.USAGE, "predict"),
        (["list"], Exit.NOT_FOUND, "modelworks keys add"),
        (["revoke", "shop"], Exit.NOT_FOUND, "no key file"),
    ],
)
def test_what_goes_wrong(type_, words, code, said):
    shown = type_("keys", *words)
    assert shown.code == code
    assert said in shown.err


def test_a_name_that_is_taken(type_):
    type_("keys", "add", "shop")
    shown = type_("keys", "add", "shop")
    assert shown.code == Exit.CONFLICT
    assert "revoke it" in shown.err
