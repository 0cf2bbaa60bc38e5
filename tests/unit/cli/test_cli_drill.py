"""`modelworks drill`: what cannot be drilled is said before anything is started."""

import pytest

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.core.semver import Semver
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit
GOOD = """
kind: Rollout
metadata: {name: fraud-2}
spec:
  route: fraud
  stable: 1.0.0
  candidate: 2.0.0
  steps: [{share: 10%, bake: 5m}, {share: 100%}]
  primary: {metric: error_rate, margin: 1pp}
"""


def test_without_a_name_and_without_a_model_nothing_is_drilled(type_, tmp_path):
    done = type_("drill")
    assert (done.code, "name a roll-out or a model" in done.err) == (Exit.INVALID, True)
    done = type_("drill", "nobody")
    assert (done.code, "no roll-out and no model" in done.err) == (Exit.NOT_FOUND, True)
    path = tmp_path / "rollout.yaml"
    path.write_text(GOOD)
    assert type_("drill", "-f", path).code == Exit.NOT_FOUND  # no such model
    path.write_text(GOOD + "---" + GOOD.replace("fraud-2", "fraud-3"))
    done = type_("drill", "-f", path)
    assert (done.code, "has 2 roll-outs" in done.err) == (Exit.INVALID, True)
    path.write_text(GOOD.replace("10%", "110%"))
    done = type_("drill", "-f", path)
    assert (done.code, "spec.steps[0].share" in done.err) == (Exit.INVALID, True)
    assert type_("drill", "fraud", "--fault", "rude").code == Exit.USAGE


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("metric: error_rate, margin: 1pp", "metric: cost, margin: 5%", "cost"),
        ("candidate: 2.0.0", "candidate: 2.0.0\n  strategy: shadow", "moves no traffic"),
    ],
)
def test_a_plan_that_nothing_can_be_drilled_of_is_refused(
    type_, home, tmp_path, before, after, said
):
    with Factory(home) as factory:
        factory.publish(candidate(tmp_path / "1", version=Semver.parse("1.0.0")))
    path = tmp_path / "rollout.yaml"
    path.write_text(GOOD.replace(before, after))
    done = type_("drill", "-f", path)
    assert done.code == Exit.INVALID, done.err
    assert said in done.err


def test_records_that_are_not_there_are_told(type_, home, tmp_path):
    with Factory(home) as factory:
        factory.publish(candidate(tmp_path / "1", version=Semver.parse("1.0.0")))
    done = type_("drill", "fraud", "--records")
    assert done.code == Exit.INVALID
    assert "there are no records of it; without --records" in done.err
