"""Whose word counts for how long records are kept."""

import pytest

from modelworks.control.records.retention import fewest
from modelworks.control.records.service import Records
from modelworks.core.home import Home
from modelworks.core.records import Scan
from modelworks.protocol.records import SegmentWriter
from modelworks.protocol.records.kept import DAYS, note_days, noted_days
from modelworks.testing.records import HOUR, START, record

pytestmark = pytest.mark.unit


def test_a_note_a_model_and_the_last_one_counts(tmp_path):
    note_days(tmp_path, "fraud", 30)
    note_days(tmp_path, "a/b.c", 0)
    before = (tmp_path / DAYS / "fraud").stat().st_ino
    note_days(tmp_path, "fraud", 30)
    assert (tmp_path / DAYS / "fraud").stat().st_ino == before
    note_days(tmp_path, "fraud", 7)
    assert noted_days(tmp_path) == {"fraud": 7, "a/b.c": 0}
    (tmp_path / DAYS / "odd").write_text("soon")
    (tmp_path / DAYS / ".fraud.tmp").write_text("1")
    assert noted_days(tmp_path) == {"fraud": 7, "a/b.c": 0}
    assert noted_days(tmp_path / "nowhere") == {}
    (tmp_path / DAYS / "odd").write_bytes(b"\xff")
    note_days(tmp_path, "odd", 3)
    assert noted_days(tmp_path)["odd"] == 3


def test_the_fewer_days_count_and_for_ever_is_the_most():
    assert fewest({"a": 7, "b": 0, "c": 3}, {"a": 30, "b": 5, "d": 0}) == {
        "a": 7,
        "b": 5,
        "c": 3,
        "d": 0,
    }
    assert fewest({"a": 0}, {"a": 0}) == {"a": 0}


def test_what_a_logger_noted_is_deleted_in_time(tmp_path):
    verbs = Records(Home(tmp_path), clock=lambda: START + 50 * HOUR)
    writer = SegmentWriter(verbs.rooms.segments)
    writer.write([record(number) for number in range(150)])
    writer.close()
    verbs.compact()
    note_days(verbs.rooms.root, "fraud", 0)
    assert verbs.expire({}) == {}
    note_days(verbs.rooms.root, "fraud", 2)
    assert verbs.expire({"fraud": 90}) == {"fraud": 120}
    assert sum(part.count for part in verbs.store.parts(Scan())) == 30
