"""`backup` and `restore` as they are typed."""

import pytest

from modelworks.cli.exits import Exit

pytestmark = pytest.mark.unit


@pytest.fixture
def saved(filled, type_, tmp_path):
    told = type_("backup", str(tmp_path / "saved.tar"), "--json")
    assert told.code == Exit.OK, told.out
    return told.json


def test_there_and_back(saved, filled, type_, tmp_path, monkeypatch):
    assert saved["models"] == 2
    assert (saved["versions"], saved["files"]) == (3, 3)
    before = type_("models", "--json").json
    monkeypatch.setenv("MODELWORKS_HOME", str(tmp_path / "new"))
    done = type_("restore", saved["file"], "--digest", saved["digest"])
    assert done.code == Exit.OK, done.err
    assert "restored" in done.out
    assert "2 models, 3 versions, 3 files" in done.out
    assert type_("models", "--json").json == before
    assert type_("verify", "--all").code == Exit.OK


def test_verify(saved, type_):
    done = type_("backup", "--verify", saved["file"])
    assert done.code == Exit.OK
    assert saved["digest"] in done.out
    assert "checking files: 3 of 3" in done.err
    assert type_("backup", "--verify", saved["file"], "--json").json == saved


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["backup", "{saved}"], Exit.CONFLICT, "exists"),
        (["backup", "{tmp}/none/x.tar"], Exit.NOT_FOUND, "no folder"),
        (["backup", "{tmp}/x.tar", "--digest", "sha256:1"], Exit.USAGE, "--verify"),
        (["backup", "--verify", "{tmp}/none"], Exit.NOT_FOUND, "no file"),
        (["backup", "--verify", "{cut}"], Exit.CORRUPT, "cut off"),
        (["backup", "--verify", "{saved}", "--digest", "sha256:1"], Exit.INVALID, "is the backup"),
        (["restore", "{saved}"], Exit.CONFLICT, "empty installation"),
        (["restore", "{tmp}/none"], Exit.NOT_FOUND, "no file"),
        (["restore", "{tmp}"], Exit.UNAVAILABLE, "directory"),
        (["restore", "{tmp}/text"], Exit.INVALID, "is no backup"),
    ],
)
def test_what_cannot_be(saved, type_, tmp_path, words, code, says):
    (tmp_path / "text").write_text("hello")
    whole = (tmp_path / "saved.tar").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) - 2000])
    places = {"saved": saved["file"], "tmp": tmp_path, "cut": tmp_path / "cut"}
    done = type_(*[word.format(**places) for word in words])
    assert done.code == code, done.err
    assert says in done.err
    assert done.err.rstrip().count("\n") <= 1  # at most one line of progress before it


def test_what_is_no_backup_makes_no_installation(type_, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELWORKS_HOME", str(tmp_path / "new"))
    assert type_("restore", str(tmp_path / "none")).code == Exit.NOT_FOUND
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_it_is_done_where_the_registry_is(saved, type_, monkeypatch, tmp_path, verb):
    monkeypatch.setenv("MODELWORKS_URL", "http://127.0.0.1:1")
    word = saved["file"] if verb == "restore" else str(tmp_path / "x.tar")
    done = type_(verb, word)
    assert done.code == Exit.INVALID
    assert "unset MODELWORKS_URL" in done.err
