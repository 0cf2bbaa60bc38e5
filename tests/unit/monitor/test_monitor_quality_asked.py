"""What people ask of a model's quality becomes a plan, or is refused with what there is."""

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.evaluation.metrics import base_of
from modelworks.evaluation.predictions import Task
from modelworks.monitor.quality.asked import (
    Asked,
    checked,
    document,
    metrics_of,
    planned,
    restored,
)
from modelworks.monitor.quality.plan import HEADLINES, Plan, plan_of

pytestmark = pytest.mark.unit


def signature(*outputs, classes=(), features=("age", "country")):
    specs = tuple(TensorSpec(name, kind, (None,), role) for name, kind, role in outputs)
    inputs = (TensorSpec("input", Datatype.FP32, (None, len(features))),)
    return Signature(inputs, specs, Layout.MATRIX, features, classes)


BINARY = signature(
    ("label", Datatype.INT64, Role.LABEL),
    ("probabilities", Datatype.FP32, Role.PROBABILITIES),
    classes=(0, 1),
)
TENSOR = signature(("scores", Datatype.FP32, Role.TENSOR), ("tags", Datatype.INT64, Role.TENSOR))
NUMBER = signature(("variable", Datatype.FP32, Role.SCORE))


@pytest.mark.parametrize("of", [BINARY, TENSOR, NUMBER])
def test_nothing_asked_is_what_the_signature_says(of):
    assert planned(of, Asked()) == plan_of(of)


def test_slices_and_metrics_beside_what_the_signature_says():
    asked = Asked(
        slices=("country", "in.age*country", "caller", "header.X-App"),
        metrics=("recall", "precision"),
        fewest=50,
    )
    plan = planned(BINARY, asked)
    assert plan.slices == ("in.country", "in.age*in.country", "caller", "header.x-app")
    assert plan.wanted == ("recall", "precision")
    assert (plan.task, plan.label, plan.score) == (Task.BINARY, "out.label", "out.probabilities")
    assert (plan.classes, plan.fewest) == (("0", "1"), 50)


@pytest.mark.parametrize(
    ("of", "asked", "plan"),
    [
        (
            TENSOR,
            Asked(Task.MULTILABEL, "tags", "out.scores", classes=("a", "b")),
            Plan(Task.MULTILABEL, "out.tags", "out.scores", ("a", "b")),
        ),
        (
            NUMBER,
            Asked(Task.RANKING),
            Plan(Task.RANKING, score="out.variable", query="id"),
        ),
        (
            TENSOR,
            Asked(Task.RANKING, score="scores", query="country"),
            Plan(Task.RANKING, score="out.scores", query="in.country"),
        ),
        (TENSOR, Asked(Task.REGRESSION, "scores"), Plan(Task.REGRESSION, "out.scores")),
        (
            BINARY,
            Asked(Task.MULTICLASS),
            Plan(Task.MULTICLASS, "out.label", "out.probabilities", ("0", "1")),
        ),
    ],
)
def test_a_task_that_the_signature_does_not_tell(of, asked, plan):
    assert planned(of, asked) == plan


@pytest.mark.parametrize(
    ("of", "asked", "field", "said"),
    [
        (BINARY, Asked(slices=("region",)), "slices", "no column 'region': inputs (age, country)"),
        (BINARY, Asked(slices=("age*age",)), "slices", "two different"),
        (BINARY, Asked(slices=("out.nope",)), "slices", "out.nope"),
        (BINARY, Asked(label="nope"), "label", "there are label, probabilities"),
        (BINARY, Asked(metrics=("rmse",)), "metrics", "none of binary: accuracy"),
        (BINARY, Asked(metrics=("ndcg@5",)), "metrics", "ndcg@5"),
        (BINARY, Asked(classes=("a", "b", "c")), "classes", "a binary model has two"),
        (TENSOR, Asked(metrics=("mae",)), "task", "binary, multiclass"),
        (TENSOR, Asked(Task.RANKING), "score", "which output sorts"),
        (TENSOR, Asked(Task.MULTILABEL), "label", "which output is it"),
        (NUMBER, Asked(Task.RANKING, query="session"), "query", "no column 'session'"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(of, asked, field, said):
    with pytest.raises(InvalidError) as found:
        planned(of, asked)
    assert found.value.field == field
    assert said in found.value.message


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Asked(query="country"), "query"),
        (Asked(slices=tuple(f"c{n}" for n in range(21))), "slices"),
        (Asked(fewest=1), "fewest"),
    ],
)
def test_what_no_signature_can_help(asked, field):
    with pytest.raises(InvalidError) as found:
        checked(asked)
    assert found.value.field == field


def test_it_is_kept_as_json_and_a_newer_field_is_left_out():
    asked = Asked(Task.RANKING, slices=("country",), query="country", metrics=("ndcg",))
    assert restored({**document(asked), "colour": "red"}) == asked


@pytest.mark.parametrize("task", list(Task))
def test_the_usual_metrics_are_among_those_that_can_be_asked(task):
    assert {base_of(name) for name in HEADLINES[task]} <= metrics_of(task)
