"""What records say of the arms: pairs of copies, drift, callers; planted, read in portions."""

import json
import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.control.rollouts.evidence import Earned, Further, together
from modelworks.control.rollouts.gathering import copies, drifting, reading
from modelworks.control.rollouts.gathering.recorded import Recorded
from modelworks.control.rollouts.kept import Asked, Kept
from modelworks.core import codec
from modelworks.core.errors import NotFoundError, UnavailableError
from modelworks.core.records import Batch, Record, Scan
from modelworks.core.rollouts import (
    Direction,
    Kind,
    Metric,
    Outcome,
    Phase,
    Plan,
    Rollout,
    Step,
    Strategy,
    Sums,
)
from modelworks.core.routes import Source
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.ext.records.stores import FolderRecords
from modelworks.rollout.rules import decide
from modelworks.testing.records import START

pytestmark = pytest.mark.unit
S = 1_000_000_000
OLD, NEW = "1.0.0", "2.0.0"
OTHERWISE = Metric("disagreement", Kind.RATE, Direction.LOWER, 0.05, absolute=True)
DRIFT = Metric("drift", Kind.GIVEN, Direction.LOWER, 0.1, absolute=True)
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, 0.05)
SLOW = Metric("latency_p50_ms", Kind.QUANTILE, Direction.LOWER, 0.5, relative=True, quantile=0.5)
LABELS = Signature(
    (TensorSpec("x", Datatype.FP64, (None,)),),
    (TensorSpec("label", Datatype.BYTES, (None,), role=Role.LABEL),),
    classes=("no", "yes"),
)
SCORES = replace(LABELS, outputs=(TensorSpec("y", Datatype.FP64, (None,), role=Role.SCORE),))


def plan(primary=OTHERWISE, **fields):
    usual = {"name": "fraud-2", "route": "fraud", "stable": OLD, "candidates": (NEW,)}
    usual |= {"strategy": Strategy.CANARY, "steps": (Step(0.0), Step(1.0)), "primary": primary}
    return Plan(**{**usual, "sample": 50, **fields})


class Place:
    """A store of records, a roll-out as it is kept, and who gathers."""

    def __init__(self, folder, signature=LABELS, asked=Asked()):  # noqa: B008 - frozen
        self.store = FolderRecords(folder)
        self.signature = signature
        self.kept = Kept(Rollout(plan()), asked)
        self.begin()

    def begin(self):
        """As a worker that starts."""
        self.gather = Recorded(
            lambda: self.store, lambda _: self.signature, lambda _: self.kept, self.keep
        )

    def keep(self, name, documents):
        assert name == "fraud-2"
        self.kept = codec.decode(
            Kept, json.loads(json.dumps(codec.encode(replace(self.kept, copies=documents))))
        )

    def at(self, seconds, of=None, since=0.0):
        return self.gather(of or plan(), START + int(since * S), START + int(seconds * S))


def asked(number, said, version=OLD, copy=False, at=None, **more):
    """A request, ten a second; a copy comes 50 ms later."""
    when = START + (number * S // 10 if at is None else int(at * S)) + (S // 20 if copy else 0)
    name = f"r{number:06d}" + (f"~{version}" if copy else "")
    values = {"status": 200, "total_ns": 4_000_000, "queue_ns": 1_000_000} | more
    outputs = None if said is None else {("label" if isinstance(said, str) else "y"): [said]}
    inputs = {"x": [float(number)], "country": ["de" if number % 2 else "fr"]}
    return Record(name, when, "fraud", version, outputs=outputs, inputs=inputs, **values)


def pairs(numbers, flipped=(), failed=(), **more):
    """Both records of requests that were copied."""
    made = []
    for number in numbers:
        said = "yes" if number % 3 else "no"
        other = {"yes": "no", "no": "yes"}[said] if number in flipped else said
        made.append(asked(number, said))
        if number in failed:
            made.append(asked(number, None, NEW, copy=True, status=500))
        else:
            made.append(asked(number, other, NEW, copy=True, **more))
    return made


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "r")


def test_pairs_are_counted_once_in_whatever_portions_they_come(place):
    made = pairs(range(400), flipped=range(0, 400, 40), failed={7, 8})
    place.store.write([*made[:300], asked(9_000, "no", at=14.0)])  # nobody copied the last
    first = place.at(20)[NEW].metrics["disagreement"]
    assert first == Sums(150, 6)  # 4 flips, 2 without an answer
    assert place.at(21)[NEW].metrics["disagreement"] == first  # nothing new
    place.store.write(made[300:][::2])  # the callers' first, the copies reach the store later
    assert place.at(45)[NEW].metrics["disagreement"] == first
    place.store.write(made[300:][1::2])
    found = place.at(60)
    assert found[NEW].metrics["disagreement"] == Sums(400, 12)
    assert found[NEW].requests == 0  # servers count copies as requests of the version they ask


def test_slices_and_worst_examples_are_kept_with_the_roll_out(place):
    of = plan(slices=("country=de", "country=fr"))
    place.store.write(pairs(range(400), flipped=range(0, 400, 20)))  # all of fr
    found = place.at(60, of)
    assert found[NEW].slices["country=de"]["disagreement"] == Sums(200, 0)
    assert found[NEW].slices["country=fr"]["disagreement"] == Sums(200, 20)
    told = copies.report_of(place.kept)[NEW]
    assert (told["count"], told["agreement"]) == (400, 0.95)
    assert len(told["worst"]) == 20
    assert all(int(one["id"][1:]) % 20 == 0 for one in told["worst"])
    assert "tally" not in told
    flips = {(one, other): count for one, other, count in told["flips"]}
    assert flips == {("yes", "no"): 13, ("no", "yes"): 7}
    assert len(json.dumps(place.kept.copies)) < 20_000


def test_a_worker_that_starts_again_goes_on_with_what_was_kept(place):
    place.store.write(pairs(range(200), flipped={1, 2, 3}, failed={4}))
    before = place.at(60)[NEW]
    place.begin()
    again = place.at(60)[NEW]
    assert again.metrics == before.metrics
    place.store.write(pairs(range(600, 700), flipped={601}))
    assert place.at(120)[NEW].metrics["disagreement"] == Sums(300, 5)
    told = copies.report_of(place.kept)[NEW]
    assert told["worst"][0] == {
        "id": "r000004",
        "stable": "'yes'",
        "candidate": "",
        "distance": None,
    }
    # the next step has no copies; what is known of pairs stands, their shares do not matter
    later = place.at(300, since=200)
    assert later[NEW].metrics == {"disagreement": Sums(300, 5)}


def test_errors_and_latencies_of_copies_are_held_against_the_same_requests(place):
    of = plan(ERRORS, guardrails=(SLOW,))
    place.store.write(pairs(range(300), failed=range(90), total_ns=21_000_000))
    place.store.write([asked(n, "no", total_ns=900_000_000) for n in range(500, 900)])  # no copies
    found = place.at(100, of)
    assert found[OLD].metrics["error_rate"] == Sums(300, 0)
    assert found[NEW].metrics["error_rate"] == Sums(300, 90)
    spent = {name: found[name].metrics["latency_p50_ms"] for name in (OLD, NEW)}
    assert [spent[OLD].count, spent[NEW].count] == [300, 210]
    ends = {name: sorted(map(float, one.buckets)) for name, one in spent.items()}
    assert ends[OLD][0] < 3.0 <= ends[OLD][1]  # without the wait in the queue
    assert ends[NEW][0] < 20.0 <= ends[NEW][1] < 20.0 * 1.06
    earned = Earned(START)
    earned.arms = {OLD: {"requests": 700.0, "le 0.9": 400.0}, NEW: {"requests": 300.0}}
    evidence = earned.evidence(of, {OLD: 1.0, NEW: 0.0}, START + 100 * S, found)
    assert evidence.arms[0].metrics["error_rate"] == Sums(300, 0)
    assert evidence.arms[1].requests == 300
    counted = earned.evidence(of, {OLD: 0.5, NEW: 0.5}, START + 100 * S, found)
    assert counted.arms[0].metrics["error_rate"] == Sums(700, 0.0)
    rollout = Rollout(of, Phase.RUNNING, 0, START, START, START)
    verdict = decide(rollout, evidence, START + 100 * S)
    assert verdict.outcome is Outcome.ROLL_BACK
    assert {one.metric for one in verdict.findings if one.outcome is Outcome.ROLL_BACK} == {
        "error_rate",
        "latency_p50_ms",
    }


def test_numbers_agree_within_a_tolerance(tmp_path):
    place = Place(tmp_path, SCORES)
    rng = np.random.default_rng(1)
    values = rng.normal(50, 5, 300)
    off = np.where(np.arange(300) % 10 == 0, 1.0, 1e-5)
    made = []
    for number, value in enumerate(values):
        made.append(asked(number, float(value)))
        made.append(asked(number, float(value + off[number]), NEW, copy=True))
    place.store.write(made)
    assert place.at(60)[NEW].metrics["disagreement"] == Sums(300, 30)
    assert copies.report_of(place.kept)[NEW]["rank_correlation"] > 0.98


@pytest.mark.parametrize(
    ("said", "other", "agrees"),
    [
        ([0.2, 0.8], [0.4, 0.6], True),  # the same class is the likeliest
        ([0.2, 0.8], [0.7, 0.3], False),
        ([0.3], [0.4], True),  # the second class's alone
        ([0.3], [0.6], False),
        (0.3, 0.6, False),
    ],
)
def test_probabilities_agree_where_the_class_is_the_same(tmp_path, said, other, agrees):
    spec = TensorSpec("y", Datatype.FP64, (None, 2), role=Role.PROBABILITIES)
    place = Place(tmp_path, replace(LABELS, outputs=(spec,)))
    place.store.write([asked(n, said) for n in range(40)])
    place.store.write([asked(n, other, NEW, copy=True) for n in range(40)])
    assert place.at(60)[NEW].metrics["disagreement"] == Sums(40, 0 if agrees else 40)


def test_lists_of_numbers_agree_where_all_of_them_do(tmp_path):
    place = Place(tmp_path, SCORES)
    place.store.write([asked(n, [1.0, float(n)]) for n in range(40)])
    place.store.write(
        [asked(n, [1.0, n + (0.5 if n < 10 else 0)], NEW, copy=True) for n in range(40)]
    )
    assert place.at(60)[NEW].metrics["disagreement"] == Sums(40, 10)


def test_drift_of_classes_is_measured_since_the_step_began(place):
    of = plan(DRIFT, steps=(Step(0.5), Step(1.0)))
    rng = np.random.default_rng(2)

    def traffic(numbers, share):
        return [
            asked(n, "yes" if rng.random() < (0.3 if n % 2 else share) else "no", (NEW, OLD)[n % 2])
            for n in numbers
        ]

    place.store.write(traffic(range(2_000), 0.3))
    alike = place.at(250, of)
    found = alike[NEW].metrics["drift"]
    assert alike[OLD].metrics["drift"].count == found.count == 1_000
    assert found.low == 0.0
    assert found.total < 0.06 < found.high < 0.15
    place.store.write(traffic(range(3_000, 9_000), 0.6))
    found = place.at(1_000, of, since=290)[NEW].metrics["drift"]
    assert found.count == 3_000  # of the new step alone
    assert 0.2 < found.low < 0.3 < found.high < 0.4


def test_drift_of_numbers_in_a_step_of_copies_is_of_the_same_requests(tmp_path):
    place = Place(tmp_path, SCORES)
    rng = np.random.default_rng(3)
    of = plan(DRIFT, slices=("country=de",))
    made = []
    for number in range(1_500):
        value = float(rng.normal())
        made.append(asked(number, value))
        made.append(asked(number, value + (0.8 if number % 2 else 0.0), NEW, copy=True))
        made.append(asked(number + 50_000, 99.0, at=number / 10 + 0.03))  # nobody copied it
    place.store.write(made)
    found = place.at(200, of)[NEW]
    assert found.metrics["drift"].count == 1_500
    assert 0.1 < found.metrics["drift"].total < 0.25
    assert found.slices["country=de"]["drift"].low > 0.1
    assert math.isclose(found.slices["country=de"]["drift"].total, 0.31, abs_tol=0.05)


def test_unknown_classes_are_named_by_answers_that_are_not_counted():
    known = drifting.Drift()
    of = drifting.Said("out.label", drifting.Form.LABELS)
    everywhere = {"*": np.ones(150, bool)}
    known.add(1, of, ["a"] * 150, everywhere)
    known.add(0, of, ["a", "b"] * 75, everywhere)
    assert known.names == ()
    known.add(0, of, ["a", "b"] * 75, everywhere)
    assert known.names == ("a", "b")
    known.add(1, of, ["c"] * 75 + ["b"] * 75, everywhere)
    stable, candidate = known.sums("*", 0.01, 0.05)
    assert (stable.count, candidate.count) == (100, 150)
    assert candidate.total == 0.5  # what is new is one class more


def test_callers_are_counted_where_records_tell_them_apart(tmp_path):
    place = Place(tmp_path, asked=Asked(Source.HEADER, "X-User"))
    of = plan(ERRORS, steps=(Step(0.2), Step(1.0)))
    made = [
        asked(n, "no", (NEW, OLD)[n % 5 > 0], headers={"x-user": f"u{n % 50}"}) for n in range(400)
    ]
    busy = [asked(n, "no", NEW, headers={"x-user": "u0"}) for n in range(500, 900)]
    place.store.write(made + busy)
    found = place.at(100, of)
    assert (found[OLD].units, found[NEW].units) == (40, 10)
    rollout = Rollout(of, Phase.RUNNING, 0, START, START, START)
    earned = Earned(START)
    earned.arms = {OLD: {"requests": 320.0}, NEW: {"requests": 480.0}}
    shares = {OLD: 0.8, NEW: 0.2}
    sticky = earned.evidence(of, shares, START + 100 * S, found, sticky=True)
    assert decide(rollout, sticky, START + 100 * S).outcome is Outcome.PROMOTE
    loose = earned.evidence(of, shares, START + 100 * S)
    assert "the split of the requests" in decide(rollout, loose, START + 100 * S).sentence


def test_no_look_reads_more_than_its_rows_and_late_records_are_taken(place):
    of = plan()
    seen = []
    read = reading.Reading(START)
    wanted = Scan("default", "fraud", "", START, START + 10_000 * S)
    columns = ("id", "item", "at_ns", "version")

    def take(most):
        read.read(
            place.store, wanted, columns, lambda r: seen.extend(r.columns["id"][r.fresh]), most
        )

    place.store.write(pairs(range(0, 500, 2)))
    take(10**6)
    assert len(seen) == 500
    place.store.write(pairs(range(1, 500, 2)))  # the same minute, later
    take(10**6)
    assert sorted(seen) == sorted(one.id for one in pairs(range(500)))
    place.store.write(pairs(range(10_000, 30_000, 10)))
    place.store.write(pairs(range(40_000, 42_000, 10)))
    take(2_000)
    assert len(seen) == 1_000 + 4_000  # a file is not read in parts
    assert read.left_out_ns == 0
    take(2_000)
    assert read.left_out_ns > 0  # as far behind as this, what lies between is left out
    assert of.name == "fraud-2"


@dataclass
class Listed:
    """A store that is a list: what a scan gives is in the order of time, in batches of any size."""

    batch: int
    records: list = field(default_factory=list)

    def scan(self, wanted, columns=()):
        lines = sorted(
            (at, name, item)
            for name, at, rows in self.records
            for item in range(rows)
            if wanted.since_ns <= at < wanted.until_ns
        )
        for start in range(0, len(lines), self.batch):
            part = lines[start : start + self.batch]
            yield Batch(
                {
                    "id": np.array([name for _, name, _ in part], object),
                    "at_ns": np.array([at for at, _, _ in part], np.int64),
                    "item": np.array([item for _, _, item in part], np.int64),
                },
                len(part),
            )


@given(
    st.lists(st.tuples(st.integers(0, 299), st.integers(0, 100)), max_size=60),
    st.integers(1, 20),
    st.integers(1, 3),
)
def test_every_request_is_given_once_however_late_it_comes(arrivals, batch, rows):
    """Each comes to the store up to 100 s after its time; looks are 15 s apart."""
    store = Listed(batch)
    made = {f"r{n}": (at, at + late) for n, (at, late) in enumerate(arrivals)}
    read, given_ = reading.Reading(START), []
    for now in range(0, 430, 15):
        store.records = [
            (name, START + at * S, rows) for name, (at, comes) in made.items() if comes <= now
        ]
        wanted = Scan("default", "fraud", "", START, START + now * S)
        read.read(store, wanted, (), lambda r: given_.extend(r.columns["id"][r.fresh]))
    assert sorted(given_) == sorted(made)


def test_each_candidate_of_an_experiment_has_a_drift_of_its_own(place):
    names = (NEW, "3.0.0")
    of = plan(
        ERRORS, candidates=names, guardrails=(DRIFT,), strategy=Strategy.EXPERIMENT,
        steps=(Step(0.6),), superiority=True,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    shares = {OLD: 0.3, NEW: 0.3, "3.0.0": 0.7}
    place.store.write(
        [
            asked(n, "yes" if rng.random() < share else "no", arm)
            for n in range(1_500)
            for arm, share in [list(shares.items())[n % 3]]
        ]
    )
    found = place.at(200, of)
    assert found[NEW].metrics["drift"].low == 0.0
    assert found["3.0.0"].metrics["drift"].low > 0.2
    assert found[OLD].metrics["drift"].count == 500


def test_much_traffic_leaves_room_for_what_is_new(place):
    read, seen = reading.Reading(START), []
    columns = ("id", "item", "at_ns", "version")
    for part in range(6):
        place.store.write([asked(n, "no") for n in range(100 * part, 100 * part + 100)])
        wanted = Scan("default", "fraud", "", START, START + 10_000 * S)
        read.read(place.store, wanted, columns, lambda r: seen.append(r.fresh.sum()), 250)
    assert sum(seen) == 600  # two minutes have more than a look may read, and nothing stands still


def test_a_roll_out_of_before_copies_were_kept_is_read():
    told = codec.encode(Kept(Rollout(plan())))
    del told["copies"]
    assert codec.decode(Kept, told).copies == {}
    assert copies.report_of(codec.decode(Kept, told)) == {}


def test_a_gatherer_that_cannot_be_asked_takes_nothing_from_the_others():
    def away(*_):
        raise UnavailableError("nobody answers")

    def there(*_):
        return {NEW: Further({"accuracy": Sums(10, 9)})}

    found = together([away, there])(plan(), 0, 1)
    assert found == {NEW: Further({"accuracy": Sums(10, 9)})}


def test_arms_that_are_no_versions_or_answer_otherwise_are_not_compared(place, tmp_path):
    place.store.write(pairs(range(100)))

    def unknown(ref):
        raise NotFoundError(f"no version '{ref}'", field="ref")

    gather = Recorded(lambda: place.store, unknown, lambda _: place.kept, place.keep)
    found = gather(plan(), START, START + 60 * S)
    assert "disagreement" not in found[NEW].metrics
    by_version = {f"fraud:{OLD}": LABELS, f"fraud:{NEW}": SCORES}
    gather = Recorded(lambda: place.store, by_version.get, lambda _: place.kept, place.keep)
    assert "disagreement" not in gather(plan(), START, START + 60 * S)[NEW].metrics
    quiet = plan(ERRORS, steps=(Step(0.5), Step(1.0)))
    assert place.at(60, quiet) == {}  # nothing of records is asked for
