"""Where an object differs from what was applied: fields of ours, and who changed them."""

import copy

import pytest
from hypothesis import given

from kubernetes_fields import fields, paths
from kubernetes_specs import wishes
from modelworks.ext.targets.kubernetes.drift import changes, owner
from modelworks.ext.targets.kubernetes.objects.whole import objects
from modelworks.ext.targets.kubernetes.settings import read
from properties import examples

APPLIED = {
    "kind": "Thing",
    "metadata": {"name": "fraud"},
    "spec": {
        "count": 2,
        "flag": False,
        "none": [],
        "members": [{"name": "one", "value": "a"}, {"name": "two", "value": "b"}],
        "words": ["x", "y"],
    },
}


def live(**spec):
    found = copy.deepcopy(APPLIED)
    found["spec"].update(spec)
    return found


@given(wish=wishes())
@examples(10)
def test_what_was_applied_has_not_changed(wish):
    settings = read(wish.shares[0].revision.spec["target"]["settings"])
    for one in objects(wish, settings):
        assert changes(one, copy.deepcopy(one)) == []
        assert changes(one, None) == [f"{one['kind'].lower()} fraud is gone"]


def test_what_others_add_is_theirs():
    found = live(more=1)
    found["status"] = {"ready": 1}
    found["spec"]["members"].insert(0, {"name": "sidecar"})
    found["spec"]["members"][1]["other"] = 1
    assert changes(APPLIED, found) == []


def test_go_leaves_out_what_is_empty():
    found = live()
    del found["spec"]["flag"], found["spec"]["none"]
    assert changes(APPLIED, found) == []


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"count": 5}, "spec.count is 5, was 2"),
        ({"flag": True}, "spec.flag is true, was false"),
        ({"words": ["x", "z"]}, 'spec.words.1 is "z", was "y"'),
        ({"words": ["x"]}, 'spec.words is ["x"], was ["x", "y"]'),
        (
            {"members": [{"name": "two", "value": "B"}, {"name": "one", "value": "a"}]},
            'spec.members.two.value is "B", was "b"',
        ),
        (
            {"members": [{"name": "one", "value": "a"}]},
            'spec.members.two is gone, was {"name": "two", "value": "b"}',
        ),
    ],
)
def test_a_line_says_what_changed(spec, line):
    assert changes(APPLIED, live(**spec)) == [f"thing fraud: {line}"]


def test_who_changed_it():
    found = live(count=5)
    others = {way: value for way, value in paths(found).items() if way[-1] == "f:count"}
    two = {way: value for way, value in paths(found).items() if any('"two"' in p for p in way)}
    found["metadata"]["managedFields"] = [
        {"manager": "modelworks", "fieldsV1": fields(paths(found))},
        {"manager": "kubectl-edit", "fieldsV1": fields(others)},
        {"manager": "injector", "fieldsV1": fields(two)},
    ]
    assert changes(APPLIED, found) == ["thing fraud: spec.count is 5, was 2 (kubectl-edit)"]
    assert owner(found, ("spec", "members", "two", "value")) == "injector"
    assert owner(found, ("spec", "members", "one", "value")) == ""


def test_long_values_are_cut():
    [line] = changes(APPLIED, live(count="x" * 1000))
    assert len(line) < 200
