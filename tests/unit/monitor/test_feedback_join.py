"""Feedback is joined to records: late, repeated, corrected; and only where something changed."""

import itertools
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelworks.core.records import Feedback, Scan
from modelworks.ext.records.stores import FolderFeedback, FolderRecords
from modelworks.monitor.feedback.joining import HOUR_NS, Join
from modelworks.monitor.feedback.latest import Told, columns_of
from modelworks.testing.records import START, record

pytestmark = pytest.mark.unit

DAY_NS = 24 * HOUR_NS
_numbers = itertools.count()


def told(prediction="", truth=None, at=START + DAY_NS, **more):
    number = next(_numbers)
    values = {"id": f"f{number}", "received_ns": at, "model": "fraud"} | more
    return Feedback(at_ns=at, prediction=prediction, truth=truth, **values)


@pytest.fixture
def circle(tmp_path):
    """A store of records of three hours, one of feedback, and a way to join them."""
    records, feedback = FolderRecords(tmp_path / "r"), FolderFeedback(tmp_path / "f")
    records.write([record(number, key=f"k{number % 50}") for number in range(150)])

    def join(**more):
        found = list(Join(records, feedback, tmp_path / "joins", **more).join())
        return {one.since_ns: one.batch for one in found}

    return records, feedback, join


def truths(batch):
    return {
        str(name): value
        for name, value in zip(batch.columns["id"], batch.columns["truth"], strict=True)
        if value is not None and value == value  # noqa: PLR0124 - NaN
    }


def test_only_what_changed_is_joined_again(circle):
    records, feedback, join = circle
    assert join() == {}
    feedback.write([told("r000003", 1), told("r000070", 0), told("nobody", 1)])
    found = join()
    assert sorted(found) == [START, START + HOUR_NS]
    assert truths(found[START]) == {"r000003": 1.0}
    assert found[START].count == 60
    assert found[START].columns["truth_at_ns"][3] == START + DAY_NS
    assert join() == {}
    feedback.write([told("r000140", 1)])  # the same hour of arrival as before
    assert sorted(join()) == [START + 2 * HOUR_NS]
    records.write([record(71, id="late", model="fraud")])
    found = join()
    assert sorted(found) == [START + HOUR_NS]
    assert truths(found[START + HOUR_NS]) == {"r000070": 0.0}
    records.write([record(0, id="other", model="churn")])
    assert join() == {}


def test_feedback_may_come_before_its_record_is_stored(circle):
    records, feedback, join = circle
    feedback.write([told("later", 1)])
    assert join() == {}
    records.write([record(61, id="later")])
    assert truths(join()[START + HOUR_NS]) == {"later": 1.0}


def test_the_last_by_time_wins_and_history_is_kept(circle):
    _, feedback, join = circle
    first = told("r000003", "no", at=START + 5)
    feedback.write([first])
    feedback.write([told("r000003", "yes", at=START + 9, outcomes={"revenue": 2.0})])
    feedback.write([told("r000003", "late news of old times", at=START + 1)])
    feedback.write([told("r000003", outcomes={"revenue": 3.5, "clicked": True}, at=START + 7)])
    batch = join()[START]
    assert truths(batch) == {"r000003": "yes"}
    assert batch.columns["outcome.revenue"][3] == 2.0
    assert batch.columns["outcome.clicked"][3] == 1.0
    assert np.isnan(batch.columns["outcome.revenue"][4])
    assert sum(batch.count for batch in feedback.scan(Scan())) == 4


def test_what_comes_again_counts_once(circle):
    _, feedback, join = circle
    feedback.write([told("r000003", 1, id="same", at=START + 5)])
    feedback.write([told("r000003", 0, id="same", at=START + 50)])
    assert truths(join()[START]) == {"r000003": 1.0}


def test_a_key_reaches_predictions_of_its_window_only(circle):
    _, feedback, join = circle
    at = record(60).at_ns
    feedback.write([told(key="k5", truth=1, at=at)])  # 5, 55; 105 came after it
    found = join()
    assert sorted(found) == [START, START + HOUR_NS]  # hashes say so; 105 has no truth
    assert truths(found[START]) == {"r000005": 1.0, "r000055": 1.0}
    assert truths(found[START + HOUR_NS]) == {}
    feedback.write([told(key="k5", truth=2, at=at + 1)])
    found = join(window_ns=at - record(55).at_ns + 1)
    assert truths(found[START]) == {"r000055": 2.0}


def test_items_of_a_request(circle):
    records, feedback, join = circle
    records.write([record(200, inputs={"a": [1, 2, 3]}, outputs=None, rows=3)])
    feedback.write(
        [told("r000200", 1, item=2), told("r000200", 0, item=0), told("r000200", 1, item=9)]
    )
    [batch] = join().values()
    found = dict(zip(batch.columns["item"].tolist(), batch.columns["truth"].tolist(), strict=True))
    assert found[0] == 0.0
    assert found[2] == 1.0
    assert np.isnan(found[1])


def test_who_is_killed_before_the_end_gets_all_again(circle, tmp_path):
    records, feedback, join = circle
    feedback.write([told(f"r{number:06d}", 1) for number in (3, 70, 140)])
    half = Join(records, feedback, tmp_path / "joins").join()
    next(half)
    half.close()
    assert len(join()) == 3
    assert join() == {}
    for path in (tmp_path / "joins").iterdir():  # lost or torn: all again, no error
        shutil.rmtree(path) if path.is_dir() else path.write_text("{")
    assert len(join()) == 3


def test_an_ad_hoc_window(circle, tmp_path):
    records, feedback, _ = circle
    feedback.write([told("r000003", 1)])
    joins = Join(records, feedback, tmp_path / "joins")
    found = list(joins.window(Scan(model="fraud", until_ns=record(10).at_ns), ["in.age"]))
    assert [one.batch.count for one in found] == [10]
    assert found[0].batch.columns["in.age"].tolist() == list(range(10))
    assert truths(found[0].batch) == {"r000003": 1.0}
    assert not (tmp_path / "joins" / "default.json").exists()


_one = st.builds(
    Told,
    id=st.sampled_from("abcdef"),
    at_ns=st.integers(0, 9),
    received_ns=st.integers(0, 9),
    prediction=st.sampled_from(["", "p", "q"]),
    key=st.sampled_from(["", "k"]),
    item=st.integers(0, 1),
    truth=st.none() | st.integers(0, 3),
    outcomes=st.just({}),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_one, max_size=8, unique_by=lambda one: (one.at_ns, one.received_ns)))
def test_the_rule_equals_its_plain_form(some):
    lines = {
        "id": ["p", "p", "q"],
        "key": ["k", "k", ""],
        "item": [0, 1, 0],
        "at_ns": [3, 3, 5],
    }
    found = columns_of(some, lines, 3, window_ns=4)
    for line in range(3):
        best = None
        for one in some:
            if any(o.id == one.id and o.received_ns < one.received_ns for o in some):
                continue
            twins = [o for o in some if o.id == one.id and o.received_ns == one.received_ns]
            if twins[0] is not one or one.truth is None or one.item != lines["item"][line]:
                continue
            if one.prediction:
                fits = one.prediction == lines["id"][line]
            else:
                fits = one.key != "" and one.key == lines["key"][line]
                fits &= 0 <= one.at_ns - lines["at_ns"][line] <= 4
            if fits and (best is None or (one.at_ns, one.received_ns) > best[0]):
                best = (one.at_ns, one.received_ns), one.truth
        value = found["truth"][line]
        assert (value if best else None) == (best[1] if best else None)
        if best is None:
            assert value is None or np.isnan(value)
