"""The kind `Rollout`: what plan comes of it, and what is said of one that is wrong."""

import re
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from modelworks.core.rollouts import Direction, Kind, OnInconclusive, Step, Strategy
from modelworks.protocol.manifest import ManifestError, load, schema
from modelworks.protocol.manifest.leaves import fields
from modelworks.protocol.manifest.rollout import RolloutSpec
from modelworks.protocol.manifest.rollout_plan import (
    _KNOWN,
    KINDS,
    load_rollouts,
    planned,
)

pytestmark = pytest.mark.unit
EXAMPLE = Path(__file__).parents[3] / "examples" / "rollout.yaml"
SHORT = """\
kind: Rollout
metadata: {name: fraud-4}
spec:
  route: fraud
  stable: v3
  candidate: v4
  steps: [{share: 5%, bake: 10m}, {share: 100%}]
  primary: {metric: error_rate}
"""


def plan(text=SHORT, environment=""):
    (loaded,) = load_rollouts([("r.yaml", text.encode())], environment).documents
    return planned(loaded.document).plan


def problems(text):
    with pytest.raises(ManifestError) as raised:
        load_rollouts([("r.yaml", text.encode())])
    return [str(problem) for problem in raised.value.problems]


def test_the_shortest_manifest_is_a_careful_plan():
    found = plan()
    assert (found.strategy, found.candidates) == (Strategy.CANARY, ("v4",))
    assert found.steps == (Step(0.05, 600.0), Step(1.0))
    assert (found.primary.kind, found.primary.margin) == (Kind.RATE, 0.005)
    assert (found.false_rollback, found.false_promotion) == (0.01, 0.05)
    assert (found.on_inconclusive, found.sample) == (OnInconclusive.HOLD, 100)
    assert found.most_s == 86_400


def test_the_example_says_what_it_seems_to_say():
    found = plan(EXAMPLE.read_text())
    assert [step.share for step in found.steps] == [0.05, 0.25, 0.5, 1.0]
    assert (found.primary.name, found.primary.margin, found.primary.labelled) == (
        "accuracy",
        0.01,
        True,
    )
    errors, slow = found.guardrails
    assert (errors.margin, errors.relative) == (0.005, False)
    assert (slow.margin, slow.relative, slow.quantile) == (0.2, True, 0.99)
    assert found.labels == 0.3


def test_every_field_changes_the_plan():
    """None is read and not used."""
    head = SHORT.replace("primary: {metric: error_rate}\n", "")
    full = {
        "candidate: v4": "candidates: [a, b]",
        "route: fraud": "route: other",
        "stable: v3": "stable: v2",
        "steps: [{share: 5%, bake: 10m}, {share: 100%}]": "steps: [{share: 40%, sample: 7}]",
    }
    for old, new in full.items():
        head = head.replace(old, new)
    text = f"""{head}\
primary: {{metric: basket, kind: mean, direction: higher, margin: 3%, bounds: [0, 500]}}
  strategy: experiment
  superiority: true
  guardrails:
  - {{metric: latency_ms, kind: quantile, direction: lower, quantile: 0.9, margin: 12}}
  - {{metric: wrong, kind: rate, direction: lower, absolute: true, labelled: true}}
  slices: [country=de]
  risk: {{false_rollback: 0.02, false_promotion: 0.03, harm: 1pp}}
  minimum_sample: 900
  on_inconclusive: rollback
  max_duration: 2d
  replay: 90m
  labels: 10%
"""
    text = text.replace("\nprimary", "\n  primary")
    found, plain = plan(text), plan()
    same = {"name"}
    for name in type(found).__slots__:
        assert (getattr(found, name) == getattr(plain, name)) == (name in same), name
    assert (found.primary.low, found.primary.high, found.primary.relative) == (0.0, 500.0, True)
    slow, wrong = found.guardrails
    assert (slow.quantile, slow.margin, slow.direction) == (0.9, 12.0, Direction.LOWER)
    assert (wrong.absolute, wrong.labelled, wrong.margin) == (True, True, 0.01)
    assert found.replay == 1.5
    written = yaml.safe_load(text)["spec"]
    said = {name.split(".")[0].removesuffix("[]") for name in fields(RolloutSpec)}
    assert said - set(written) == {"candidate"}


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ("share: 5%", "share: 5", "spec.steps[0].share", "a percentage from 0% to 100%"),
        ("share: 5%", "share: 150%", "spec.steps[0].share", "a percentage from 0% to 100%"),
        ("bake: 10m", "bake: 10", "spec.steps[0].bake", "numbers with w, d, h, m or s"),
        ("bake: 10m", "bakes: 10m", "spec.steps[0].bakes", "did you mean 'bake'"),
        ("bake: 10m", "bake: 2d", "spec.max_duration", "the steps alone last longer"),
        ("{share: 100%}", "{share: 50%}", "spec.steps", "the last share of a canary is 1"),
        ("candidate: v4", "candidate: v3", "spec.candidate", "is the stable arm"),
        ("  candidate: v4\n", "", "spec", "one of candidate and candidates is wanted"),
        ("candidate: v4", "candidates: [a, b]", "spec.candidates", "canary tries one candidate"),
        (
            "error_rate}",
            "oddity, direction: lower}",
            "spec.primary.kind",
            "no metric that is known by its name",
        ),
        ("error_rate}", "error_rate, margin: much}", "spec.primary.margin", "how much is points"),
        ("error_rate}", "accuracy}", "spec.primary.labelled", "set labels"),
        ("error_rate}", "latency_p99_ms}", "spec.primary.margin", "can never be proved"),
        ("error_rate}", "cost, margin: 1pp}", "spec.primary.margin", "points are of rates"),
        ("error_rate}", "error_rate, bounds: [0, 1]}", "spec.primary.bounds", "of a mean"),
        ("error_rate}", "cost, margin: 5%, bounds: [1, 0]}", "spec.primary", "is not below"),
        ("error_rate}", "error_rate, quantile: 0.9}", "spec.primary.quantile", "has none"),
        (
            "error_rate}",
            "cost, margin: 5%}\n  risk: {harm: 1pp}",
            "spec.risk.harm",
            "every rate here has a margin of its own",
        ),
        (
            "error_rate}",
            "error_rate}\n  risk: {false_rollback: 0}",
            "spec.risk.false_rollback",
            "greater than 0",
        ),
        ("error_rate}", "error_rate}\n  slices: [de]", "spec.slices[0]", "should match"),
        ("route: fraud", "strategy: shadow\n  route: fraud", "spec.steps", "moves no traffic"),
    ],
)
def test_what_is_wrong_is_said_with_its_path_and_the_cure(old, new, where, words):
    assert old in SHORT
    found = problems(SHORT.replace(old, new))
    assert len(found) == 1
    assert f": {where}: " in found[0]
    assert words in found[0]


def test_all_that_is_wrong_is_said_at_once():
    text = SHORT.replace("candidate: v4", "candidate: v3").replace("error_rate}", "oddity}")
    assert len(problems(text)) == 3  # kind and direction of the metric, and the arm


def test_overlays_are_put_on():
    overlay = """\
---
kind: Overlay
spec:
  environment: production
  of: {kind: Rollout, name: fraud-4}
  patch: {minimum_sample: 5000}
"""
    assert plan(SHORT + overlay).sample == 100
    assert plan(SHORT + overlay, "production").sample == 5000


def test_the_schema_takes_what_is_taken():
    validator = jsonschema_rs.validator_for(schema(KINDS))
    assert validator.is_valid(yaml.safe_load(EXAMPLE.read_text()))
    assert validator.is_valid(yaml.safe_load(SHORT))
    assert not validator.is_valid(yaml.safe_load(SHORT.replace("bake:", "bakes:")))


def test_apply_does_not_take_a_rollout_for_something_else():

    with pytest.raises(ManifestError, match="'Rollout' is no kind"):
        load([("r.yaml", SHORT.encode())])


def test_the_docs_say_what_is_read():
    docs = EXAMPLE.parents[1] / "docs"
    block, *_ = re.findall(r"```yaml\n(.*?)```", (docs / "rollouts.md").read_text(), re.DOTALL)
    assert plan(block).guardrails[1].quantile == 0.99
    section = (docs / "manifest.md").read_text().split("## Rollouts")[1].split("\n## ")[0]
    said = {name.split(".")[0].removesuffix("[]") for name in fields(RolloutSpec)}
    for name in (*said, *_KNOWN, *(str(one) for one in Kind), *(str(one) for one in Strategy)):
        assert f"`{name}`" in section, name
