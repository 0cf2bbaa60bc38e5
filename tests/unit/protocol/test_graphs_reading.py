"""Files of graphs: what is understood, and what is refused with its place and the cure."""

import json
import re
from pathlib import Path

import pytest

from graph_desk import CHAIN, ask, document
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.graphs import MOST_STEPS, Ref, SplitStep, SwitchStep, When
from modelworks.core.tensor import Datatype
from modelworks.protocol.graphs import graph_of, read_graph
from modelworks.protocol.manifest.tree import read as read_yaml

pytestmark = pytest.mark.unit


def switch(**more):
    said = {"on": "steps.a.y", "cases": [case()], "default": {"outputs": {"y": "$input.x"}}}
    return document([ask("a", "two"), {"name": "s", "switch": said | more}], {"y": "steps.s.y"})


def case(when="< 1", **more):
    return {"when": when, "outputs": {"y": "$input.x"}} | more


def split(branches=None, **more):
    two = [{"weight": 1, "outputs": {"y": "$input.x"}}, {"weight": 2, "outputs": {"y": "$input.x"}}]
    said = {"branches": two if branches is None else branches} | more
    return document([{"name": "s", "split": said}], {"y": "steps.s.y"})


def test_everything_that_may_stand_there():
    user = {"name": "user", "datatype": "INT64", "shape": [None, 1]}
    values = switch(cases=[case(">= 0.5"), case([1, 2]), case("cat"), case("== 'a b'")])
    values["spec"]["inputs"].append(user)
    values["metadata"]["description"] = "why"
    graph = graph_of(values)
    assert graph.description == "why"
    assert graph.inputs[0].datatype is None
    assert graph.inputs[1].datatype is Datatype.INT64
    assert graph.inputs[1].shape == (None, 1)
    step = graph.steps[1]
    assert isinstance(step, SwitchStep)
    assert [when for when, _ in step.cases] == [
        When(">=", 0.5),
        When("in", (1, 2)),
        When("==", "cat"),
        When("==", "a b"),
    ]
    assert step.on == Ref("a", "y")
    other = graph_of(split(key="$input.x", salt="s")).steps[0]
    assert isinstance(other, SplitStep)
    assert (other.weights, other.salt, other.key) == ((1.0, 2.0), "s", Ref("", "x"))


def test_a_model_is_meant_by_name_version_or_alias():
    for text, parts in (
        ("two", ("two", "", "")),
        ("two:1.2.0", ("two", "1.2.0", "")),
        ("two@champion", ("two", "", "champion")),
    ):
        [step] = graph_of(document([ask("a", text)], {"y": "steps.a.y"})).models()
        assert (step.model, step.version, step.alias) == parts
        assert step.asked == text


STEP = ask("a", "two")
WRONG = [
    (lambda v: v.pop("kind"), "kind", "'Graph' is wanted"),
    (lambda v: v.update(apiVersion="v9"), "apiVersion", "modelworks/v1"),
    (lambda v: v.update(more=1), "more", "known are"),
    (lambda v: v["metadata"].update(name="No Name"), "metadata.name", ""),
    (lambda v: v["metadata"].pop("name"), "metadata.name", "is missing"),
    (lambda v: v.pop("spec"), "spec", "is missing"),
    (lambda v: v["spec"].update(step=[]), "spec.step", "did you mean 'steps'"),
    (lambda v: v["spec"].update(steps={}), "spec.steps", "a list is wanted"),
    (lambda v: v["spec"].update(outputs={}), "spec.outputs", "at least one output"),
    (lambda v: v["spec"].update(outputs=["y"]), "spec.outputs", "names with references"),
    (lambda v: v["spec"].update(outputs={"y": "a.y"}), "spec.outputs.y", "write $input.NAME"),
    (lambda v: v["spec"].update(outputs={"y": 3}), "spec.outputs.y", "a text is wanted"),
    (lambda v: v["spec"].update(inputs=["x", "x"]), "spec.inputs", "'x' is there twice"),
    (lambda v: v["spec"].update(inputs=["a b"]), "spec.inputs[0]", "no name of a tensor"),
    (
        lambda v: v["spec"].update(inputs=[{"name": "x", "datatype": "FLOAT"}]),
        "spec.inputs[0].datatype",
        "FP32",
    ),
    (
        lambda v: v["spec"].update(inputs=[{"name": "x", "shape": [3]}]),
        "spec.inputs[0].shape",
        "first axis is that of the rows",
    ),
    (
        lambda v: v["spec"].update(inputs=[{"name": "x", "shape": [None, -1]}]),
        "spec.inputs[0].shape[1]",
        "null for any",
    ),
    (lambda v: v["spec"]["steps"].append("a"), "spec.steps[2]", "a step is a mapping"),
    (lambda v: v["spec"]["steps"].append(dict(STEP)), "spec.steps", "step 'a' is there twice"),
    (lambda v: v["spec"]["steps"][0].update(name="a.b"), "spec.steps[0].name", "letters, digits"),
    (lambda v: v["spec"]["steps"][0].update(modell="x"), "spec.steps[0].modell", "'model'"),
    (lambda v: v["spec"]["steps"][0].pop("model"), "spec.steps[0]", "is none"),
    (lambda v: v["spec"]["steps"][0].update(mean={"of": []}), "spec.steps[0]", "model and mean"),
    (lambda v: v["spec"]["steps"][0].update(model="a b"), "spec.steps[0].model", "step 'a'"),
    (lambda v: v["spec"]["steps"][0].pop("inputs"), "spec.steps[0].inputs", "names with ref"),
    (
        lambda v: v["spec"]["steps"].append({"name": "m", "means": {"of": []}}),
        "spec.steps[2]",
        "did you mean 'mean'",
    ),
    (
        lambda v: v["spec"]["steps"].append({"name": "m", "mean": {}}),
        "spec.steps[2].mean",
        "'of' is missing",
    ),
    (
        lambda v: v["spec"]["steps"].append({"name": "m", "mean": {"of": []}}),
        "spec.steps[2].mean.of",
        "at least one tensor",
    ),
    (
        lambda v: v["spec"]["steps"].append({"name": "m", "rename": {"of": ["$input.x"]}}),
        "spec.steps[2].rename.of",
        "new names",
    ),
]


@pytest.mark.parametrize(("spoil", "field", "words"), WRONG)
def test_what_is_wrong_is_said_with_its_place(spoil, field, words):
    values = json.loads(json.dumps(document(*CHAIN)))
    graph_of(values)
    spoil(values)
    with pytest.raises(InvalidError) as found:
        graph_of(values)
    assert found.value.field == field
    assert words in found.value.message


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        (switch(default=None), "spec.steps[1].switch.default", "is missing"),
        (switch(cases=[]), "spec.steps[1].switch.cases", "at least one case"),
        (switch(cases=[case({})]), "spec.steps[1].switch.cases[0].when", "a test is wanted"),
        (switch(cases=[case([])]), "spec.steps[1].switch.cases[0].when", "a list of numbers"),
        (switch(cases=[case(None)]), "spec.steps[1].switch.cases[0].when", "a test is wanted"),
        (switch(cases=[case(float("nan"))]), "spec.steps[1].switch.cases[0].when", "a test"),
        (switch(cases=[case(float("-inf"))]), "spec.steps[1].switch.cases[0].when", "a test"),
        (switch(on=None), "spec.steps[1].switch.on", "is missing"),
        (
            switch(cases=[case(model="two", inputs={}, outputs="y")]),
            "spec.steps[1].switch.cases[0].outputs",
            "outputs: [label]",
        ),
        (
            switch(cases=[case(model="two", steps=[])]),
            "spec.steps[1].switch.cases[0]",
            "not both",
        ),
        (
            switch(cases=[case(inputs={})]),
            "spec.steps[1].switch.cases[0].inputs",
            "go with a model",
        ),
        (switch(cases=[case(outputs={})]), "spec.steps[1].switch.cases[0].outputs", "at least one"),
        (split([]), "spec.steps[0].split.branches", "at least two"),
        (
            split([{"weight": 1, "outputs": {"y": "$input.x"}}]),
            "spec.steps[0].split.branches",
            "two",
        ),
        (split(salt="a\0b"), "spec.steps[0].split.salt", "zero byte"),
        *(
            (
                split([{"weight": weight, "outputs": {"y": "$input.x"}}] * 2),
                "spec.steps[0].split.branches[0].weight",
                "above 0",
            )
            for weight in (0, -1, True, "1", None, float("inf"), float("nan"))
        ),
    ],
)
def test_what_is_wrong_with_a_router_is_said_with_its_place(values, field, words):
    with pytest.raises(InvalidError) as found:
        graph_of(values)
    assert found.value.field == field
    assert words in found.value.message


def test_a_switch_without_a_default_is_told_what_to_add():
    values = switch()
    del values["spec"]["steps"][1]["switch"]["default"]
    with pytest.raises(InvalidError, match="step 's' says nothing of rows that no case takes"):
        graph_of(values)


@pytest.mark.parametrize("values", [None, [], "graph", 3, {1: 2}])
def test_what_is_no_document_is_refused(values):
    with pytest.raises(InvalidError):
        graph_of(values)


def test_there_is_an_end_to_steps_and_to_branches_in_branches():
    many = [ask(f"s{number}", "two") for number in range(MOST_STEPS + 1)]
    with pytest.raises(InvalidError, match="129 steps are more than 128"):
        graph_of(document(many, {"y": "steps.s0.y"}))
    branch = {"outputs": {"y": "$input.x"}}
    for depth in range(12):
        inner = {"on": "$input.x", "cases": [{"when": "< 1", **branch}], "default": branch}
        branch = {
            "steps": [{"name": f"s{depth}", "switch": inner}],
            "outputs": {"y": f"steps.s{depth}.y"},
        }
    with pytest.raises(InvalidError, match="branches lie deeper than 8"):
        graph_of(document(branch["steps"], branch["outputs"]))


def test_a_file_or_its_folder_is_read_and_a_bad_one_refused(tmp_path):
    file = tmp_path / "graph.json"
    with pytest.raises(NotFoundError, match="no graph at"):
        read_graph(tmp_path)
    file.write_text(json.dumps(document(*CHAIN)))
    assert read_graph(tmp_path) == read_graph(file)
    file.write_text("{")
    with pytest.raises(InvalidError, match="no JSON"):
        read_graph(file)
    file.write_text('"' + "a" * (1 << 20) + '"')
    with pytest.raises(InvalidError, match="larger than a graph may be"):
        read_graph(file)


def test_the_page_and_the_examples_are_graphs():
    root = Path(__file__).parents[3]
    whole, routers = re.findall(
        r"```yaml\n(.*?)```", (root / "docs/graphs.md").read_text(), re.DOTALL
    )
    [page] = read_yaml(whole.encode(), "page")
    [example] = read_yaml((root / "examples/graphs/claim.yaml").read_bytes(), "example")
    told, kept = graph_of(page.values), graph_of(example.values)
    assert (told.steps, told.outputs, told.inputs) == (kept.steps, kept.outputs, kept.inputs)
    [fragment] = read_yaml(routers.encode(), "routers")
    found = graph_of(document(fragment.values, {"label": "steps.answer.label"}))
    assert [type(step) for step in found.steps] == [SwitchStep, SplitStep]
    [doubt] = read_yaml((root / "examples/graphs/doubt.yaml").read_bytes(), "doubt")
    assert [step.name for step in graph_of(doubt.values).models()] == ["letter", "meter", "numbers"]
