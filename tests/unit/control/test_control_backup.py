"""Backups: whole and consistent; what is cut, changed, foreign or newer fills nothing."""

import fcntl
import json
import os
import subprocess
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import backups
from backups import quiet
from modelworks.control.backup import backup, head, look, restore, write
from modelworks.control.forms import here
from modelworks.control.service import Factory
from modelworks.core.errors import (
    ConflictError,
    CorruptError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnsupportedError,
)
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.db import schema
from modelworks.registry.storing import LEASE_NS
from modelworks.testing.candidates import candidate, measured, variant

CONTENTS = [b"", b"one", os.urandom(600_000)]


@pytest.fixture
def source(home, tmp_path):
    """A registry on this machine with three versions and something in every table."""
    with Factory(home) as factory:
        backups.publish(factory, tmp_path / "work", CONTENTS)
        backups.fill_rest(factory)
        yield factory


@pytest.fixture
def saved(source, tmp_path):
    """A backup of it."""
    return source.backup(tmp_path / "saved.tar", quiet)[0]


@pytest.fixture
def empty(tmp_path):
    """An empty installation on this machine."""
    with Factory(Home(tmp_path / "empty")) as factory:
        yield factory


def refused(factory, path, kind=CorruptError):
    """The restore is refused in one line, and nothing became visible."""
    with pytest.raises(kind) as caught:
        factory.restore(path, quiet)
    assert "\n" not in caught.value.message
    assert backups.empty(factory)
    return caught.value.message


def test_every_row_and_file_comes_back_in_both_directions(home, tmp_path, stores):
    """Between this machine's stores and themselves, and those of servers: to and fro."""
    with Factory(home, stores=stores) as one, Factory(Home(tmp_path / "two")) as two:
        backups.publish(one, tmp_path / "work", CONTENTS)
        backups.fill_rest(one)
        path, manifest = one.backup(tmp_path / "one.tar", quiet)
        assert look(path, quiet, manifest.digest) == manifest
        assert two.restore(path, quiet) == manifest
        assert backups.rows(two) == backups.rows(one)
        assert all(backups.rows(one).values())  # no table was empty
        for version in one.versions("fraud"):
            assert two.verify(version.ref).ok
            assert two.show(version.ref) == version
        assert two.history("fraud") == one.history("fraud")
        again, _ = two.backup(tmp_path / "two.tar", quiet)
    with Factory(home, stores=stores) as one:
        assert backups.empty(one) is False
        with pytest.raises(ConflictError, match="empty installation only"):
            one.restore(again, quiet)
    assert backups.parts(again)["files.jsonl"] == backups.parts(path)["files.jsonl"]


def test_it_fills_servers_from_a_file_made_on_this_machine(saved, source, tmp_path, stores):
    with Factory(Home(tmp_path / "other"), stores=stores) as other:
        other.restore(saved, quiet)
        assert backups.rows(other) == backups.rows(source)
        assert all(other.verify(version.ref).ok for version in source.versions("fraud"))
        assert other.collect().blobs == 0


def test_it_is_a_tar_that_common_tools_check(saved, tmp_path):
    subprocess.run(["tar", "-xf", saved, "-C", tmp_path], check=True)
    subprocess.run(["sha256sum", "-c", "--quiet", "backup.sha256"], check=True, cwd=tmp_path)
    for path in (tmp_path / "files").iterdir():
        assert subprocess.check_output(["sha256sum", path], text=True).startswith(path.name)
    assert saved.stat().st_mode & 0o777 == 0o600


def test_what_passes_is_left_out(saved, source):
    found = backups.parts(saved)
    assert not {"rows/leases.jsonl", "rows/deployment_locks.jsonl"} & found.keys()
    with source._database.reader.connect() as connection:
        left = connection.exec_driver_sql("SELECT holder FROM leases").fetchall()
    assert {holder for (holder,) in left} <= {backups.ODD[:36]}  # none of the backup's own


def test_a_backup_of_the_previous_schema_is_migrated(saved, source, empty, tmp_path):
    found = backups.parts(saved)
    later = ("deployments", "routes", "revisions", "deployment_events", "audit")
    later += (
        "series_chunks",
        "watch_duties",
        "model_references",
        "quality_plans",
        "rollouts",
        "rollout_events",
        "rollout_looks",
    )
    later += ("alert_documents", "alerts", "alert_groups", "alert_silences", "alert_calls")
    later += ("variants",)
    for name in later:
        del found[f"rows/{name}.jsonl"]
    old = backups.write(tmp_path / "old.tar", found, schema="0001")
    empty.restore(old, quiet)
    wanted = {name: [] if name in later else told for name, told in backups.rows(source).items()}
    assert backups.rows(empty) == wanted
    with empty._database.reader.connect() as connection:
        assert schema.revision(connection, "") == schema.HEAD
    assert empty.verify("fraud@champion").ok
    version = empty.show("fraud@champion")
    form = candidate(tmp_path / "form", b"a form").folder
    empty.add_variant(variant(version, measurement=measured(here().hardware)), form)
    (model,) = empty.resolve(["fraud@champion#int8"]).models
    assert (model.version, model.variant) == (str(version.version), "int8")
    assert empty.verify("fraud@champion").ok


@pytest.mark.parametrize("number", ["9999", "0001x", ""])
def test_an_unknown_schema_is_refused(saved, empty, tmp_path, number):
    path = backups.write(tmp_path / "x.tar", backups.parts(saved), schema=number)
    kind = UnsupportedError if number == "9999" else CorruptError
    assert "schema" in refused(empty, path, kind)


def test_a_newer_layout_is_refused(saved, empty, tmp_path):
    found = backups.parts(saved)
    path = backups.write(tmp_path / "x.tar", found, layout=2, something="new")
    assert "upgrade" in refused(empty, path, UnsupportedError)


def test_wherever_it_is_cut_it_is_refused_with_the_place(saved, empty, tmp_path):
    whole = saved.read_bytes()
    cut = tmp_path / "cut.tar"
    places = [len(whole) - 1, len(whole) - 1024, len(whole) // 2, 5_000, 600, 511, 1]
    for size in places:
        cut.write_bytes(whole[:size])
        message = refused(empty, cut, ModelworksError)
        assert f"ends at byte {size}" in message or size < 5_000
        with pytest.raises(ModelworksError):
            look(cut, quiet)
    cut.write_bytes(b"")
    refused(empty, cut, InvalidError)
    cut.write_bytes(whole + b"x")
    assert "more follows" in refused(empty, cut)
    empty.restore(saved, quiet)  # and nothing of all that stands in the way


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_byte_can_be_changed_unseen(saved, data):
    whole = bytearray(saved.read_bytes())
    # Half of the tries in what is not the large file: there is most to be deceived.
    at = data.draw(st.integers(0, 40_000) | st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    changed = saved.with_name("changed.tar")
    changed.write_bytes(whole)
    with pytest.raises(ModelworksError) as caught:
        look(changed, quiet)
    assert str(changed) in caught.value.message


def test_a_changed_file_fills_nothing_and_says_where(saved, empty, tmp_path):
    whole = saved.read_bytes()
    at = whole.index(CONTENTS[2][:1000])
    changed = tmp_path / "changed.tar"
    changed.write_bytes(whole[: at + 500] + b"\0\0\0\0" + whole[at + 504 :])
    message = refused(empty, changed)
    assert "files/" in message
    assert "does not match its digest" in message
    assert {blob.size for blob in empty._blobs.list()} <= {0, 3}  # never the wrong one


def drop_file(found):
    name = next(name for name in found if name.startswith("files/"))
    del found[name]
    digest = name.removeprefix("files/").encode()
    kept = [line for line in found["files.jsonl"].splitlines(True) if digest not in line]
    found["files.jsonl"] = b"".join(kept)


def add_file(found):
    found["files/" + "f" * 64] = b"more"
    found["files.jsonl"] += b'["sha256:' + b"f" * 64 + b'",4]\n'


def other_path(found):
    name = "rows/artifact_files.jsonl"
    found[name] = found[name].replace(b"model.onnx", b"../../../x", 1)


def wrong_type(found):
    found["rows/models.jsonl"] = found["rows/models.jsonl"].replace(b"]\n", b'x"]\n', 1)


def text_for_number(found):
    rows = [json.loads(line) for line in found["rows/models.jsonl"].splitlines()]
    rows[0][-1] = "soon"
    found["rows/models.jsonl"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def too_few(found):
    found["rows/models.jsonl"] = b'["default"]\n' + found["rows/models.jsonl"]


def no_end(found):
    found["rows/models.jsonl"] = found["rows/models.jsonl"].rstrip(b"\n")


def deep(found):
    found["rows/models.jsonl"] += b"[" * 100_000 + b"\n"


def unsorted(found):
    listed = found["files.jsonl"].splitlines(True)
    found["files.jsonl"] = b"".join([listed[0], *listed])


def no_list(found):
    found["files.jsonl"] = b"{}\n" + found["files.jsonl"]


LIES = [
    drop_file,
    add_file,
    other_path,
    wrong_type,
    text_for_number,
    too_few,
    no_end,
    deep,
    unsorted,
    no_list,
]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_whose_digests_are_right_is_refused(saved, empty, tmp_path, lie):
    found = backups.parts(saved)
    lie(found)
    path = backups.write(tmp_path / "lie.tar", found)
    assert str(path) in refused(empty, path)


@pytest.mark.parametrize("name", ["leases", "deployment_locks", "alembic_version", "songs"])
def test_a_table_that_belongs_to_no_backup_is_refused(saved, empty, tmp_path, name):
    found = backups.parts(saved)
    manifest = json.loads(found["backup.json"])
    columns = ["tenant", "file_digest", "holder", "until_ns"]
    manifest["tables"].append({"name": name, "columns": columns, "part": {}})
    found["backup.json"] = json.dumps(manifest).encode()
    found[f"rows/{name}.jsonl"] = b'["default","x","y",1]\n'
    path = backups.write(tmp_path / "x.tar", found)
    assert name in refused(empty, path)


def test_columns_that_are_not_there_are_refused(saved, empty, tmp_path):
    found = backups.parts(saved)
    manifest = json.loads(found["backup.json"])
    manifest["tables"][0]["columns"][-1] = "x; DROP TABLE models"
    found["backup.json"] = json.dumps(manifest).encode()
    assert "columns" in refused(empty, backups.write(tmp_path / "x.tar", found))


def foreign(tmp_path):
    (tmp_path / "plain").write_text("no backup at all" * 100)
    (tmp_path / "zeros").write_bytes(bytes(10_240))
    other = tmp_path / "other.tar"
    subprocess.run(["tar", "-cf", other, "-C", tmp_path, "plain"], check=True)
    same = tmp_path / "same.tar"
    (tmp_path / "backup.json").write_text('{"kind": "something else"}')
    subprocess.run(["tar", "-cf", same, "-C", tmp_path, "backup.json"], check=True)
    link = tmp_path / "link.tar"
    (tmp_path / "backup.json").unlink()
    (tmp_path / "backup.json").symlink_to("/etc/passwd")
    subprocess.run(["tar", "-cf", link, "-C", tmp_path, "backup.json"], check=True)
    return [tmp_path / "plain", tmp_path / "zeros", other, same, link]


def test_what_is_no_backup_of_ours_is_refused(empty, tmp_path):
    for path in foreign(tmp_path):
        assert "is no backup of Modelworks" in refused(empty, path, InvalidError), path.name
        with pytest.raises(InvalidError):
            head(path)
    with pytest.raises(NotFoundError):
        head(tmp_path / "none")


def test_another_backup_than_the_one_meant_is_refused(saved, source, empty, tmp_path):
    _, manifest = source.backup(tmp_path / "later.tar", quiet)
    with pytest.raises(InvalidError, match=manifest.digest):
        empty.restore(saved, quiet, manifest.digest)
    assert backups.empty(empty)
    assert empty.restore(tmp_path / "later.tar", quiet, manifest.digest) == manifest


def test_files_of_another_registry_stand_in_the_way_until_they_are_collected(
    saved, empty, tmp_path
):
    other = tmp_path / "other"
    other.write_bytes(b"of somebody else")
    empty._blobs.put(other)
    assert "holds 1 files" in refused(empty, saved, ConflictError)
    empty.collect()
    empty.restore(saved, quiet)


def test_an_interrupted_restore_takes_up_what_is_there(saved, source, empty, monkeypatch):
    taken = []
    real = empty._blobs.take

    def once(digest, size, pieces):
        if taken:
            raise KeyboardInterrupt
        taken.append(digest)
        real(digest, size, pieces)

    monkeypatch.setattr(empty._blobs, "take", once)
    with pytest.raises(KeyboardInterrupt):
        empty.restore(saved, quiet)
    assert backups.empty(empty)
    assert len(list(empty._blobs.list())) == 1
    monkeypatch.undo()
    empty.restore(saved, quiet)
    assert backups.rows(empty) == backups.rows(source)


def test_others_publish_delete_and_collect_meanwhile(home, tmp_path):
    """One state: of before they did, with all of its files."""
    with Factory(home) as factory:
        backups.publish(factory, tmp_path / "work", [b"a", b"b" * 3_000_000])
        before = backups.rows(factory)
        acted = []

        def act(step):
            if not acted and step.startswith("copying"):
                acted.append(step)
                with Factory(home, actor="other") as other:
                    other.publish(candidate(tmp_path / "new", b"new", alias="challenger"))
                    other.remove_alias("fraud", "champion")
                    other.delete("fraud:1.1.0")
                    other.collect()
                    assert other.collect().blobs == 0

        path, _ = factory.backup(tmp_path / "saved.tar", act)
        assert acted
        assert factory.collect().blobs == 1  # its leases went with it
    with Factory(Home(tmp_path / "two")) as two:
        two.restore(path, quiet)
        assert backups.rows(two) == before
        assert two.verify("fraud:1.1.0").ok


def test_leases_are_renewed_and_run_out_by_themselves(source, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_RENEW_S", -1.0)
    seen = []

    def look_on(step):
        if step.startswith("copying"):
            with source._database.reader.connect() as connection:
                statement = "SELECT max(until_ns) FROM leases WHERE until_ns < 4e18"
                seen.append(connection.exec_driver_sql(statement).scalar())

    monkeypatch.setattr("modelworks.control.backup.pace._EVERY_S", 0.0)
    source.backup(tmp_path / "saved.tar", look_on)
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    assert seen[-1] - now_ns() <= write.HOLD_NS


@pytest.mark.parametrize("what", ["damaged", "gone"])
def test_a_stored_file_that_is_not_whole_is_named(source, tmp_path, what):
    _, digest = source.show("fraud:1.2.0").artifact.files[0]
    path = source._blobs.local(digest)
    path.chmod(0o600)
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(CorruptError, match=rf"fraud:1\.2\.0 model\.onnx is {what}"):
        source.backup(tmp_path / "saved.tar", quiet)
    assert [p.name for p in tmp_path.iterdir() if "saved" in p.name] == []


def test_a_folder_gets_a_file_named_by_the_time(source, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    path, manifest = source.backup(folder, quiet)
    assert path.parent == folder
    assert path.name.startswith("modelworks-20")
    assert list(folder.iterdir()) == [path]
    assert head(path) == manifest


def test_a_file_that_is_there_is_never_replaced(source, saved, tmp_path):
    kept = saved.read_bytes()
    with pytest.raises(ConflictError, match="exists"):
        source.backup(saved, quiet)
    assert saved.read_bytes() == kept
    with pytest.raises(NotFoundError, match="no folder"):
        source.backup(tmp_path / "none" / "x.tar", quiet)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConflictError):
        source.backup(tmp_path / "dangling", quiet)


def test_two_do_not_write_one_file_and_what_the_dead_left_is_swept(source, tmp_path):
    left = tmp_path / ".old.tar.partial"
    left.write_bytes(b"of a process that was killed")
    busy = tmp_path / ".busy.tar.partial"
    with busy.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConflictError, match="another process"):
            source.backup(tmp_path / "busy.tar", quiet)
        source.backup(tmp_path / "other.tar", quiet)
        assert not left.exists()
        assert busy.exists()
    source.backup(tmp_path / "busy.tar", quiet)
    assert not busy.exists()


def test_it_is_not_there_before_it_is_whole(source, tmp_path):
    seen = []

    def look_on(_step):
        seen.append((tmp_path / "saved.tar").exists())

    source.backup(tmp_path / "saved.tar", look_on)
    assert seen
    assert not any(seen)
    assert (tmp_path / "saved.tar").exists()


def test_a_store_that_changes_while_it_is_read_ends_the_backup(source, tmp_path, monkeypatch):
    """A size that is not what was listed would shift everything that follows."""
    monkeypatch.setattr(
        source._blobs, "list", lambda: (replace(b, size=b.size + 1) for b in _listed)
    )
    _listed = list(type(source._blobs).list(source._blobs))
    with pytest.raises(CorruptError):
        source.backup(tmp_path / "saved.tar", quiet)
    assert not (tmp_path / "saved.tar").exists()


def test_an_installation_in_use_is_refused_with_the_cure(source, saved):
    with pytest.raises(ConflictError, match="MODELWORKS_DATABASE and MODELWORKS_ARTIFACTS"):
        restore(source._database, source._blobs, saved, quiet)


def test_an_ended_backup_gives_its_leases_back(home, tmp_path):
    with Factory(home) as factory:
        backups.publish(factory, tmp_path / "work", [b"a"])

        def die(step):
            if step.startswith("copying"):
                raise SystemExit

        with pytest.raises(SystemExit):
            backup(factory._database, factory._blobs, tmp_path / "saved.tar", die)
        with factory._database.reader.connect() as connection:
            assert connection.exec_driver_sql("SELECT * FROM leases").fetchall() == []
    assert write.HOLD_NS <= LEASE_NS
