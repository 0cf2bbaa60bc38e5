"""`variants`, and the words of other commands that name one."""

import pytest

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.testing.candidates import variant

pytestmark = pytest.mark.unit


@pytest.fixture
def formed(filled, tmp_path):
    """fraud 1.1.0 has the variants `a` and `b`."""
    with Factory(filled) as factory:
        version = factory.show("fraud")
        for name in ("a", "b"):
            made = variant(version, name, front=name == "a")
            factory.add_variant(made, tmp_path / "artifact")
    return filled


def test_a_table_says_what_each_gains(formed, type_):
    done = type_("variants", "fraud@champion")
    assert done.code == Exit.OK
    head, first, second = done.out.splitlines()
    assert "FASTER (ROWS)" in head
    for text in ("a *", "onnxruntime", "30%", "1.00x (1), 1.00x (16)", "1 passed", "x86-64 avx2"):
        assert text in first
    assert "*" not in second


def test_one_document_for_programs(formed, type_):
    found = type_("variants", "fraud:1.1.0", "--json").json
    assert [one["ref"] for one in found] == ["fraud:1.1.0#a", "fraud:1.1.0#b"]
    assert found[0]["recipe"]["steps"][0]["name"] == "a"


def test_without_any_it_says_how_to_get_some(filled, type_):
    assert "modelworks optimize churn" in type_("variants", "churn").err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("variants", "nope"), Exit.NOT_FOUND, "nope"),
        (("variants", "fraud#a"), Exit.INVALID, "names a variant"),
        (("show", "fraud#a"), Exit.INVALID, "names a variant"),
        (("predict", "fraud#a", "--rows", "[]"), Exit.INVALID, "names a variant"),
        (("alias", "set", "fraud@x", "fraud:1.1.0#a"), Exit.INVALID, "names a variant"),
        (("delete", "fraud#c", "--yes"), Exit.NOT_FOUND, "there are: a, b"),
        (("delete", "fraud#a"), Exit.USAGE, "fraud:1.1.0#a"),
        (("serve", "fraud#c"), Exit.NOT_FOUND, "no variant 'c'"),
        (("serve", "fraud", "--variant", "p99"), Exit.INVALID, "that word asks"),
        (("serve", "--file", "x.onnx", "--variant", "fastest"), Exit.USAGE, "--variant goes with"),
        (("up", "--variant", "int8"), Exit.USAGE, "'int8' is not one of"),
    ],
)
def test_mistakes_are_named(formed, type_, words, code, says):
    done = type_(*words)
    assert (done.code, says in done.err) == (code, True), done.err


def test_one_is_deleted(formed, type_):
    done = type_("delete", "fraud@champion#a", "--yes")
    assert (done.code, done.out) == (Exit.OK, "deleted fraud:1.1.0#a\n")
    assert type_("delete", "fraud:1.1.0#b", "--yes", "--json").json == {
        "deleted": ["fraud:1.1.0#b"]
    }
