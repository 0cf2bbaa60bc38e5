"""The same question on the same machine goes on; whoever asks for something else begins anew."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelworks.control.optimizing.asked import Asked, check, run_id
from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.model import Artifact, Lineage, ModelVersion
from modelworks.core.optimizing.variants import Goal
from modelworks.core.semver import Semver
from modelworks.optimize import data
from modelworks.optimize.facts import Known
from optimize_fakes import HARDWARE, SIGNATURE, facts, recipe

pytestmark = pytest.mark.unit
ARTIFACT = Artifact("sha256:0", "onnx", 1, ())
VERSION = ModelVersion("default", "fraud", Semver(1, 0, 0), ARTIFACT, SIGNATURE, Lineage(), (), 0)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    return path


def asked(rows: Path, **more) -> Asked:
    return Asked(Goal(**more), data.Asked(evaluation=rows, label="b"), ("int8",))


def told(question: Asked, version: ModelVersion = VERSION, known: str = "int8") -> str:
    return run_id(question, version, Known({known: facts(known)}, {}), HARDWARE)


def test_more_time_for_the_same_question_goes_on_with_it(rows):
    assert told(asked(rows, budget_s=5.0)) == told(asked(rows, budget_s=500.0))


def test_another_question_begins_anew(rows):
    first = asked(rows)
    other = rows.with_name("other.csv")
    other.write_text("a,b\n1,3\n")
    found = [
        told(first),
        told(asked(rows, max_drop=0.1)),
        told(asked(other)),
        told(replace(first, rows=replace(first.rows, label="a"))),
        told(replace(first, rows=replace(first.rows, seed=1))),
        told(replace(first, passes=())),
        told(replace(first, recipe=recipe("int8"))),
        told(first, known="int4"),
        told(first, replace(VERSION, version=Semver(1, 0, 1))),
        told(first, replace(VERSION, artifact=replace(VERSION.artifact, digest="sha256:1"))),
        told(first, replace(VERSION, tenant="another")),  # whose variants are its own
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("goal", "field"),
    [
        (Goal(threads=1024), "threads"),
        (Goal(batches=tuple(range(1, 18))), "batches"),
        (Goal(budget_s=float("nan")), "budget_s"),
    ],
)
def test_a_goal_that_cannot_be_measured_is_refused_before_any_work(goal, field):
    with pytest.raises(InvalidError, match=field) as caught:
        check(Asked(goal), VERSION)
    assert caught.value.field == field


def test_a_format_that_only_its_framework_runs_is_refused():
    native = replace(VERSION, artifact=replace(VERSION.artifact, format="native"))
    with pytest.raises(UnsupportedError, match="--runtime native"):
        check(Asked(), native)
