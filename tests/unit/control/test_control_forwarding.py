"""Records sent on at least once: killed at every step, refused, erased, dropped."""

import json
import os
import shutil

import pytest

from modelworks.control.forwarding.forward import Forwarder, receiver_of
from modelworks.control.forwarding.spools import Spool, Spools
from modelworks.control.records.service import Records
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.home import Home
from modelworks.core.records import Record
from modelworks.protocol.records import SegmentWriter, read_segment, sealed_segments

pytestmark = pytest.mark.unit


class Sink:
    """Takes records until it is told not to."""

    def __init__(self, *, fails_at=None, error=UnavailableError):
        self.taken = []
        self.calls = 0
        self._fails_at = fails_at
        self._error = error

    def send(self, records):
        self.calls += 1
        if self.calls == self._fails_at:
            raise self._error("not now")
        self.taken += [record.id for record in records]

    def close(self):
        pass


def record(number, subject=""):
    return Record(
        id=f"r{number}", at_ns=10**18 + number, model="m", version="1.0.0", subject=subject
    )


def write(folder, numbers, subject=""):
    writer = SegmentWriter(folder)
    writer.write([record(number, subject) for number in numbers])
    writer.close()


@pytest.fixture
def segments(tmp_path):
    folder = tmp_path / "records" / "segments"
    for first in (0, 10, 20):
        write(folder, range(first, first + 10))
    return folder


@pytest.fixture
def spool(tmp_path):
    return Spools(tmp_path / "records" / "forward").of("hook")


EVERY = [f"r{number}" for number in range(30)]


def test_everything_goes_once_and_in_order(segments, spool):
    sink = Sink()
    sender = Forwarder(spool, segments, sink, batch=4)
    assert sender.run() == 30
    assert sink.taken == EVERY
    assert sender.run() == 0
    assert spool.waiting() == []
    assert len(sealed_segments(segments)) == 3  # they are the store's, not ours


def test_what_loggers_still_write_waits(segments, spool):
    writer = SegmentWriter(segments)
    writer.write([record(99)])
    sink = Sink()
    assert Forwarder(spool, segments, sink).run() == 30
    writer.close()
    assert Forwarder(spool, segments, sink).run() == 1


@pytest.mark.parametrize("failing", range(1, 10))
def test_a_failure_sends_only_what_was_not_taken_again(segments, spool, failing):
    sink = Sink(fails_at=failing)
    sender = Forwarder(spool, segments, sink, batch=4)
    with pytest.raises(UnavailableError):
        sender.run()
    sender.run()
    assert sink.taken == EVERY


class Killed(BaseException):
    """As kill -9: nothing after it runs."""


@pytest.mark.parametrize("step", range(1, 13))
def test_killed_before_a_note_at_most_one_batch_comes_twice(segments, spool, step, monkeypatch):
    sink = Sink()
    notes = 0
    good = Spool.note

    def note(self, state):
        nonlocal notes
        notes += 1
        if notes == step:
            raise Killed
        good(self, state)

    monkeypatch.setattr(Spool, "note", note)
    with pytest.raises(Killed):
        Forwarder(spool, segments, sink, batch=4).run()
    Forwarder(spool, segments, sink, batch=4).run()
    assert list(dict.fromkeys(sink.taken)) == EVERY
    assert len(sink.taken) <= len(EVERY) + 4


def test_compaction_leaves_nothing_behind_that_is_still_to_be_sent(tmp_path, segments, spool):
    verbs = Records(Home(tmp_path))
    assert verbs.compact().records == 30
    assert sealed_segments(segments) == []
    sink = Sink()
    assert Forwarder(spool, segments, sink).run() == 30
    assert sink.taken == EVERY


def test_without_links_segments_are_copied(tmp_path, segments, spool, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    Records(Home(tmp_path)).compact()
    sink = Sink()
    assert Forwarder(spool, segments, sink).run() == 30
    assert sink.taken == EVERY


def test_a_full_disk_keeps_the_segments_where_they_are(tmp_path, segments, spool, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "link", full)
        disk.setattr(shutil, "copyfile", full)
        with pytest.raises(UnavailableError, match="No space left"):
            Records(Home(tmp_path)).compact()
    assert len(sealed_segments(segments)) == 3
    Records(Home(tmp_path)).compact()
    sink = Sink()
    assert Forwarder(spool, segments, sink).run() == 30
    assert sink.taken == EVERY


def test_compaction_after_it_was_sent_brings_nothing_back(tmp_path, segments, spool):
    sink = Sink()
    Forwarder(spool, segments, sink).run()
    Records(Home(tmp_path)).compact()
    assert Forwarder(spool, segments, sink).run() == 0
    assert sink.taken == EVERY
    assert spool.state().records == 30


def test_a_person_is_erased_from_what_waits(tmp_path, segments, spool):
    write(segments, range(30, 35), subject="alice")
    verbs = Records(Home(tmp_path))
    verbs.compact()
    receipt = verbs.erase("alice")
    assert receipt.caches["forward"] == 5
    assert b"alice" not in b"".join(path.read_bytes() for path in spool.waiting())
    assert [r.id for path in spool.waiting() for r in read_segment(path)] == EVERY
    sink = Sink()
    Forwarder(spool, segments, sink).run()
    assert sink.taken == EVERY


def test_too_much_drops_the_oldest_and_counts_it(tmp_path, segments):
    folder = tmp_path / "small"
    folder.mkdir()
    size = sealed_segments(segments)[0].stat().st_size
    spool = Spool(folder, largest=2 * size + 8)
    for path in sealed_segments(segments):
        spool.take(path)
    assert spool.state().dropped == 1
    sink = Sink()
    Forwarder(spool, None, sink).run()
    assert sink.taken == EVERY[10:]


def test_a_refusal_stops_and_keeps_everything(segments, spool):
    with pytest.raises(InvalidError):
        Forwarder(spool, segments, Sink(fails_at=2, error=InvalidError), batch=10).run()
    assert len(spool.waiting()) == 2
    assert json.loads((spool.folder / "state.json").read_text())["records"] == 10


@pytest.mark.parametrize(
    ("url", "kind", "settings"),
    [
        ("https://h/x?y=1", "cloudevents", {"url": "https://h/x?y=1"}),
        (
            "nats://h:4222/records.{model}",
            "nats",
            {"url": "nats://h:4222", "subject": "records.{model}"},
        ),
        ("kafka://a:1,b:2/t", "kafka", {"brokers": "a:1,b:2", "topic": "t"}),
    ],
)
def test_a_url_says_which_sink(url, kind, settings):
    assert receiver_of(url) == (kind, settings)


@pytest.mark.parametrize("url", ["ftp://h/x", "nats:", "somewhere", ""])
def test_other_urls_are_refused(url):
    with pytest.raises(InvalidError, match="--to"):
        receiver_of(url)
