"""What containers recorded is taken in, and what they put beside it does no harm."""

import os
import time

import pytest

from modelworks.control.records.containers import take_in
from modelworks.control.records.erase import Eraser
from modelworks.control.records.service import Records
from modelworks.core.errors import UnavailableError
from modelworks.core.home import Home
from modelworks.core.records import Scan
from modelworks.protocol.records import SegmentWriter
from modelworks.protocol.records.fields import KEY
from modelworks.testing.records import HOUR, START, record

pytestmark = pytest.mark.unit


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def verbs(home):
    return Records(home, clock=lambda: START + 50 * HOUR)


def folder(home, deployment="fraud", *, key=True):
    made = home.recorded / deployment / "segments"
    made.mkdir(parents=True)
    if key:
        (made.parent / KEY).write_bytes(b"k" * 32)
    return made


def recorded(segments, numbers, *, closed=True):
    writer = SegmentWriter(segments)
    writer.write([record(number) for number in numbers])
    if closed:
        writer.close()
    return writer


def old(segments):
    """As if nothing had been written for a minute."""
    for path in segments.iterdir():
        os.utime(path, (time.time() - 60,) * 2, follow_symlinks=False)


def ids(verbs):
    return [str(name) for batch in verbs.scan(Scan(), ["id"]) for name in batch.columns["id"]]


def test_segments_of_several_deployments_are_compacted_with_ours(home, verbs):
    recorded(verbs.rooms.segments, range(3))
    recorded(folder(home), range(3, 6))
    recorded(folder(home, "other"), range(6, 9))
    done = verbs.compact()
    assert (done.segments, done.records) == (3, 9)
    assert ids(verbs) == [record(number).id for number in range(9)]
    assert [path for path in home.recorded.rglob("*") if path.suffix] == [
        home.recorded / name / KEY for name in ("fraud", "other")
    ]


def test_two_loggers_with_one_number_lose_nothing(home, verbs):
    for deployment, numbers in (("a", range(3)), ("b", range(3, 6))):
        segments = folder(home, deployment)
        recorded(segments, numbers)
        [path] = segments.iterdir()
        path.rename(path.with_name("00000000000000000001-7.seg"))
    assert verbs.compact().records == 6


def test_a_segment_under_way_stays_and_one_that_was_left_is_taken(home, verbs):
    segments = folder(home)
    writer = recorded(segments, range(3), closed=False)
    old(segments)
    assert verbs.compact().records == 0
    assert len(list(segments.iterdir())) == 1
    os.close(writer._file)  # killed: its lock goes with it
    assert verbs.compact().records == 3
    assert list(segments.iterdir()) == []


def test_one_that_was_just_begun_is_left_to_its_writer(home):
    segments = folder(home)
    (segments / "00000000000000000001-7.open").touch()  # made, and not locked yet
    assert take_in(home.recorded, home.records / "segments") == 0
    old(segments)
    assert take_in(home.recorded, home.records / "segments") == 1


def test_what_is_no_file_goes_and_nothing_behind_it_is_touched(home, verbs, tmp_path):
    segments = folder(home)
    secret = tmp_path / "secret"
    recorded(tmp_path / "elsewhere", range(3))
    [theirs] = (tmp_path / "elsewhere").iterdir()
    secret.write_bytes(theirs.read_bytes())
    for name in ("1.seg", "2.open"):
        (segments / name).symlink_to(secret)
    (segments / "3.seg").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(segments / "4.seg")
    os.mkfifo(segments / "5.open")
    (segments / "6.seg" / "inner").mkdir(parents=True)
    (segments / "note.txt").write_text("no segment")
    old(segments)
    assert verbs.compact().records == 0
    assert secret.read_bytes() == theirs.read_bytes()
    assert list(verbs.rooms.segments.iterdir()) == []
    assert [path.name for path in segments.iterdir()] == ["note.txt"]


def test_the_folder_of_a_deployment_that_is_gone_goes_when_it_is_empty(home, verbs):
    segments = folder(home, key=False)
    recorded(segments, range(3))
    assert verbs.compact().records == 3
    assert list(home.recorded.iterdir()) == []


def test_a_person_is_erased_from_what_a_container_records_right_now(home, verbs):
    segments = folder(home)
    recorded(segments, range(4))
    writer = recorded(segments, range(4, 8), closed=False)
    old(segments)
    subject = record(5).subject
    assert subject
    verbs.compact()
    before = ids(verbs)
    with pytest.raises(UnavailableError, match="is still being written"):
        _eraser(verbs).erase(subject, lambda: START, lambda _: None)
    assert ids(verbs) == before
    writer.close()
    receipt = verbs.erase(subject)
    assert receipt.records
    assert receipt.left == 0
    assert record(5).id not in ids(verbs)
    assert str(home.recorded) in receipt.searched


def _eraser(verbs):
    parts = (verbs.rooms, verbs.store, verbs.feedback, verbs._inbox, verbs._forms, "default")
    return Eraser(*parts, wait_s=0.2)
