"""The registry's verbs on real databases and real files: every test on both pairs of stores."""

from dataclasses import replace

import obstore
import pytest

from modelworks.core.errors import (
    ConflictError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.ids import parse_time
from modelworks.core.model import Collected, Evidence, Lineage, Verdict
from modelworks.core.semver import Bump, Semver
from modelworks.registry import publish, storing
from modelworks.registry.service import Registry
from modelworks.testing.candidates import candidate, signature

pytestmark = [pytest.mark.unit, pytest.mark.timeout(600)]  # servers come with the first test

V = Semver.parse
FOUND = Evidence("replay", Verdict.PASSED, "all agree", {"apart": float("nan")})


@pytest.fixture
def put(registry, tmp_path):
    """Publish content under a name; the ref."""

    def put(content=b"model", name="fraud", **more):
        return registry.publish(candidate(tmp_path / "work", content, name, **more)).ref

    return put


def files(blobs):
    """Every object that is stored, half-written files of a folder too."""
    if blobs.folder is not None:
        return sorted(path.name for path in blobs.folder.rglob("*") if path.is_file())
    return sorted(meta["path"] for chunk in obstore.list(blobs._store) for meta in chunk)


def overwrite(blobs, digest, content):
    """What a bad disk or a careless hand does to a stored file."""
    path = blobs.local(digest)
    if path is None:
        name = digest.removeprefix("sha256:")
        obstore.put(blobs._store, f"sha256/{name[:2]}/{name}", content)
    else:
        path.chmod(0o644)
        path.write_bytes(content)


# -- publish


def test_what_is_published_is_shown(registry, tmp_path, clock):
    wanted = candidate(
        tmp_path / "work",
        lineage=Lineage(source_name="m.joblib", run="run-7"),
        evidence=(Evidence("parity", Verdict.PASSED, "fine", {"rows": 3, "worst": float("nan")}),),
        tags=("good",),
        labels={"environment": "lab"},
        alias="champion",
    )
    (wanted.folder / "weights").mkdir()
    (wanted.folder / "weights" / "w.bin").write_bytes(b"12345")
    made = registry.publish(wanted)
    assert made == registry.show("fraud") == registry.show("fraud@champion")
    assert made == registry.show("fraud:1.0.0")
    assert made.artifact.size == 10
    assert [name for name, _ in made.artifact.files] == ["model.onnx", "weights/w.bin"]
    assert made.lineage.actor == "ada"
    assert made.created_ns == clock.now
    assert made.signature == signature()
    assert made.evidence[0].detail == {"rows": 3, "worst": "nan"}
    assert registry.verify("fraud").ok


def test_versions_follow_the_signature(put, registry):
    assert [
        put(),
        put(),
        put(signature=signature(4)),
        put(signature=signature(4), bump=Bump.PATCH),
    ] == [
        "fraud:1.0.0",
        "fraud:1.1.0",
        "fraud:2.0.0",
        "fraud:2.0.1",
    ]
    assert put(version=V("1.0.1")) == "fraud:1.0.1"
    assert [str(v.version) for v in registry.versions("fraud")] == [
        "2.0.1",
        "2.0.0",
        "1.1.0",
        "1.0.1",
        "1.0.0",
    ]
    assert registry.show("fraud").ref == "fraud:2.0.1"


def test_versions_sort_as_numbers(put, registry):
    for number in ("9.0.0", "10.0.0", "2.0.0"):
        put(version=V(number))
    assert registry.show("fraud").version == V("10.0.0")
    assert registry.models()[0].latest == V("10.0.0")


def test_a_version_never_changes(put, registry):
    put(b"one", version=V("1.0.0"))
    with pytest.raises(ConflictError, match=r"fraud:1\.0\.0 exists and never changes") as caught:
        put(b"two", version=V("1.0.0"))
    assert caught.value.field == "version"
    assert registry.verify("fraud:1.0.0").ok
    assert len(registry.versions("fraud")) == 1


def test_a_deleted_number_is_never_given_again(put, registry):
    put(b"one")
    registry.delete("fraud")
    with pytest.raises(ConflictError, match="never used twice"):
        put(b"two", version=V("1.0.0"))
    assert put(b"two") == "fraud:1.1.0"


@pytest.mark.parametrize(
    "name", ["", "Fraud", "a b", "a/b", "-a", "a" * 129, "ä", "a:1.0.0", "a@b"]
)
def test_names_that_cannot_be_are_refused(put, name, blobs):
    with pytest.raises(InvalidError) as caught:
        put(name=name)
    assert caught.value.field == "name"
    assert files(blobs) == []


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"alias": "Champion"}, "alias"),
        ({"tags": ("",)}, "tags"),
        ({"labels": {"": "x"}}, "labels"),
        ({"version": V("1.0.0"), "bump": Bump.MAJOR}, "version"),
        ({"lineage": Lineage(parent="no such")}, "name"),
        ({"lineage": Lineage(run="x" * 300)}, "run"),
    ],
)
def test_bad_words_are_refused_before_anything_is_stored(put, more, field, blobs, registry):
    with pytest.raises(InvalidError) as caught:
        put(**more)
    assert caught.value.field == field
    assert files(blobs) == []
    assert registry.models() == []


def test_an_empty_folder_is_refused(registry, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InvalidError, match="nothing to publish"):
        registry.publish(replace(candidate(tmp_path / "work"), folder=empty))


def test_links_are_refused(registry, tmp_path, blobs):
    wanted = candidate(tmp_path / "work")
    (wanted.folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidError, match="link"):
        registry.publish(wanted)
    assert files(blobs) == []


def test_the_parent_is_pinned_to_its_version(put, registry):
    put(alias="champion")
    ref = put(name="small", lineage=Lineage(parent="fraud@champion"))
    assert registry.show(ref).lineage.parent == "fraud:1.0.0"
    with pytest.raises(NotFoundError) as caught:
        put(name="small", lineage=Lineage(parent="nobody"))
    assert caught.value.field == "parent"


def test_an_alias_moves_with_the_publication_or_not_at_all(put, registry):
    put(alias="champion")
    put(alias="champion")
    assert registry.show("fraud@champion").ref == "fraud:1.1.0"
    with pytest.raises(ConflictError):
        put(alias="champion", version=V("1.0.0"))
    assert registry.show("fraud@champion").ref == "fraud:1.1.0"
    assert [str(change.version) for change in registry.history("fraud")] == ["1.0.0", "1.1.0"]


def test_equal_files_are_stored_once(put, blobs, registry):
    put(b"same")
    put(b"same", name="other")
    put(b"more", name="other")
    assert len(files(blobs)) == 2
    registry.delete("fraud")
    assert registry.collect() == Collected(0, 0)
    assert registry.verify("other:1.0.0").ok


def test_a_single_file_is_an_artifact_too(registry, tmp_path):
    wanted = candidate(tmp_path / "work")
    made = registry.publish(replace(wanted, folder=wanted.folder / "model.onnx"))
    assert [name for name, _ in made.artifact.files] == ["model.onnx"]


# -- aliases and their history


def test_what_was_champion_on_the_third_of_october_at_two(put, registry, clock):
    moves = {
        "2026-09-01T09:00": "1.0.0",
        "2026-10-03T13:59": "1.1.0",
        "2026-10-03T14:00:00.000001": "2.0.0",
        "2026-10-20T08:00": "1.0.0",
    }
    for _ in range(2):
        put()
    put(signature=signature(4))
    for at, number in moves.items():
        clock.now = parse_time(at)
        registry.set_alias("fraud", "champion", number, f"moved at {at}")
    clock.now = parse_time("2026-11-01")
    registry.remove_alias("fraud", "champion", "retired")

    def then(text):
        return str(registry.alias_at("fraud", "champion", parse_time(text)).version)

    assert then("2026-10-03T14:00") == "1.1.0"
    assert then("2026-10-03T14:00:00.000001") == "2.0.0"
    assert then("2026-10-03T16:00+02:00") == "1.1.0"
    assert then("2026-09-01T09:00") == "1.0.0"
    assert then("2026-10-31T23:59") == "1.0.0"
    with pytest.raises(NotFoundError, match="did not exist at 2026-08-31"):
        then("2026-08-31")
    with pytest.raises(NotFoundError, match="removed at 2026-11-01"):
        then("2026-12-24")
    change = registry.alias_at("fraud", "champion", parse_time("2026-10-03T14:00"))
    assert (change.previous, change.actor, change.reason) == (
        V("1.0.0"),
        "ada",
        "moved at 2026-10-03T13:59",
    )


@pytest.mark.parametrize("at_ns", [-1, 2**63, 10**30])
def test_times_outside_of_time_are_refused(registry, at_ns):
    with pytest.raises(InvalidError) as caught:
        registry.alias_at("fraud", "champion", at_ns)
    assert caught.value.field == "at"


def test_history_is_kept_in_order_even_when_the_clock_goes_back(put, registry, clock):
    put()
    put()
    for number, now in (("1.0.0", 500), ("1.1.0", 400), ("1.0.0", 400)):
        clock.now = now
        registry.set_alias("fraud", "champion", number)
    found = registry.history("fraud", "champion")
    assert [(str(c.version), c.at_ns) for c in found] == [
        ("1.0.0", 500),
        ("1.1.0", 501),
        ("1.0.0", 502),
    ]
    assert [c.previous and str(c.previous) for c in found] == [None, "1.0.0", "1.1.0"]


def test_setting_an_alias_to_where_it_is_changes_nothing(put, registry, clock):
    put()
    first = registry.set_alias("fraud", "champion", "1.0.0")
    clock.now += 10
    assert registry.set_alias("fraud", "champion", "1.0.0", "again") == first
    assert len(registry.history("fraud")) == 1


def test_history_outlives_its_model(put, registry):
    put(alias="champion")
    registry.remove_alias("fraud", "champion")
    registry.delete("fraud")
    assert [change.version for change in registry.history("fraud")] == [V("1.0.0"), None]


@pytest.mark.parametrize(
    ("act", "kind", "field"),
    [
        (lambda r: r.set_alias("fraud", "champion", "9.0.0"), NotFoundError, "version"),
        (lambda r: r.set_alias("nobody", "champion", "1.0.0"), NotFoundError, "version"),
        (lambda r: r.set_alias("fraud", "Ch!", "1.0.0"), InvalidError, "alias"),
        (lambda r: r.set_alias("fraud", "champion", "latest"), InvalidError, "version"),
        (lambda r: r.set_alias("fraud", "champion", "1.0.0", "x" * 1025), InvalidError, "reason"),
        (lambda r: r.set_alias("fraud", "champion", "1.0.0", "a\nb"), InvalidError, "reason"),
        (lambda r: r.set_alias("fraud", "champion", "1.0.0", "\ud800"), InvalidError, "reason"),
        (lambda r: r.remove_alias("fraud", "champion"), NotFoundError, "alias"),
        (lambda r: r.history("nobody"), NotFoundError, "name"),
        (lambda r: r.versions("nobody"), NotFoundError, "name"),
        (lambda r: r.show("fraud@champion"), NotFoundError, "ref"),
        (lambda r: r.show("fraud:7.0.0"), NotFoundError, "ref"),
        (lambda r: r.show("fraud:7"), InvalidError, "version"),
        (lambda r: r.compare("fraud", "nobody"), NotFoundError, "right"),
        (lambda r: r.annotate("fraud", ("",), {}), InvalidError, "tags"),
        (lambda r: r.note_evidence("fraud:7.0.0", FOUND), NotFoundError, "ref"),
        (lambda r: r.delete("nobody"), NotFoundError, "ref"),
        (lambda r: r.verify("nobody"), NotFoundError, "ref"),
    ],
)
def test_mistakes_name_their_field_and_change_nothing(put, registry, act, kind, field):
    put()
    before = (registry.models(), registry.versions("fraud"), registry.history("fraud"))
    with pytest.raises(kind) as caught:
        act(registry)
    assert caught.value.field == field
    assert "\n" not in caught.value.message
    assert (registry.models(), registry.versions("fraud"), registry.history("fraud")) == before


# -- annotate, delete, verify, collect


def test_annotations_replace_tags_and_labels_and_nothing_else(put, registry):
    put(tags=("old",), labels={"team": "risk"})
    before = registry.show("fraud")
    after = registry.annotate("fraud", ("a", "b"), {"environment": "production"})
    assert after == registry.show("fraud")
    assert after == replace(before, tags=("a", "b"), labels={"environment": "production"})


def test_what_is_found_later_is_added_and_the_oldest_of_its_kind_goes(put, registry):
    put()
    before = registry.show("fraud")
    for number in range(12):
        registry.note_evidence("fraud", replace(FOUND, summary=str(number)))
    after = registry.show("fraud")
    assert after.evidence[: len(before.evidence)] == before.evidence
    assert [one.summary for one in after.evidence if one.kind == "replay"] == [
        str(number) for number in range(2, 12)
    ]
    assert after.evidence[-1].detail == {"apart": "nan"}
    assert replace(after, evidence=before.evidence) == before


def test_summaries(put, registry, clock):
    put()
    clock.now += 5
    put(alias="champion", name="fraud")
    put(name="aardvark")
    first, second = registry.models()
    assert (first.name, first.versions, first.aliases) == ("aardvark", 1, ())
    assert (second.name, second.versions, second.latest) == ("fraud", 2, V("1.1.0"))
    assert [(alias.name, alias.version) for alias in second.aliases] == [("champion", V("1.1.0"))]
    clock.now += 5
    registry.set_alias("fraud", "champion", "1.0.0")
    assert registry.models()[1].updated_ns == clock.now


def test_a_version_under_an_alias_stays(put, registry):
    put(alias="champion")
    put()
    for ref in ("fraud", "fraud:1.0.0", "fraud@champion"):
        with pytest.raises(ConflictError, match=r"fraud@champion.*points at fraud:1\.0\.0"):
            registry.delete(ref)
    assert registry.delete("fraud:1.1.0") == ["fraud:1.1.0"]
    registry.remove_alias("fraud", "champion")
    assert registry.delete("fraud:1.0.0") == ["fraud:1.0.0"]
    assert registry.models() == []
    with pytest.raises(NotFoundError):
        registry.show("fraud")


def test_a_parent_stays_while_its_child_does(put, registry):
    put()
    put(lineage=Lineage(parent="fraud:1.0.0"))
    put(name="small", lineage=Lineage(parent="fraud:1.1.0"))
    with pytest.raises(ConflictError, match=r"small:1\.0\.0 names fraud:1\.1\.0"):
        registry.delete("fraud")
    with pytest.raises(ConflictError, match=r"fraud:1\.1\.0 names fraud:1\.0\.0"):
        registry.delete("fraud:1.0.0")
    registry.delete("small")
    assert registry.delete("fraud") == ["fraud:1.1.0", "fraud:1.0.0"]


def test_collection_takes_what_nobody_needs(put, registry, blobs):
    put(b"one" * 100)
    put(b"two", name="other")
    registry.delete("fraud")
    assert len(files(blobs)) == 2
    assert registry.collect() == Collected(1, 300)
    assert len(files(blobs)) == 1
    assert registry.collect() == Collected(0, 0)
    assert registry.verify("other").ok


def test_a_damaged_file_is_named_by_verify(put, registry, blobs):
    put()
    digest = registry.show("fraud").artifact.files[0][1]
    overwrite(blobs, digest, b"mudel")
    found = registry.verify("fraud")
    assert not found.ok
    assert found.files == 1
    assert "model.onnx" in found.problems[0]
    blobs.delete(digest)
    assert "not stored" in registry.verify("fraud").problems[0]


def test_tenants_do_not_see_one_another_and_share_bytes(database, blobs, home, tmp_path, clock):
    red, blue = (
        Registry(database.tenant(name), blobs, home.cache, "x", clock) for name in ("red", "blue")
    )
    wanted = candidate(tmp_path / "work", alias="champion")
    assert red.publish(wanted).tenant == "red"
    assert blue.models() == []
    for act in (blue.show, blue.delete, blue.versions, blue.history):
        with pytest.raises(NotFoundError):
            act("fraud")
    assert blue.publish(wanted).ref == "fraud:1.0.0"
    red.remove_alias("fraud", "champion")
    red.delete("fraud")
    assert red.collect() == Collected(0, 0)
    assert blue.show("fraud@champion").ref == "fraud:1.0.0"
    assert blue.verify("fraud").ok


# -- a publication that is cut off


class BrokenError(Exception):
    """A cut that no code of ours expects."""


class Faulty:
    """The real store, that fails at its n-th call."""

    def __init__(self, blobs, at):
        self._blobs, self._left = blobs, at

    def put(self, path):
        self._left -= 1
        if self._left == 0:
            raise BrokenError
        return self._blobs.put(path)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_cut_between_files_leaves_nothing_visible(database, blobs, registry, home, tmp_path, at):
    wanted = candidate(tmp_path / "work")
    for name in ("a", "b"):
        (wanted.folder / name).write_bytes(name.encode())
    cut = Registry(database.tenant(), Faulty(blobs, at), home.cache)
    with pytest.raises(BrokenError):
        cut.publish(wanted)
    assert registry.models() == []
    assert registry.collect().blobs == at - 1  # its leases are gone with it
    assert files(blobs) == []
    assert registry.publish(wanted).ref == "fraud:1.0.0"
    assert registry.verify("fraud").ok


@pytest.mark.parametrize("step", ["insert_version", "move_alias", "drop_leases"])
def test_a_cut_between_rows_leaves_nothing_visible(registry, tmp_path, monkeypatch, step):
    wanted = candidate(tmp_path / "work", alias="champion")
    registry.publish(wanted)

    real = getattr(publish.store, step)

    def fail(*arguments):
        real(*arguments)
        raise BrokenError

    with monkeypatch.context() as patch:
        patch.setattr(publish.store, step, fail)
        with pytest.raises(BrokenError):
            registry.publish(wanted)
    assert [version.ref for version in registry.versions("fraud")] == ["fraud:1.0.0"]
    assert len(registry.history("fraud")) == 1
    assert registry.publish(wanted).ref == "fraud:1.1.0"


def test_leases_keep_new_blobs_until_they_run_out(database, blobs, home, tmp_path, clock, registry):
    """A publisher that was killed between files and rows: its blobs go when its lease does."""
    scope = database.tenant()
    content = tmp_path / "file"
    content.write_bytes(b"data")
    digest = blobs.put(content)
    with scope.write() as session:
        publish.store.take_leases(session, "dead", [digest], clock.now + 100)
    assert registry.collect() == Collected(0, 0)
    clock.now += 100
    assert registry.collect() == Collected(1, 4)


class Interrupted:
    """The real store; a collection runs right after each file, when the leases have run out."""

    def __init__(self, blobs, collect, times):
        self._blobs, self._collect, self._times = blobs, collect, times

    def put(self, path):
        digest = self._blobs.put(path)
        if self._times > 0:
            self._times -= 1
            self._collect()
        return digest


def test_a_publisher_slower_than_its_lease_stores_again(
    database, blobs, home, tmp_path, clock, registry
):
    def collect():
        clock.now += storing.LEASE_NS
        assert registry.collect().blobs == 1

    slow = Registry(database.tenant(), Interrupted(blobs, collect, 2), home.cache, "x", clock)
    assert slow.publish(candidate(tmp_path / "work")).ref == "fraud:1.0.0"
    assert registry.verify("fraud").ok


def test_a_publisher_that_is_always_too_slow_gives_up(
    database, blobs, home, tmp_path, clock, registry
):
    def collect():
        clock.now += storing.LEASE_NS
        registry.collect()

    slow = Registry(database.tenant(), Interrupted(blobs, collect, 99), home.cache, "x", clock)
    with pytest.raises(UnavailableError):
        slow.publish(candidate(tmp_path / "work"))
    assert registry.models() == []


def test_a_file_that_changes_meanwhile_is_refused(database, blobs, home, tmp_path, registry):
    class Changing:
        def put(self, path):
            path.write_bytes(b"changed")
            return blobs.put(path)

    with pytest.raises(ModelworksError, match="changed while it was published"):
        Registry(database.tenant(), Changing(), home.cache).publish(candidate(tmp_path / "work"))
    assert registry.models() == []
