"""Segments into stores, exports, retention, and a person erased: no byte is left."""

import gzip
import json
import sqlite3
import zlib
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from modelworks.control.records.forms import Forms
from modelworks.control.records.intake import MOST, Told
from modelworks.control.records.service import Records, lines_of
from modelworks.core.errors import InvalidError, NotFoundError, UnavailableError
from modelworks.core.home import Home
from modelworks.core.records import Scan
from modelworks.protocol.records import SegmentWriter
from modelworks.protocol.records.frames import whole_frames
from modelworks.protocol.records.vault import Vault
from modelworks.testing.records import HOUR, START, record

pytestmark = pytest.mark.unit

NOW = START + 50 * HOUR
ALICE = "alice@example.org"


@pytest.fixture
def verbs(tmp_path):
    return Records(Home(tmp_path), clock=lambda: NOW)


def recorded(verbs, records, *, closed=True):
    """Write records as a logger does."""
    writer = SegmentWriter(verbs.rooms.segments)
    for one in records:
        writer.write([one])
    if closed:
        writer.close()
    return writer


def ids(verbs, wanted=Scan()):  # noqa: B008 - frozen
    return [str(name) for batch in verbs.scan(wanted, ["id"]) for name in batch.columns["id"]]


def test_segments_become_records_of_the_store(verbs):
    recorded(verbs, [record(number) for number in range(100)])
    recorded(verbs, [record(number) for number in range(90, 110)])
    verbs.intake.message({"model": "fraud", "prediction": "r000003", "truth": 1})
    done = verbs.compact()
    assert (done.segments, done.records, done.damaged, done.feedback) == (2, 120, 0, 1)
    assert ids(verbs) == [record(number).id for number in range(110)]
    assert list(verbs.rooms.segments.iterdir()) == []
    assert list(verbs.rooms.inbox.iterdir()) == []
    assert verbs.compact().records == 0
    [model] = verbs.models()
    assert (model.model, model.records, model.feedback) == ("fraud", 110, 1)
    assert (model.since_ns, model.until_ns) == (START, START + 2 * HOUR)


def test_what_a_dead_logger_left_open_is_taken_and_what_is_torn_is_told(verbs):
    writer = recorded(verbs, [record(number) for number in range(10)], closed=False)
    assert verbs.compact().records == 0  # it has a writer
    writer.close()
    [path] = verbs.rooms.segments.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    done = verbs.compact()
    assert done.records == 9
    assert done.damaged > 0


def test_a_store_that_takes_nothing_costs_nothing(verbs, monkeypatch):
    recorded(verbs, [record(number) for number in range(100)])

    def full(*_):
        raise UnavailableError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(verbs.store._tables.files, "put", full)
        with pytest.raises(UnavailableError):
            verbs.compact()
    assert ids(verbs) == []
    assert verbs.compact().records == 100
    assert len(ids(verbs)) == 100


def test_one_request_with_its_truth(verbs):
    recorded(verbs, [record(number) for number in range(100)])
    verbs.compact()
    verbs.intake.message([{"model": "fraud", "prediction": "r000070", "outcomes": {"paid": 3}}])
    verbs.compact()
    [line] = verbs.show("r000070")
    assert (line["in.age"], line["outcome.paid"], line["truth"]) == (70, 3.0, None)
    assert json.loads(json.dumps(line)) == line
    with pytest.raises(NotFoundError, match="r999"):
        verbs.show("r999")


@pytest.mark.parametrize("act", ["raw", "hash", "token"])
def test_a_business_key_is_joined_in_whatever_form_it_was_written(verbs, act):
    forms = Forms(verbs.rooms.root)
    vault = Vault(verbs.rooms.root)
    key = {"raw": "order 7", "hash": forms.hashed("order 7"), "token": vault.tokens(["order 7"])[0]}
    vault.close()
    recorded(verbs, [record(3, key=key[act]), record(4, key="other")])
    at = "2027-01-16T09:00"
    verbs.intake.message({"model": "fraud", "key": "order 7", "truth": 1, "at": at})
    verbs.compact()
    [joined] = verbs.joining().join()
    truths = joined.batch.columns["truth"].tolist()
    assert truths[0] == 1.0
    assert truths[1] != truths[1]
    assert not any(
        b"order 7" in path.read_bytes() for path in _files(verbs.rooms.root / "feedback")
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_export_has_what_was_asked_for(verbs, tmp_path, kind):
    recorded(verbs, [record(number) for number in range(100)])
    recorded(verbs, [record(5, id="odd", inputs={"text": ["=1+1"]})])
    verbs.compact()
    wanted = Scan(model="fraud", since_ns=record(1).at_ns, until_ns=record(70).at_ns)
    made = verbs.export(wanted, kind, tmp_path / "out")
    assert made.lines == 70
    text = Path(made.path).read_bytes()
    if kind == "parquet":
        table = pq.read_table(made.path)
        assert table["in.age"].to_pylist().count(None) == 1
        assert table["id"].to_pylist()[:2] == ["r000001", "r000002"]
    elif kind == "jsonl":
        found = [json.loads(line) for line in text.splitlines()]
        assert found[0]["in.age"] == 1
        assert [line["in.text"] for line in found if line["id"] == "odd"] == ["=1+1"]
    else:
        assert text.splitlines()[0].startswith(b"id,item,at_ns,subject")
        assert b"'=1+1" in text
    with pytest.raises(NotFoundError):
        verbs.export(Scan(model="nobody"), kind, tmp_path / "out")
    few = verbs.export(wanted, kind, tmp_path / "out", ["in.age"])
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert few.lines == 70


def test_records_expire_as_their_policy_says_even_when_the_model_is_gone(verbs):
    recorded(verbs, [record(number) for number in range(150)])
    recorded(verbs, [record(number, model="churn", id=f"c{number}") for number in range(3)])
    verbs.compact()
    assert verbs.expire({"fraud": 2, "churn": 0}) == {"fraud": 120}
    assert len(ids(verbs, Scan(model="fraud"))) == 30
    assert len(ids(verbs, Scan(model="churn"))) == 3
    assert verbs.expire({"churn": 3}) == {}
    assert verbs.expire({"churn": 2}) == {"churn": 3}


def _files(root):
    return [path for path in root.rglob("*") if path.is_file()]


def _contents(path):
    """A file's bytes, and whatever is packed in them."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        yield repr(pq.ParquetFile(path).read().to_pydict()).encode()
    for _, payload in whole_frames(data):
        yield payload
    for unpack in (gzip.decompress, zlib.decompress):
        try:
            yield unpack(data)
        except (OSError, EOFError, zlib.error):
            continue


@pytest.mark.parametrize("act", ["raw", "hash", "token"])
def test_after_an_erasure_no_byte_of_the_person_is_left(verbs, tmp_path, act):
    acts = []
    verbs._note = lambda *told: acts.append(told)
    forms = Forms(verbs.rooms.root)
    vault = Vault(verbs.rooms.root)
    token, other = vault.tokens([ALICE, "bob"])
    vault.close()
    subject = {"raw": ALICE, "hash": forms.hashed(ALICE), "token": token}[act]

    def some(numbers, tag=""):
        kept = {"name": [ALICE] if act == "raw" else ["-"]}
        return [
            record(n, id=f"alice-{tag}{n}", subject=subject, key=subject, inputs=kept)
            for n in numbers
        ] + [record(n, id=f"bob-{tag}{n}", subject=other) for n in numbers]

    recorded(verbs, some(range(0, 150, 5)))
    verbs.intake.message(
        [{"model": "fraud", "prediction": f"{who}-{n}", "truth": f"of {who}"} for n in (0, 5, 10)
         for who in ("alice", "bob")]
    )  # fmt: skip
    verbs.compact()
    assert len(list(verbs.joining().join())) == 1
    for kind in ("csv", "jsonl", "parquet"):
        verbs.export(Scan(), kind, tmp_path / "out")
    recorded(verbs, some(range(3), "closed"))
    verbs.intake.message({"model": "fraud", "key": ALICE, "truth": "of alice"})
    verbs.intake.message({"model": "fraud", "prediction": "bob-15", "truth": "of bob"})
    half = verbs.rooms.root / "store" / "tenant=default" / ".making" / "half"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(subject.encode())  # of a writer that was killed
    receipt = verbs.erase(ALICE)
    assert (receipt.records, receipt.feedback, receipt.exported, receipt.left) == (33, 4, 90, 0)
    assert receipt.vault == 1
    assert len(receipt.rewritten) == 3
    assert [act[:2] for act in acts[-1:]] == [("erase", "records")]
    needles = [ALICE.encode(), forms.hashed(ALICE).encode(), token.encode(), b"alice-", b"of alice"]
    for path in _files(tmp_path):
        for content in _contents(path):
            for needle in needles:
                assert needle not in content, (path, needle)
    assert len(ids(verbs)) == 33
    assert all(name.startswith("bob-") for name in ids(verbs))
    with sqlite3.connect(verbs.rooms.root / "vault.db") as db:
        assert db.execute("SELECT token FROM tokens").fetchall() == [(other,)]
    verbs.compact()
    [joined] = list(verbs.joining().join())[:1]
    truths = [line["truth"] for line in lines_of(joined.batch)]
    assert truths.count("of bob") == 4
    again = verbs.erase(ALICE)
    assert (again.records, again.feedback, again.exported, again.vault) == (0, 0, 0, 0)


def test_an_erasure_waits_for_the_segment_under_way(verbs):
    from modelworks.control.records.erase import Eraser

    writer = recorded(verbs, [record(1, subject=ALICE)], closed=False)
    eraser = Eraser(
        verbs.rooms, verbs.store, verbs.feedback, verbs._inbox, verbs._forms, "default", (), 0.1
    )
    with pytest.raises(UnavailableError, match="still being written"):
        eraser.erase(ALICE, lambda: NOW, lambda _: None)
    writer.close()
    assert eraser.erase(ALICE, lambda: NOW, lambda _: None).records == 1


class Cache:
    name = "answers"

    def erase(self, predictions, forms):
        self.told = (list(predictions), list(forms))
        return 7


def test_caches_are_told_whom_they_forget(tmp_path):
    cache = Cache()
    verbs = Records(Home(tmp_path), clock=lambda: NOW, caches=(cache,))
    recorded(verbs, [record(1, subject="7"), record(2)])
    explained = tmp_path / "cache" / "explanations" / "ab" / "abc.npy"
    explained.parent.mkdir(parents=True)
    explained.write_bytes(b"of whom, nobody knows")
    receipt = verbs.erase("7")
    assert not explained.exists()
    assert receipt.caches == {"answers": 7, "forward": 0, "explanations": 1}
    assert cache.told[0] == ["r000001"]
    assert "7" in cache.told[1]


@pytest.mark.parametrize("subject", ["", "  "])
def test_nobody_is_not_erased(verbs, subject):
    recorded(verbs, [record(1, subject="")])
    with pytest.raises(InvalidError):
        verbs.erase(subject)
    verbs.compact()
    assert len(ids(verbs)) == 1


GOOD = {"model": "fraud", "prediction": "p", "truth": 1}


@pytest.mark.parametrize(
    ("told", "field"),
    [
        (GOOD | {"model": ""}, "model"),
        (GOOD | {"model": "../up"}, "model"),
        (GOOD | {"prediction": ""}, "prediction"),
        (GOOD | {"key": "k"}, "prediction"),
        (GOOD | {"item": -1}, "item"),
        (GOOD | {"item": "0"}, "item"),
        (GOOD | {"truth": None}, "truth"),
        (GOOD | {"truth": {"a": 1}}, "truth"),
        (GOOD | {"truth": [[1]]}, "truth"),
        (GOOD | {"truth": "x" * 2000}, "truth"),
        (GOOD | {"outcomes": {"a b": 1}}, "outcomes"),
        (GOOD | {"outcomes": {"a": "1"}}, "outcomes.a"),
        (GOOD | {"at": "yesterday"}, "at"),
        (GOOD | {"at": "3026-01-01"}, "at"),
        (GOOD | {"id": "x" * 2000}, "id"),
        (GOOD | {"bogus": 1}, "bogus"),
        ({"model": "fraud"}, "prediction"),
    ],
    ids=str,
)
def test_feedback_that_cannot_be_is_named_and_nothing_is_kept(verbs, told, field):
    with pytest.raises(InvalidError) as caught:
        verbs.intake.message(told)
    assert caught.value.field == field
    with pytest.raises(InvalidError) as caught:
        verbs.intake.message([GOOD, told])
    assert caught.value.field == f"[1].{field}"
    assert not verbs.rooms.inbox.exists()


def test_messages_have_a_bound_and_ids(verbs):
    with pytest.raises(InvalidError):
        verbs.intake.message([])
    with pytest.raises(InvalidError):
        verbs.intake.message([GOOD] * (MOST + 1))
    one = verbs.intake.message(GOOD)
    assert one == verbs.intake.message([GOOD])  # repeated: the same id
    assert one.ids != verbs.intake.message(GOOD | {"truth": 2}).ids
    assert verbs.intake.message(GOOD | {"id": "mine"}).ids == ("mine",)
    assert verbs.intake.lines([replace(Told("m", "p", truth=1), at="2026-10-03")]).accepted == 1


def test_too_much_that_waits_is_refused(verbs, monkeypatch):
    monkeypatch.setattr("modelworks.monitor.feedback.inbox.MOST_WAITING", 2)
    for _ in range(2):
        verbs.intake.message(GOOD)
    with pytest.raises(UnavailableError, match="wait there"):
        verbs.intake.message(GOOD)
