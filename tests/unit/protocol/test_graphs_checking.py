"""Graphs against signatures: what fits is planned, what does not is named with step and cure."""

import json

import pytest

from graph_desk import ask, document
from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.protocol.graphs import check_graph, graph_of
from modelworks.protocol.graphs.checking import same_tensors

pytestmark = pytest.mark.unit
F, B = Datatype.FP32, Datatype.BYTES


def sig(inputs, outputs, **more):
    def specs(named):
        return tuple(TensorSpec(name, *rest) for name, rest in named.items())

    return Signature(specs(inputs), specs(outputs), **more)


MODELS = {
    "net": sig({"x": (F, (None, 4))}, {"p": (F, (None, 3)), "h": (F, (None, 8))}),
    "head": sig({"h": (F, (None, 8))}, {"score": (F, (None, 1), Role.SCORE)}),
    "words": sig({"text": (B, (None, 1))}, {"p": (F, (None, 3)), "label": (B, (None,))}),
    "free": sig({"x": (F, (None, None))}, {"p": (F, (None, None))}),
    "fixed": sig({"x": (F, (1, 4))}, {"p": (F, (1, 3))}),
    "classes": sig(
        {"x": (F, (None, 4))},
        {"label": (B, (None,), Role.LABEL), "p": (F, (None, 2), Role.PROBABILITIES)},
        layout=Layout.MATRIX,
        features=("a", "b", "c", "d"),
        classes=("no", "yes"),
    ),
}
NET = {"name": "net", "model": "net", "inputs": {"x": "$input.x"}}
HEAD = {"name": "head", "model": "head", "inputs": {"h": "steps.net.h"}}


def find(step):
    if step.asked not in MODELS:
        raise InvalidError(f"there is no model '{step.asked}'")
    return MODELS[step.asked]


def check(steps, outputs, inputs=("x",)):
    return check_graph(graph_of(document(steps, outputs, inputs)), find)


def shapes(specs):
    return {spec.name: (spec.datatype, spec.shape) for spec in specs}


def test_the_signature_is_that_of_what_goes_in_and_comes_out():
    found = check([NET, HEAD], {"score": "steps.head", "p": "steps.net.p"}).signature
    assert shapes(found.inputs) == {"x": (F, (None, 4))}
    assert shapes(found.outputs) == {"score": (F, (None, 1)), "p": (F, (None, 3))}
    assert found.output(Role.SCORE).name == "score"
    assert found.batch_axis


def test_classes_and_the_form_of_plain_rows_come_from_the_model():
    step = {"name": "c", "model": "classes", "inputs": {"x": "$input.row"}}
    found = check([step], {"said": "steps.c.label", "sure": "steps.c.p"}, ["row"]).signature
    assert found.classes == ("no", "yes")
    assert (found.layout, found.features) == (Layout.MATRIX, ("a", "b", "c", "d"))
    assert found.output(Role.LABEL).name == "said"


def test_steps_are_planned_in_the_order_of_need_whatever_the_file_says():
    plan = check([HEAD, NET], {"score": "steps.head"}).plan
    assert [node.name for node in plan.nodes] == ["net", "head"]
    assert (plan.first, plan.waits, plan.after) == ((0,), (0, 1), ((1,), ()))
    assert plan.steps == ("head", "net")  # numbers are those of the file: what is counted stays


def test_only_what_is_used_is_kept_of_a_models_outputs():
    found = check([NET, HEAD], {"score": "steps.head"})
    assert found.wanted == (((1, 1),), ((0, 2),))


def test_an_input_is_as_narrow_as_its_narrowest_taker():
    free = {"name": "free", "model": "free", "inputs": {"x": "$input.x"}}
    found = check([free, NET], {"a": "steps.free", "b": "steps.net.p"}).signature
    assert shapes(found.inputs) == {"x": (F, (None, 4))}


WRONG = [
    ([NET, HEAD], {"y": "steps.nobody"}, ["x"], "spec.outputs.y", "there is no step 'nobody'"),
    ([NET], {"y": "steps.net.q"}, ["x"], "spec.outputs.y", "it gives p, h"),
    ([NET], {"y": "steps.net"}, ["x"], "spec.outputs.y", "steps.net.NAME"),
    ([NET], {"y": "$input.z"}, ["x"], "spec.outputs.y", "there is no input 'z'"),
    ([NET], {"y": "steps.net.p"}, ["x", "z"], "spec.inputs[1]", "have to be declared"),
    (
        [NET],
        {"y": "steps.net.p"},
        ["x", {"name": "z", "datatype": "FP32", "shape": [None]}],
        "spec.inputs[1]",
        "nobody uses the input 'z'",
    ),
    ([ask("a", "gone")], {"y": "steps.a.p"}, ["x"], "spec.steps[0].model", "no model 'gone'"),
    ([ask("a", "fixed")], {"y": "steps.a.p"}, ["x"], "spec.steps[0].model", "dynamic first axis"),
    (
        [{"name": "a", "model": "net", "inputs": {"x": "$input.x", "k": "$input.x"}}],
        {"y": "steps.a.p"},
        ["x"],
        "spec.steps[0].inputs.k",
        "has no input 'k': it has x",
    ),
    (
        [{"name": "a", "model": "net", "inputs": {}}],
        {"y": "steps.a.p"},
        [],
        "spec.steps[0].inputs",
        "nothing is said of input 'x'",
    ),
    ([NET, HEAD], {"y": "steps.net.p"}, ["x"], "spec.steps[1]", "step 'head' is not reached"),
    (
        [NET, {"name": "w", "model": "words", "inputs": {"text": "$input.x"}}],
        {"y": "steps.net.p", "z": "steps.w.p"},
        ["x"],
        "spec.inputs[0]",
        "step 'w' takes the input 'x' as BYTES, and it is FP32",
    ),
    (
        [NET, {"name": "o", "model": "head", "inputs": {"h": "$input.x"}}],
        {"y": "steps.net.p", "z": "steps.o"},
        ["x"],
        "spec.inputs[0]",
        "[?, 8]",
    ),
    (
        [NET, {"name": "o", "model": "head", "inputs": {"h": "steps.net.p"}}],
        {"y": "steps.o"},
        ["x"],
        "spec.steps[1].inputs.h",
        "put a reshape or select between them",
    ),
    (
        [
            {"name": "w", "model": "words", "inputs": {"text": "$input.t"}},
            {"name": "o", "model": "head", "inputs": {"h": "steps.w.label"}},
        ],
        {"y": "steps.o"},
        ["t"],
        "spec.steps[1].inputs.h",
        "put a cast between them",
    ),
    (
        [
            {"name": "a", "model": "net", "inputs": {"x": "steps.b.p"}},
            {"name": "b", "model": "net", "inputs": {"x": "steps.a.p"}},
        ],
        {"y": "steps.a.p"},
        [],
        "spec.steps[0]",
        "step 'a' waits for itself: a -> b -> a",
    ),
    (
        [{"name": "a", "argmax": {"of": "steps.a"}}],
        {"y": "steps.a"},
        [],
        "spec.steps[0]",
        "waits for itself",
    ),
]


@pytest.mark.parametrize(("steps", "outputs", "inputs", "field", "words"), WRONG)
def test_what_does_not_fit_is_said_with_step_field_and_cure(steps, outputs, inputs, field, words):
    with pytest.raises(InvalidError) as found:
        check(steps, outputs, inputs)
    assert found.value.field == field
    assert words in found.value.message


def routed(default, case=None, on="steps.head", when="< 0.5"):
    case = {"when": when, **(case or {"outputs": {"p": "steps.net.p"}})}
    said = {"on": on, "cases": [case], "default": default}
    return [NET, HEAD, {"name": "s", "switch": said}]


SAME = {"outputs": {"p": "steps.net.p"}}


def test_branches_give_the_same_and_may_use_what_stands_outside():
    inner = {"steps": [ask("again", "net", "$input.x")], "outputs": {"p": "steps.again.p"}}
    found = check(routed(inner), {"p": "steps.s"})
    assert shapes(found.signature.outputs) == {"p": (F, (None, 3))}
    assert found.plan.steps == ("net", "head", "s", "again")
    assert [step.name for step in found.asked] == ["net", "head", "again"]


@pytest.mark.parametrize(
    ("steps", "outputs", "field", "words"),
    [
        (
            routed({"outputs": {"q": "steps.net.p"}}),
            {"p": "steps.s.p"},
            "spec.steps[2].switch.default.outputs",
            "all have to give the same names",
        ),
        (
            routed({"outputs": {"p": "steps.net.h"}}),
            {"p": "steps.s.p"},
            "spec.steps[2].switch.default.outputs.p",
            "FP32 [?, 8] in this branch, and FP32 [?, 3] in others",
        ),
        (routed(SAME, on="steps.net.p"), {"p": "steps.s"}, "spec.steps[2].switch.on", "one value"),
        (
            routed(SAME, when="< cat"),
            {"p": "steps.s"},
            "spec.steps[2].switch.cases[0].when",
            "'cat' is a text",
        ),
        (
            routed({"outputs": {"p": "steps.s.p"}}),
            {"p": "steps.s"},
            "spec.steps[2]",
            "step 's' waits for itself",
        ),
        (
            routed({"steps": [ask("in", "net")], "outputs": {"p": "steps.in.p"}}),
            {"p": "steps.in.p", "q": "steps.s"},
            "spec.outputs.p",
            "stands inside a branch",
        ),
        (
            routed({"steps": [ask("in", "net")], **SAME}),
            {"p": "steps.s"},
            "spec.steps[2].switch.default.steps[0]",
            "step 'in' is not reached",
        ),
    ],
)
def test_what_is_wrong_with_branches_is_said(steps, outputs, field, words):
    with pytest.raises(InvalidError) as found:
        check(steps, outputs)
    assert found.value.field == field
    assert words in found.value.message


def test_texts_have_no_order_and_numbers_are_no_keys():
    words = {"name": "w", "model": "words", "inputs": {"text": "$input.t"}}
    said = {
        "on": "steps.w.label",
        "cases": [{"when": "< 'b'", "outputs": {"p": "steps.w.p"}}],
        "default": {"outputs": {"p": "steps.w.p"}},
    }
    with pytest.raises(InvalidError, match="texts have no order"):
        check([words, {"name": "s", "switch": said}], {"p": "steps.s"}, ["t"])
    two = [{"weight": 1, "outputs": {"p": "steps.net.p"}}] * 2
    parted = {"name": "s", "split": {"key": "steps.head", "branches": two}}
    with pytest.raises(InvalidError, match="step 's': FP32 is no key"):
        check([NET, HEAD, parted], {"p": "steps.s"})


def test_what_a_model_was_replaced_by_is_compared_by_names_datatypes_and_shapes():
    one = check([NET], {"p": "steps.net.p"}).signature
    assert same_tensors(one, one)
    assert not same_tensors(one, check([NET], {"q": "steps.net.p"}).signature)
    assert not same_tensors(one, check([NET], {"p": "steps.net.h"}).signature)


def test_a_hundred_steps_behind_each_other_are_checked():
    steps = [ask("s0", "free")]
    steps += [ask(f"s{at}", "free", f"steps.s{at - 1}.p") for at in range(1, 128)]
    plan = check(list(reversed(json.loads(json.dumps(steps)))), {"p": "steps.s127.p"}).plan
    assert plan.nodes[-1].name == "s127"
