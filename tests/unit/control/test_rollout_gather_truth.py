"""What feedback says of the arms, by metric and slice; and which metrics a plan may name."""

from dataclasses import replace

import pytest

from modelworks.control.rollouts.gathering import truth
from modelworks.control.rollouts.gathering.named import fitting, problems
from modelworks.control.rollouts.gathering.truth import Truth
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.records import Feedback, Record
from modelworks.core.rollouts import Direction, Kind, Metric, Plan, Step, Strategy, Sums
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.ext.records.stores import FolderFeedback, FolderRecords
from modelworks.monitor.feedback.joining import HOUR_NS, Join
from modelworks.protocol.manifest.problems import ManifestError
from modelworks.protocol.manifest.rollout_plan import load_rollouts
from modelworks.rollout.compare import compare
from modelworks.testing.records import START

pytestmark = pytest.mark.unit
S = 1_000_000_000
OLD, NEW = "1.0.0", "2.0.0"
LOWER, HIGHER = Direction.LOWER, Direction.HIGHER
RIGHT = Metric("accuracy", Kind.RATE, HIGHER, 0.05, labelled=True)
WRONG = Metric("wrong_rate", Kind.RATE, LOWER, 0.05, labelled=True)
MAE = Metric("mae", Kind.MEAN, LOWER, 0.5, low=0.0, high=0.0, labelled=True)
MSE = replace(MAE, name="mse")
REVENUE = Metric("revenue", Kind.MEAN, HIGHER, 1.0, low=0.0, high=0.0)
CLICK = Metric("click", Kind.RATE, HIGHER, 0.05)
CLASSES = Signature(
    (TensorSpec("x", Datatype.FP64, (None,)),),
    (TensorSpec("label", Datatype.INT64, (None,), role=Role.LABEL),),
    classes=(0, 1),
)
NUMBERS = replace(
    CLASSES, outputs=(TensorSpec("y", Datatype.FP64, (None,), Role.SCORE),), classes=()
)
SILENT = replace(CLASSES, outputs=(TensorSpec("t", Datatype.INT64, (None,)),), classes=())


def plan(primary=RIGHT, **fields):
    usual = {"name": "fraud-2", "route": "fraud", "stable": OLD, "candidates": (NEW,)}
    usual |= {"strategy": Strategy.CANARY, "steps": (Step(0.5), Step(1.0)), "primary": primary}
    return Plan(**{**usual, "sample": 50, "labels": 1.0, **fields})


class Place:
    def __init__(self, folder, signature=CLASSES):
        self.records, self.feedback = FolderRecords(folder / "r"), FolderFeedback(folder / "f")
        self.join = Join(self.records, self.feedback, folder / "joins")
        self.joined = []
        window = self.join.window
        self.join.window = lambda scan, columns=(): (
            self.joined.append(scan) or window(scan, columns)
        )
        self.gather = Truth(lambda: self.join, lambda _: signature)
        self.told = 0
        self.now = 40_000

    def serve(self, numbers, say, rows=1):
        """Every second request is the candidate's; a request a second."""
        self.records.write(
            [
                Record(
                    f"r{n}",
                    START + n * S,
                    "fraud",
                    (OLD, NEW)[n % 2],
                    rows=rows,
                    outputs={name: [value] * rows for name, value in say(n).items()},
                    inputs={"country": ["de" if n % 4 < 2 else "fr"] * rows},
                )
                for n in numbers
            ]
        )

    def tell(self, numbers, truth=lambda _: None, **outcomes):
        self.told += 1
        when = START + (50_000 + self.told) * S
        given = []
        for n in numbers:
            named = {name: value(n) for name, value in outcomes.items()}
            place = Feedback(f"f{self.told}-{n}", "fraud", when, when, f"r{n}", truth=truth(n))
            given.append(replace(place, outcomes=named))
        self.feedback.write(given)

    def at(self, of, seconds=0, since=0):
        self.now += 15
        seconds = seconds or self.now
        return self.gather(of, START + since * S, START + seconds * S)


def test_right_and_wrong_by_slice(tmp_path):
    place = Place(tmp_path)
    place.serve(range(400), lambda n: {"label": 1 if n % 8 == 3 else 0})
    place.tell(range(300), lambda _: 0)
    found = place.at(plan(guardrails=(WRONG,), slices=("country=de", "country=fr")))
    assert found[OLD].metrics == {"accuracy": Sums(150, 150, 150), "wrong_rate": Sums(150, 0, 0)}
    assert found[NEW].metrics["accuracy"] == Sums(150, 112, 112)  # 38 of 150
    assert found[NEW].metrics["wrong_rate"] == Sums(150, 38, 38)
    assert found[NEW].slices["country=de"]["accuracy"] == Sums(75, 75, 75)
    assert found[NEW].slices["country=fr"]["accuracy"] == Sums(75, 37, 37)


def test_numbers_are_told_by_how_far_off_they_are(tmp_path):
    place = Place(tmp_path, NUMBERS)
    place.serve(
        range(400), lambda n: {"y": float(n) + (0.5 if n % 2 else -0.25) * (1 + n % 4 // 2)}
    )
    place.tell(range(400), float)
    found = place.at(plan(MAE, guardrails=(MSE,)))
    assert found[OLD].metrics["mae"] == Sums(200, 75.0, 0.0625 * 100 + 0.25 * 100)
    assert found[NEW].metrics["mae"] == Sums(200, 150.0, 0.25 * 100 + 1.0 * 100)
    assert found[NEW].metrics["mse"] == Sums(200, 125.0, 0.0625 * 100 + 1.0 * 100)
    close = compare(MAE, found[OLD].metrics["mae"], found[NEW].metrics["mae"], 0.01, 0.05)
    assert close.passed
    strict = replace(MAE, margin=0.1)
    assert compare(strict, found[OLD].metrics["mae"], found[NEW].metrics["mae"], 0.01, 0.05).harmed


def test_what_feedback_tells_by_name_is_a_mean_or_a_rate(tmp_path):
    place = Place(tmp_path)
    place.serve(range(200), lambda _: {"label": 0})
    place.tell(range(200), revenue=lambda n: 3.0 + n % 2, click=lambda n: n % 4 == 0)
    found = place.at(plan(REVENUE, guardrails=(CLICK, RIGHT)))
    assert found[NEW].metrics == {"revenue": Sums(100, 400.0, 1600.0), "click": Sums(100, 0.0, 0.0)}
    assert found[OLD].metrics["click"] == Sums(100, 50.0, 50.0)


def test_a_request_of_several_rows_counts_once(tmp_path):
    place = Place(tmp_path)
    place.serve(range(100), lambda _: {"label": 0}, rows=5)
    place.tell(range(100), lambda n: n % 2)
    found = place.at(plan())
    assert found[OLD].metrics["accuracy"] == Sums(50, 50, 50)
    assert found[NEW].metrics["accuracy"] == Sums(50, 0, 0)


def test_only_hours_that_changed_are_joined_again(tmp_path):
    place = Place(tmp_path)
    place.serve(range(0, 10_800, 20), lambda _: {"label": 0})
    place.serve(range(1, 10_800, 20), lambda _: {"label": 0})
    assert place.at(plan()) == {}
    assert place.joined == []  # nobody told anything of any hour
    place.tell(range(0, 200, 20), lambda _: 0)
    assert place.at(plan())[OLD].metrics["accuracy"].count == 10
    assert [one.since_ns for one in place.joined] == [START]
    place.joined.clear()
    assert place.at(plan())[OLD].metrics["accuracy"].count == 10
    assert place.joined == []
    place.tell(range(7_201, 7_401, 20), lambda _: 1)
    found = place.at(plan())
    assert found[NEW].metrics["accuracy"] == Sums(10, 0, 0)
    assert found[OLD].metrics["accuracy"].count == 10
    assert START + HOUR_NS not in {one.since_ns for one in place.joined}


def test_a_large_hour_is_looked_at_seldom(tmp_path, monkeypatch):
    monkeypatch.setattr(truth, "PACE", 4)  # records a second
    place = Place(tmp_path)
    place.serve(range(0, 800, 2), lambda _: {"label": 0})
    place.tell(range(0, 100, 2), lambda _: 0)
    assert place.at(plan(), 2_000)[OLD].metrics["accuracy"].count == 50
    place.tell(range(100, 200, 2), lambda _: 0)
    assert place.at(plan(), 2_099)[OLD].metrics["accuracy"].count == 50
    assert place.at(plan(), 2_101)[OLD].metrics["accuracy"].count == 100


def test_what_is_not_joined_in_a_look_is_joined_in_the_next(tmp_path):
    place = Place(tmp_path)
    place.serve(range(0, 10_800, 20), lambda _: {"label": 0})
    place.tell(range(0, 10_800, 20), lambda _: 0)
    counts = []
    for _ in range(3):
        found = place.gather(plan(), START, START + 40_000 * S, most=1)
        counts.append(found[OLD].metrics["accuracy"].count)
    assert counts == [180, 360, 540]
    later = place.gather(plan(), START + 7_200 * S, START + 40_000 * S)  # another step
    assert later[OLD].metrics["accuracy"].count == 180


def test_quality_is_what_the_model_is_for():
    quality = Metric("quality", Kind.GIVEN, HIGHER, 0.02, labelled=True)
    of = plan(quality, guardrails=(replace(RIGHT, name="click", labelled=False),))
    (kind,) = {fitting(of, lambda _: CLASSES).primary}
    assert (kind.name, kind.kind, kind.direction, kind.margin) == (
        "accuracy",
        Kind.RATE,
        HIGHER,
        0.02,
    )
    found = fitting(of, lambda _: NUMBERS).primary
    assert (found.name, found.kind, found.direction) == ("mae", Kind.MEAN, LOWER)
    assert found.labelled
    assert found.high <= found.low  # no bounds are known: the law of large samples


@pytest.mark.parametrize(
    ("primary", "signature", "said"),
    [
        (RIGHT, NUMBERS, "says numbers, not classes: name mae or mse"),
        (MAE, CLASSES, "says classes, not numbers: name accuracy"),
        (Metric("quality", Kind.GIVEN, HIGHER, 0.02), SILENT, "name what feedback tells"),
    ],
)
def test_metrics_that_do_not_suit_a_model_are_refused(primary, signature, said):
    with pytest.raises(InvalidError, match=said):
        fitting(plan(primary), lambda _: signature)


def test_versions_that_nobody_knows_are_somebody_elses_refusal():
    def nobody(ref):
        raise NotFoundError(ref, field="ref")

    assert (
        fitting(plan(Metric("error_rate", Kind.RATE, LOWER, 0.01)), nobody).primary.margin == 0.01
    )


@pytest.mark.parametrize(
    ("metric", "fields", "where", "said"),
    [
        (Metric("cost", Kind.MEAN, LOWER, 0.1), {}, "primary", "modelworks bench"),
        (Metric("timeout_rate", Kind.RATE, LOWER, 0.1), {}, "primary", "error_rate counts"),
        (Metric("accuracy", Kind.MEAN, HIGHER, 0.1), {}, "primary", "measured as a rate"),
        (
            Metric("disagreement", Kind.RATE, LOWER, 0.1, absolute=True),
            {},
            "primary",
            "begin with a step of 0%",
        ),
        (Metric("drift", Kind.GIVEN, LOWER, 0.1), {}, "primary", "absolute"),
        (Metric("churn", Kind.GIVEN, LOWER, 0.1), {}, "primary", "nobody measures a given"),
        (Metric("churn", Kind.RATIO, LOWER, 0.1), {}, "primary", "nobody measures a ratio"),
        (
            Metric("error_rate", Kind.RATE, LOWER, 0.1),
            {"slices": ("country=de",)},
            "slices",
            "servers, which know no slices",
        ),
    ],
)
def test_what_nobody_measures_is_refused_with_the_cure(metric, fields, where, said):
    ((field, words),) = problems(plan(metric, **fields))
    assert field == where
    assert said in words


def test_what_is_measured_is_not():
    drift = Metric("drift", Kind.GIVEN, LOWER, 0.1, absolute=True)
    told = replace(drift, name="disagreement", kind=Kind.RATE)
    errors = Metric("error_rate", Kind.RATE, LOWER, 0.1)
    slow = Metric("latency_p99_9_ms", Kind.QUANTILE, LOWER, 0.1)
    first = (Step(0.0), Step(1.0))
    guards = (drift, errors, slow, MAE, REVENUE, CLICK)
    assert problems(plan(told, guardrails=guards, steps=first)) == ()
    assert problems(plan(told, replay=1.0, steps=first)) == ()
    assert problems(plan(told, replay=1.0)) != ()  # what is played is evidence of a step of 0 %
    assert problems(plan(RIGHT, slices=("country=de",), guardrails=(WRONG,))) == ()


MANIFEST = b"""kind: Rollout
metadata: {name: fraud-2}
spec:
  route: fraud
  stable: 1.0.0
  candidate: 2.0.0
  steps: [{share: 50%}, {share: 100%}]
  primary: {metric: error_rate}
  guardrails:
  - {metric: cost, margin: 20%}
"""


def test_a_manifest_says_the_line():
    assert len(load_rollouts([("r.yaml", MANIFEST)]).documents) == 1
    with pytest.raises(ManifestError) as caught:
        load_rollouts([("r.yaml", MANIFEST)], "", problems)
    (problem,) = caught.value.problems
    assert problem.path == "spec.guardrails[0]"
    assert problem.mark.line == 10
    assert problem.message.startswith("cost: what an answer costs hangs on")
