"""The duty of drift: windows of records against a version's reference, none twice, none lost."""

import numpy as np
import pytest

from modelworks.control.service import Factory
from modelworks.control.watching.drifting import Drift
from modelworks.core.errors import CorruptError, NotFoundError
from modelworks.core.home import Home
from modelworks.core.records import Batch, Part
from modelworks.monitor.drift import archive
from modelworks.monitor.drift.build import build
from modelworks.monitor.series.names import HOUR
from modelworks.monitor.series.sketches import SketchStore
from modelworks.testing.candidates import candidate

T = 1_800_000_000 // HOUR * HOUR


def rows(count, shift=0.0, seed=0):
    random = np.random.default_rng(seed)
    return {"age": random.normal(40 + shift, 5, count), "income": random.normal(0, 1, count)}


class Store:
    """Records that lie in memory."""

    def __init__(self):
        self.lines = []

    def met(self, end, columns, version="1.0.0", model="fraud"):
        count = len(columns["age"])
        at = np.linspace(end - HOUR + 1, end - 1, count) * 1e9
        told = {f"in.{name}": values for name, values in columns.items()}
        told |= {"version": np.array([version] * count, dtype=object), "at_ns": at.astype(np.int64)}
        told["status"] = np.full(count, 200)
        self.lines.append((model, told))

    def _within(self, wanted):
        for model, columns in self.lines:
            mine = (columns["at_ns"] >= wanted.since_ns) & (columns["at_ns"] < wanted.until_ns)
            if wanted.model in {"", model} and mine.any():
                yield model, {k: v[mine] for k, v in columns.items()}

    def parts(self, wanted):
        return [
            Part(model, int(columns["at_ns"][0]), len(columns["at_ns"]), "x")
            for model, columns in self._within(wanted)
        ]

    def scan(self, wanted, columns=()):
        for _, found in self._within(wanted):
            yield Batch(found, len(found["at_ns"]))


@pytest.fixture
def factory(tmp_path):
    with Factory(Home(tmp_path / "home"), actor="ana") as factory:
        factory.publish(candidate(tmp_path / "work", b"x", "fraud"))
        yield factory


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ref.npz"
    path.write_bytes(archive.to_bytes(build(rows(1000, seed=9))))
    return path


@pytest.fixture
def duty(factory, file):
    watching = factory.watching
    watching.references.put("fraud", file)
    store = Store()
    duty = Drift(lambda: store, watching.references.find, SketchStore(factory._scope))
    return duty, store


def told(done):
    return {
        (s.name, s.labels.get("feature", ""), s.labels.get("method", ""), t): v
        for s in done.series
        for t, v in zip(s.times, s.values, strict=True)
    }


def test_the_feature_that_moved_is_the_farthest(duty):
    drift, store = duty
    store.met(T, rows(400))
    store.met(T + HOUR, rows(400, shift=10, seed=3))
    calm = drift.run(T + 181, {})
    found = told(calm)
    assert found["records", "", "", T] == 400
    assert found["drift", "age", "js", T] < 0.15
    moved = told(drift.run(T + HOUR + 181, calm.state))
    assert moved["drift", "age", "js", T + HOUR] > 0.3
    assert moved["drift", "income", "js", T + HOUR] < 0.15
    assert moved["drift", "age", "evidence", T + HOUR] > 0
    assert ("drift", "age", "js", T) not in moved  # each window once


def test_a_window_is_looked_at_when_it_is_over_and_repeated_after_a_kill(duty):
    drift, store = duty
    store.met(T, rows(300))
    early = drift.run(T + 59, {})
    assert not told(early)
    one = drift.run(T + 181, early.state)
    assert told(one) == told(drift.run(T + 181, early.state))
    assert not told(drift.run(T + 120, one.state))


def test_few_rows_say_nothing_and_no_reference_is_quiet(duty):
    drift, store = duty
    store.met(T, rows(10))
    store.met(T, rows(500), version="2.0.0")
    found = told(drift.run(T + 181, {}))
    assert ("drift", "age", "js", T) not in found
    assert found["records", "", "", T] == 10


def test_sketches_of_the_hour_are_kept(duty, factory):
    drift, store = duty
    store.met(T, rows(500))
    drift.run(T + 181, {})
    ((end, kept),) = SketchStore(factory._scope).read("fraud", T - HOUR, T)
    assert end == T
    assert {dict(labels)["feature"] for _, labels in kept} == {"age", "income"}


def test_what_was_missed_is_made_up_for(duty):
    drift, store = duty
    for hour in range(1, 4):
        store.met(T + hour * HOUR, rows(200, seed=hour))
    state = drift.run(T + 181, {}).state
    found = told(drift.run(T + 3 * HOUR + 181, state))
    assert {at for name, _, _, at in found if name == "records"} == {
        T + hour * HOUR for hour in range(1, 4)
    }


def test_a_reference_is_set_listed_replaced_and_removed(factory, file, tmp_path):
    references = factory.watching.references
    assert references.find("fraud", "1.0.0") is None
    kept = references.put("fraud:1.0.0", file)
    assert (kept.model, kept.version, kept.actor) == ("fraud", "1.0.0", "ana")
    assert references.every() == [kept]
    assert references.find("fraud", "1.0.0").rows == 1000
    other = tmp_path / "other.npz"
    other.write_bytes(archive.to_bytes(build(rows(100))))
    references.put("fraud", other)
    assert references.find("fraud", "1.0.0").rows == 100
    references.remove("fraud")
    assert references.find("fraud", "1.0.0") is None
    with pytest.raises(NotFoundError, match="has no reference"):
        references.remove("fraud")


def test_what_is_no_reference_is_refused(factory, tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(CorruptError, match="no reference"):
        factory.watching.references.put("fraud", path)
    with pytest.raises(NotFoundError):
        factory.watching.references.put("fraud", tmp_path / "gone")


def test_a_reference_goes_with_its_version(factory, file):
    factory.watching.references.put("fraud", file)
    factory.delete("fraud:1.0.0")
    assert factory.watching.references.every() == []
