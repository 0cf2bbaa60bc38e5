"""What is asked of a model's quality: kept, audited, and done by the duty on real records."""

import numpy as np
import pytest

from modelworks.control.records.service import Records
from modelworks.control.service import Factory
from modelworks.control.watching.quality import Quality
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.home import Home
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.evaluation.predictions import Task
from modelworks.monitor.quality.asked import Asked
from modelworks.testing.candidates import candidate
from modelworks.testing.records import HOUR, START, record

pytestmark = pytest.mark.unit
NOW = (START // HOUR * HOUR + HOUR) / 1e9 + 181


def signature(*outputs, classes=()):
    inputs = (TensorSpec("input", Datatype.FP32, (None, 2)),)
    specs = tuple(TensorSpec(name, kind, (None,), role) for name, kind, role in outputs)
    return Signature(inputs, specs, Layout.MATRIX, ("x", "country"), classes)


BINARY = signature(("label", Datatype.INT64, Role.LABEL), classes=(0, 1))
SCORED = signature(("relevance", Datatype.FP32, Role.SCORE))
TAGGED = signature(("tags", Datatype.INT64, Role.TENSOR))


@pytest.fixture
def factory(tmp_path):
    with Factory(Home(tmp_path / "home"), actor="ana", clock=lambda: int(NOW * 1e9)) as factory:
        one = candidate(tmp_path / "work", b"model", "fraud")
        factory.publish(type(one)(**{**vars_of(one), "signature": BINARY}))
        yield factory


def vars_of(value):
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def test_it_is_kept_audited_and_shown(factory):
    verbs = factory.watching.qualities
    verbs.put("fraud", Asked(slices=("country",), metrics=("recall",)))
    found = verbs.put("fraud", Asked(slices=("country", "x")))
    assert found.plan.slices == ("in.country", "in.x")
    assert verbs.find("fraud").slices == ("country", "x")
    assert verbs.find("other") == Asked()
    shown = verbs.show("fraud:1.0.0")
    assert (shown.asked.actor, shown.plan) == ("ana", found.plan)
    verbs.remove("fraud")
    assert verbs.show("fraud").asked is None
    acts = [(one.act, one.actor) for one in factory.deploying.audited("quality/fraud")]
    assert acts == [("remove", "ana"), ("set", "ana"), ("set", "ana")]
    (_, second, first) = factory.deploying.audited("quality/fraud")
    assert first.detail["before"] is None
    assert second.detail["before"]["metrics"] == ["recall"]
    with pytest.raises(NotFoundError):
        verbs.remove("fraud")


def test_what_does_not_fit_is_not_kept(factory):
    verbs = factory.watching.qualities
    with pytest.raises(InvalidError, match="no column 'region'"):
        verbs.put("fraud", Asked(slices=("region",)))
    with pytest.raises(NotFoundError):
        verbs.put("nobody", Asked())
    assert verbs.every() == []
    assert factory.deploying.audited("quality/fraud") == []


def test_a_deleted_model_takes_it_along(factory):
    factory.watching.qualities.put("fraud", Asked(fewest=40))
    factory.delete("fraud")
    assert factory.watching.qualities.every() == []


@pytest.fixture
def verbs(tmp_path):
    return Records(Home(tmp_path / "recorded"), clock=lambda: int(NOW * 1e9))


def filled(verbs, rows, truths, requests=60):
    """Requests of the hour before now, and what was true of their items."""
    begin, kept = START // HOUR * HOUR, []
    for number in range(requests):
        one = record(number)
        inputs, outputs = rows(number)
        count = len(next(iter(outputs.values())))
        changes = {
            "at_ns": begin + number * 10**9,
            "version": "1.0.0",
            "rows": count,
            "inputs": inputs,
            "outputs": outputs,
        }
        kept.append(type(one)(**{**vars_of(one), **changes}))
        for item, truth in enumerate(truths(number)):
            told = {"model": "fraud", "prediction": one.id, "item": item, "truth": truth}
            verbs.intake.message(told)
    verbs.store.write(kept)
    verbs.compact()


def done(verbs, tmp_path, of, asked):
    duty = Quality(verbs.joining, lambda _: of, tmp_path / "quality", asked=lambda _: asked)
    return duty.run(NOW, {})


def values(found):
    return {
        (one.labels["metric"], one.labels["slice"]): one.values[0]
        for one in found.series
        if one.name == "quality"
    }


def test_the_duty_cuts_by_the_slices_that_are_asked(verbs, tmp_path):
    filled(
        verbs,
        lambda n: ({"x": [0.0], "country": ["cn" if n % 2 else "de"]}, {"label": [1]}),
        lambda n: [int(n % 2 == 0 or n % 4 == 1)],  # cn: right every second time
    )
    asked = Asked(slices=("country",), metrics=("accuracy",), fewest=20)
    found = values(done(verbs, tmp_path, BINARY, asked))
    assert found["accuracy", "in.country=de"] == 1
    assert found["accuracy", "in.country=cn"] == pytest.approx(0.5)
    assert {metric for metric, _ in found} == {"accuracy"}


def test_the_duty_measures_a_ranking_request_by_request(verbs, tmp_path):
    filled(
        verbs,
        lambda n: ({"x": [0.0] * 3, "country": ["cn"] * 3}, {"relevance": [0.9, 0.5, 0.1]}),
        lambda n: [0, 1, 0],  # the second place is right
    )
    found = values(done(verbs, tmp_path, SCORED, Asked(Task.RANKING)))
    assert found["mrr", "*"] == pytest.approx(0.5)
    assert {"ndcg", "map"} <= {metric.partition("@")[0] for metric, _ in found}


def test_the_duty_measures_several_labels(verbs, tmp_path):
    filled(
        verbs,
        lambda n: ({"x": [0.0], "country": ["cn"]}, {"tags": [[1, 0, 1]]}),
        lambda n: [[1, 0, int(n % 2)]],
    )
    asked = Asked(Task.MULTILABEL, label="tags", classes=("a", "b", "c"))
    found = values(done(verbs, tmp_path, TAGGED, asked))
    assert found["accuracy", "*"] == pytest.approx(0.5)  # all three right
    assert found["micro_recall", "*"] == 1
    assert values(done(verbs, tmp_path / "other", TAGGED, Asked())) == {}


def test_a_version_that_it_does_not_fit_is_watched_as_usual_and_said(verbs, tmp_path):
    filled(verbs, lambda n: ({"x": [0.0]}, {"label": [1]}), lambda n: [np.int64(1).item()])
    found = done(verbs, tmp_path, BINARY, Asked(slices=("gone",)))
    assert values(found)["accuracy", "*"] == 1
    assert "fraud:1.0.0 is watched as its signature says: slices:" in found.said
