"""Every registry command on a real registry: text for people, one document for programs."""

import json

import pytest

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.core.model import Evidence, Verdict
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.registry.publish import Publication

pytestmark = pytest.mark.unit

SIGNATURE = Signature((TensorSpec("x", Datatype.FP32, (None, 2)),), (), Layout.MATRIX)


WORKS = [
    (("models",), ["fraud", "churn", "1.1.0", "@champion -> 1.1.0", "UTC"]),
    (("versions", "fraud"), ["1.0.0", "1.1.0", "sklearn-joblib", "parity passed"]),
    (("show", "fraud"), ["fraud:1.1.0", "age, income", "FP32", "[-1, 2]", "sha256:", "3e-07"]),
    (("show", "fraud:1.0.0"), ["fraud:1.0.0", "m.joblib"]),
    (("compare", "fraud:1.0.0", "fraud:1.1.0"), ["artifact", "is served by", "fraud:1.0.0"]),
    (("history", "fraud"), ["fraud@champion", "1.1.0", "ana"]),
    (("verify", "fraud"), ["fraud:1.1.0", "ok", "1 file"]),
    (("verify", "--all"), ["fraud:1.0.0", "churn:1.0.0"]),
    (("tag", "fraud:1.0.0", "eu", "eu", "reviewed"), ["eu, reviewed"]),
    (("label", "fraud:1.0.0", "environment=test"), ["environment=test"]),
    (("alias", "set", "fraud@challenger", "1.0.0"), ["fraud@challenger -> fraud:1.0.0"]),
    (("alias", "set", "fraud@x", "fraud@champion"), ["fraud@x -> fraud:1.1.0"]),
    (("alias", "remove", "fraud@champion"), ["removed fraud@champion"]),
    (("delete", "fraud:1.0.0", "--yes"), ["deleted fraud:1.0.0"]),
    (("delete", "churn", "--yes"), ["deleted churn:1.0.0"]),
    (("collect",), ["removed 0 files, 0 B"]),
]
IDS = [" ".join(words) for words, _ in WORKS]


@pytest.mark.parametrize("words", [words for words, _ in WORKS], ids=IDS)
def test_json(filled, type_, words):
    told = type_(*words, "--json")
    assert told.code == Exit.OK, told.out
    assert told.err == ""
    assert told.out.count("\n") == 1  # one document, one line
    json.loads(told.out)


@pytest.mark.parametrize(("words", "wanted"), WORKS, ids=IDS)
def test_text(filled, type_, words, wanted):
    done = type_(*words)
    assert done.code == Exit.OK, done.err
    for text in wanted:
        assert text in done.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("show", "nope"), Exit.NOT_FOUND, "nope"),
        (("show", "fraud:9.0.0"), Exit.NOT_FOUND, "9.0.0"),
        (("show", "fraud@nobody"), Exit.NOT_FOUND, "nobody"),
        (("show", "BAD NAME"), Exit.INVALID, "BAD NAME"),
        (("show", "fraud:1.0"), Exit.INVALID, "three numbers"),
        (("versions", "../../etc"), Exit.INVALID, "model name"),
        (("compare", "fraud:1.0.0", "nope"), Exit.NOT_FOUND, "nope"),
        (("alias", "set", "fraud", "1.0.0"), Exit.INVALID, "fraud@champion"),
        (("alias", "set", "fraud@champion", "9.9.9"), Exit.NOT_FOUND, "9.9.9"),
        (("alias", "set", "fraud@champion", "churn:1.0.0"), Exit.INVALID, "churn"),
        (("alias", "set", "fraud@champion", "one"), Exit.INVALID, "one"),
        (("alias", "remove", "fraud@nobody"), Exit.NOT_FOUND, "nobody"),
        (("history", "fraud:1.0.0"), Exit.INVALID, "NAME@ALIAS"),
        (("history", "fraud", "--at", "2026-01-01"), Exit.INVALID, "NAME@ALIAS"),
        (("history", "fraud@champion", "--at", "yesterday"), Exit.INVALID, "yesterday"),
        (("history", "fraud@champion", "--at", "2020-01-01"), Exit.NOT_FOUND, "2020"),
        (("tag", "fraud", "--remove", "nope"), Exit.INVALID, "nope"),
        (("label", "fraud", "novalue"), Exit.INVALID, "key=value"),
        (("label", "fraud", "k=1", "k=2"), Exit.INVALID, "twice"),
        (("delete", "fraud:1.1.0", "--yes"), Exit.CONFLICT, "champion"),
        (("delete", "fraud:1.0.0"), Exit.USAGE, "--yes"),
        (("import", "no-such-file", "--name", "x"), Exit.NOT_FOUND, "no-such-file"),
        (("import", __file__, "--name", "X y"), Exit.INVALID, "X y"),
        (("import", __file__, "--name", "x", "--input", "x=3"), Exit.INVALID, "x:FP32"),
        (("import", __file__, "--name", "x", "--label", "k"), Exit.INVALID, "key=value"),
        (("import", __file__, "--name", "x", "--version", "1"), Exit.INVALID, "three numbers"),
        (("import", __file__, "--name", "x", "--alias", "9"), Exit.INVALID, "alias"),
    ],
    ids=lambda value: " ".join(map(str, value))[-40:] if isinstance(value, tuple) else None,
)
def test_what_is_wrong_is_said_in_one_line(filled, type_, words, code, says):
    done = type_(*words)
    assert done.code == code
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert says in done.err
    assert done.err.count("\n") == 1
    told = type_(*words, "--json")
    assert told.code == code
    assert told.json["exit_code"] == code


def test_tags_and_labels_come_and_go(filled, type_):
    type_("tag", "fraud", "a", "b")
    assert type_("tag", "fraud", "c", "--remove", "a", "--json").json["tags"] == ["b", "c"]
    type_("label", "fraud", "x=1", "y=2")
    done = type_("label", "fraud", "x=3", "--remove", "y", "--json")
    assert done.json["labels"] == {"x": "3"}
    assert type_("tag", "fraud", "--json").json["tags"] == ["b", "c"]


def test_history_at_a_time_names_one_version(filled, type_):
    type_("alias", "set", "fraud@champion", "1.0.0", "--reason", "back")
    changes = type_("history", "fraud@champion", "--json").json
    assert [change["version"] for change in changes] == ["1.1.0", "1.0.0"]
    assert changes[1]["reason"] == "back"
    done = type_("history", "fraud@champion", "--at", "2100-01-01T00:00+02:00")
    assert done.out == "fraud:1.0.0\n"


def test_verify_ends_with_8_when_bytes_rot(filled, type_):
    digest = type_("show", "fraud:1.0.0", "--json").json["artifact"]["files"][0][1]
    found = [p for p in filled.blobs.rglob("*") if p.is_file() and digest[-20:] in str(p)]
    found[0].chmod(0o600)
    found[0].write_bytes(b"rotten")
    done = type_("verify", "--all")
    assert done.code == Exit.CORRUPT
    assert "fraud:1.0.0  CORRUPT" in done.out
    assert "churn:1.0.0  ok" in done.out
    told = type_("verify", "fraud:1.0.0", "--json")
    assert told.code == Exit.CORRUPT
    assert told.json["ok"] is False
    assert told.json["problems"]


def test_deleted_files_go_with_collect(filled, type_):
    type_("delete", "churn", "--yes")
    done = type_("collect", "--json")
    assert done.json["blobs"] == 1
    assert done.json["bytes"] > 0
    assert type_("models", "--json").json[0]["name"] == "fraud"


def test_an_empty_registry_says_how_to_begin(home, type_):
    done = type_("models")
    assert (done.code, done.out) == (Exit.OK, "")
    assert "modelworks import" in done.err


def test_words_from_files_do_not_drive_the_terminal(filled, type_, tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "model.onnx").write_text("x")
    evidence = (Evidence("parity", Verdict.PASSED, "\x1b[2Jgone\r\u202e"),)
    with Factory(filled) as factory:
        factory.publish(Publication("hostile", folder, "onnx", SIGNATURE, evidence=evidence))
    done = type_("show", "hostile")
    assert "gone" in done.out
    assert all(line.isprintable() for line in done.out.splitlines())
