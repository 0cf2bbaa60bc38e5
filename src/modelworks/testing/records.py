"""The contracts of `RecordStore` and `FeedbackStore`: what every one of them must do.

A plug-in's test file is a fixture:

    class TestMyStore(RecordStoreContract):
        @pytest.fixture
        def opened(self, tmp_path): ...  # a function that opens the same store again
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest

from modelworks.core.records import Batch, Feedback, Record, Scan
from modelworks.core.seams import FeedbackStore, RecordStore

Opened = Callable[[], RecordStore]
OpenedFeedback = Callable[[], FeedbackStore]

HOUR: Final = 3_600_000_000_000
START: Final = 500_000 * HOUR
"""UTC, the first hour of the records made here."""


def record(number: int, **more: Any) -> Record:
    """A record: one a minute; its id and feature say its number."""
    made = Record(
        id=f"r{number:06d}",
        at_ns=START + number * 60_000_000_000 + number,
        model="fraud",
        version="1.0.0",
        caller="ana",
        total_ns=1000 + number,
        subject=f"person-{number % 7}",
        inputs={"age": [number], "name": [f"n{number}"]},
        outputs={"score": [number / 2]},
    )
    return replace(made, **more)


def lines(batches: Iterable[Batch], *columns: str) -> list[tuple[Any, ...]]:
    """Lines of batches, as tuples of those columns."""
    return [
        line
        for batch in batches
        for line in zip(*(batch.columns[name].tolist() for name in columns), strict=True)
    ]


def ids(store: RecordStore, wanted: Scan = Scan()) -> list[str]:  # noqa: B008 - frozen
    """Ids in the order of a scan."""
    return [str(one) for (one,) in lines(store.scan(wanted, ["id"]), "id")]


class RecordStoreContract:
    """Inherit, and provide `opened`."""

    def test_what_is_written_is_read_in_order_whoever_opens_it(self, opened: Opened) -> None:
        records = [record(number) for number in range(150)]  # three hours
        opened().write(records[100:])
        opened().write(records[:100][::-1])
        assert ids(opened()) == [one.id for one in records]
        batches = list(opened().scan(Scan(model="fraud")))
        assert sum(batch.count for batch in batches) == 150
        found = lines(batches, "at_ns", "in.age", "in.name", "out.score", "caller", "item")
        assert found == [(r.at_ns, n, f"n{n}", n / 2, "ana", 0) for n, r in enumerate(records)]
        assert batches[0].columns["in.age"].dtype == np.int64
        assert batches[0].columns["out.score"].dtype == np.float64

    def test_every_field_is_kept(self, opened: Opened) -> None:
        full = record(
            1, revision="f/1", variant="v", arm="a", status=503, error="full", rows=2,
            decode_ns=1, queue_ns=2, compute_ns=3, trace="t" * 32, key="k", headers={"x": "y"},
            inputs={"a": [1, 2]}, outputs=None, left_out=("outputs",),
        )  # fmt: skip
        opened().write([full])
        [batch] = opened().scan(Scan())
        for name in Record.__dataclass_fields__:
            if name not in {"headers", "inputs", "outputs", "left_out"}:
                assert batch.columns[name].tolist() == [getattr(full, name)] * 2, name
        assert batch.columns["left_out"].tolist() == [["outputs"]] * 2
        assert batch.columns["header.x"].tolist() == ["y"] * 2
        assert batch.columns["in.a"].tolist() == [1, 2]
        assert batch.columns["item"].tolist() == [0, 1]

    def test_nothing_is_kept_twice(self, opened: Opened) -> None:
        records = [record(number) for number in range(100)]
        for some in (records[:60], records[40:], records, records[:1] * 3):
            opened().write(some)
        assert ids(opened()) == [one.id for one in records]
        assert sum(part.count for part in opened().parts(Scan())) == 100

    def test_many_small_writes(self, opened: Opened) -> None:
        store = opened()
        records = [record(number) for number in range(40)]
        for one in [*records[::2], *records[1::2]]:
            store.write([one])
        assert ids(opened()) == [one.id for one in records]

    def test_tenants_models_versions_and_times_are_apart(self, opened: Opened) -> None:
        store = opened()
        store.write([record(n) for n in range(0, 70, 10)])
        store.write([record(n, tenant="else/where", id=f"x{n}") for n in range(3)])
        store.write(
            [record(n, model="churn", id=f"c{n}", inputs={"age": ["old"]}) for n in (5, 65)]
        )
        store.write([record(7, version="2.0.0", id="v2")])
        assert ids(store, Scan("else/where")) == ["x0", "x1", "x2"]
        assert ids(store, Scan("nobody")) == []
        assert ids(store, Scan(model="churn")) == ["c5", "c65"]
        assert ids(store, Scan(version="2.0.0")) == ["v2"]
        assert ids(store)[:3] == ["r000000", "c5", "v2"]
        first, last = record(10), record(30)
        wanted = Scan(model="fraud", since_ns=first.at_ns, until_ns=last.at_ns)
        assert ids(store, wanted) == ["r000010", "r000020"]

    def test_columns_that_are_asked_for(self, opened: Opened) -> None:
        opened().write([record(0), record(1, inputs=None, outputs={"other": [[1, 2]]})])
        [batch] = opened().scan(Scan(), ["out.other", "in.age", "nowhere"])
        assert set(batch.columns) == {"out.other", "in.age", "nowhere"}
        assert batch.columns["out.other"].tolist() == [None, [1, 2]]
        assert batch.columns["in.age"][0] == 0
        assert np.isnan(batch.columns["in.age"][1])
        assert batch.columns["nowhere"].tolist() == [None, None]

    @pytest.mark.parametrize(
        "values",
        [
            [1, 2.5, None],
            [True, False, None],
            ["a", None, "\ud800 not text"],
            [[1.0], [], None],
            [[[1, 2]], None],
            [1, "one", None, [2], {"a": True}],
            [2**70, 1],
            [2**60 + 1, None],
            [{"a": 1}, {"b": 2}],
            [None, None],
        ],
        ids=str,
    )
    def test_values_come_back(self, opened: Opened, values: Sequence[Any]) -> None:
        for number, value in enumerate(values):  # together, and each alone
            opened().write([record(number, model="alone", inputs={"x": [value]})])
        opened().write([record(0, inputs={"x": values})])
        for model in ("fraud", "alone"):
            batches = opened().scan(Scan(model=model), ["in.x"])
            found = [value for (value,) in lines(batches, "in.x")]
            assert [None if value != value else value for value in found] == values  # noqa: PLR0124 - NaN

    def test_what_is_old_goes(self, opened: Opened) -> None:
        store = opened()
        store.write([record(number) for number in range(150)])
        store.write([record(1, model="churn", id="c")])
        assert store.expire("default", "fraud", record(70).at_ns) == 70
        assert ids(opened(), Scan(model="fraud"))[0] == "r000070"
        assert ids(opened(), Scan(model="churn")) == ["c"]
        assert store.expire("default", "fraud", record(70).at_ns) == 0

    def test_who_is_erased_is_gone(self, opened: Opened) -> None:
        store = opened()
        store.write([record(number) for number in range(70)])
        store.write([record(n, tenant="other") for n in range(7)])
        store.write([record(100, subject="")])
        assert store.erase("default", ["person-3", "person-4", ""]) == 20
        left = {one for (one,) in lines(opened().scan(Scan(), ["subject"]), "subject")}
        assert left == {"", *(f"person-{n}" for n in (0, 1, 2, 5, 6))}
        assert len(ids(opened())) == 51
        assert len(ids(opened(), Scan("other"))) == 7
        assert store.erase("default", ["person-3"]) == 0

    def test_parts_change_with_what_is_in_them(self, opened: Opened) -> None:
        store = opened()
        store.write([record(number) for number in range(70)])
        before = store.parts(Scan())
        assert [(part.model, part.since_ns, part.count) for part in before] == [
            ("fraud", START, 60),
            ("fraud", START + HOUR, 10),
        ]
        assert store.parts(Scan()) == before
        store.write([record(65, id="late")])
        after = store.parts(Scan())
        assert after[0] == before[0]
        assert after[1].mark != before[1].mark
        assert store.parts(Scan(since_ns=START + HOUR)) == after[1:]


def feedback(number: int, **more: Any) -> Feedback:
    """Feedback: one a minute, to the record of that number."""
    made = Feedback(
        id=f"f{number:06d}",
        model="fraud",
        at_ns=START + number,
        received_ns=record(number).at_ns,
        prediction=record(number).id,
        truth=number % 2,
    )
    return replace(made, **more)


class FeedbackStoreContract:
    """Inherit, and provide `opened`."""

    def test_what_is_told_is_read_in_the_order_of_its_arrival(self, opened: OpenedFeedback) -> None:
        some = [feedback(number, outcomes={"revenue": number / 4}) for number in range(70)]
        opened().write(some[30:])
        opened().write(some[:40])
        columns = ["id", "truth", "outcome.revenue", "at_ns"]
        found = lines(opened().scan(Scan(model="fraud"), columns), *columns)
        assert found == [(f"f{n:06d}", n % 2, n / 4, START + n) for n in range(70)]
        assert [part.count for part in opened().parts(Scan())] == [60, 10]

    def test_truths_of_many_kinds(self, opened: OpenedFeedback) -> None:
        truths = ["fraud", 1, None, [1, 0, 1], True, 0.5]
        opened().write([feedback(n, truth=truth) for n, truth in enumerate(truths)])
        found = [one for (one,) in lines(opened().scan(Scan(), ["truth"]), "truth")]
        assert found == truths
        assert [type(one) for one in found] == [type(one) for one in truths]

    def test_it_is_erased_and_expires(self, opened: OpenedFeedback) -> None:
        store = opened()
        store.write([feedback(n) for n in range(70)])
        store.write([feedback(n, id=f"k{n}", prediction="", key=f"person-{n}") for n in range(3)])
        assert store.erase("default", ["r000005", "r000069", ""], ["person-1", ""]) == 3
        assert store.erase("default", [], []) == 0
        assert store.expire("default", "fraud", START + HOUR) == 61
        left = [one for (one,) in lines(store.scan(Scan(), ["id"]), "id")]
        assert left == [f"f{n:06d}" for n in range(60, 69)]
