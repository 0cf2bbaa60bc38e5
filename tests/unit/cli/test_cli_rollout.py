"""`modelworks rollout`: what is wrong with a manifest or a name is told with its place."""

import pytest

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.core.model import Evidence, Verdict
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


def test_plan_says_what_would_be_done(type_, tmp_path):
    path = tmp_path / "rollout.yaml"
    path.write_text(GOOD)
    (found,) = type_("rollout", "plan", "-f", path, "--json").json
    assert (found["route"], found["stable"], found["candidates"]) == ("fraud", "1.0.0", ["2.0.0"])
    assert found["steps"][0] == {"share": 0.1, "bake_s": 300.0, "sample": 0}
    told = type_("rollout", "plan", "-f", path).out
    assert "- step 1 of 2: 10 % of the traffic, for 5 min at least" in told
    assert "- primary: error_rate, lower is better; 1 point worse allowed" in told


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("10%", "110%", "spec.steps[0].share"),
        ("1pp", "-1pp", "spec.primary.margin"),
        ("candidate: 2.0.0", "candidate: 1.0.0", "spec.candidate"),
        ("route: fraud", "rout: fraud", "rout"),
        ("error_rate", "happiness", "kind"),
    ],
)
def test_every_problem_has_its_place(type_, tmp_path, before, after, said):
    path = tmp_path / "rollout.yaml"
    path.write_text(GOOD.replace(before, after))
    for verb in ("plan", "start"):
        done = type_("rollout", verb, "-f", path)
        assert done.code == Exit.INVALID
        assert said in done.err
        assert "rollout.yaml:" in done.err


def test_no_such_roll_out_and_no_such_key(type_, tmp_path):
    for verb in ("status", "watch", "pause", "resume", "promote", "abort", "history", "report"):
        assert type_("rollout", verb, "nobody").code == Exit.NOT_FOUND
    path = tmp_path / "rollout.yaml"
    path.write_text(GOOD)
    done = type_("rollout", "start", "-f", path, "--sticky", "ip:4")
    assert done.code == Exit.INVALID
    assert "header:NAME, cookie:NAME or field:NAME" in done.err
    assert type_("rollout", "start", "-f", path).code == Exit.NOT_FOUND  # no such model
    assert type_("rollout", "status", "--json").json == []


def test_why_not_says_what_is_missing_and_what_failed(type_, home, tmp_path):
    parity = Evidence("parity", Verdict.PASSED, "200 rows agree")
    with Factory(home) as factory:
        for number in ("1.0.0", "2.0.0"):
            version = Semver.parse(number)
            made = candidate(
                tmp_path / number, number.encode(), version=version, evidence=(parity,)
            )
            factory.publish(made)
        factory.set_alias("fraud", "champion", "1.0.0")
    assert type_("why-not", "fraud:1.0.0").code == Exit.OK
    found = type_("why-not", "fraud:2.0.0")
    assert found.code == Exit.GATE
    assert "rollout (missing)" in found.out
    assert "modelworks rollout start" in found.out
    path = tmp_path / "rollout.yaml"
    path.write_text(GOOD)
    assert type_("rollout", "start", "-f", path).code == Exit.OK
    assert "rollout fraud-2 (waiting)" in type_("why-not", "fraud:2.0.0").out
    assert type_("rollout", "abort", "fraud-2", "--reason", "wrong file").code == Exit.OK
    page = tmp_path / "fraud-2.html"
    told = type_("rollout", "report", "fraud-2", "--html", page, "--json")
    assert "wrong file" in told.json["sentence"]
    assert "wrong file" in page.read_text()
    told = type_("rollout", "report", "fraud-2").out
    assert "- not measured: nothing was judged: no look was taken" in told
    told = type_("why-not", "fraud:2.0.0", "--json")
    assert told.code == Exit.GATE
    assert told.json["gates"][0]["state"] == "failed"
    assert "wrong file" in told.json["gates"][0]["said"]
    assert type_("why-not", "fraud:9.0.0").code == Exit.NOT_FOUND
