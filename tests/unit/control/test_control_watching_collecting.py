"""Records as the sample that a reference is made of."""

import numpy as np
import pytest

from modelworks.control.watching.collecting import collected
from modelworks.core.errors import NotFoundError
from modelworks.core.records import Batch, Part, Scan

pytestmark = pytest.mark.unit
HOUR = 3600 * 10**9


def batch(hour, count, version="1.0.0", **columns):
    told = {
        "version": np.array([version] * count, object),
        "status": np.full(count, 200),
        "at_ns": np.arange(count) + hour * HOUR,
        "in.age": np.arange(float(count)),
        "out.label": np.full(count, hour),
    }
    return Batch(told | columns, count)


class Store:
    """Records that lie in memory."""

    def __init__(self, *batches):
        self.batches = batches

    def parts(self, wanted):
        assert wanted.model == "fraud"
        return [Part("fraud", 0, "x", one.count) for one in self.batches]

    def scan(self, wanted, columns=()):
        yield from self.batches


WANTED = Scan("default", "fraud", "1.0.0")


def test_a_versions_answered_requests_are_its_sample():
    refused = batch(2, 40)
    refused.columns["status"][:30] = 400
    store = Store(batch(1, 50), batch(1, 60, "2.0.0"), refused)
    found = collected(store, WANTED)
    assert found.keys() == {"age", "out.label"}
    assert len(found["age"]) == len(found["out.label"]) == 60
    assert set(found["out.label"]) == {1, 2}


def test_of_many_rows_some_are_drawn_from_all_of_the_time():
    store = Store(*(batch(hour, 1000) for hour in range(20)))
    found = collected(store, WANTED, most=1000, seed=3)
    assert len(found["age"]) == 1000
    hours, counts = np.unique(found["out.label"], return_counts=True)
    assert len(hours) == 20
    assert counts.max() < 90


def test_what_was_not_kept_is_no_column():
    nothing = np.full(50, None, object)
    store = Store(batch(1, 50, **{"in.age": nothing}))
    assert collected(store, WANTED).keys() == {"out.label"}
    store = Store(batch(1, 50, **{"in.age": nothing, "out.label": np.full(50, np.nan)}))
    with pytest.raises(NotFoundError, match="with its inputs or outputs"):
        collected(store, WANTED)


def test_no_records_are_told_with_the_cure():
    for store in (Store(), Store(batch(1, 50, "2.0.0"))):
        with pytest.raises(NotFoundError, match="records compact"):
            collected(store, WANTED)
