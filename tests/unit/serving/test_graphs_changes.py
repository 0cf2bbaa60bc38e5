"""Graphs while their models come, change and go."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from graph_desk import ask, chained, graph, put, rows, scorer, serve, times
from modelworks.core.caching import AnswerCache
from modelworks.core.errors import NotFoundError, UnavailableError
from modelworks.core.served import ServedList, ServedModel
from modelworks.core.stateful import Sequences
from modelworks.core.stateful import State as Remembered
from modelworks.core.tensor import Datatype
from modelworks.serving import block, block_file
from modelworks.serving.block import Block
from modelworks.serving.entries import State
from modelworks.serving.graphs.numbers import cells_of
from modelworks.serving.models import ModelTable
from modelworks.serving.policy import Policy
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit


def reason(table, name="flow"):
    with pytest.raises(UnavailableError) as found:
        table.resolve(name)
    return found.value.message


async def apply(table, generation, *lines):
    await table.apply(ServedList(generation, tuple(lines)))


def test_a_graph_asks_the_model_that_took_the_others_place(tmp_path):
    lines = chained(tmp_path)

    async def main(table):
        live = table.resolve("flow")
        member = put(live, rows(1))
        other = models.double(tmp_path / "five.onnx", 3, 5.0)
        await apply(table, 2, *lines[:1], replace(lines[1], path=str(other), digest="d"), lines[2])
        assert (await member.answer())[0][0, 0] in {6, 10}
        assert table.resolve("flow") is live
        assert np.array_equal((await put(live, rows(1)).answer())[0], rows(10))

    serve(lines, main)


def test_requests_go_on_while_a_model_is_replaced_again_and_again(tmp_path):
    lines = chained(tmp_path)
    files = [models.double(tmp_path / f"f{f}.onnx", 3, float(f)) for f in (3, 5, 7)]

    async def main(table):
        live = table.resolve("flow")
        over = False
        answered = []

        async def one():
            while not over:
                answered.append((await put(live, rows(1)).answer())[0][0, 0])

        running = [asyncio.ensure_future(one()) for _ in range(4)]
        for generation in range(2, 10):
            path = str(files[generation % 3])
            changed = replace(lines[1], path=path, digest=f"d{generation}")
            await apply(table, generation, lines[0], changed, lines[2])
        over = True
        await asyncio.gather(*running)
        assert {6.0, 10.0, 14.0} == set(answered)

    serve(lines, main)


def test_a_model_with_other_tensors_makes_the_graph_say_so_until_it_fits_again(tmp_path):
    lines = chained(tmp_path)
    wide = models.double(tmp_path / "wide.onnx", 4, 3.0)

    async def main(table):
        await apply(table, 2, lines[0], replace(lines[1], path=str(wide), digest="w"), lines[2])
        said = reason(table)
        assert "step 'b'" in said
        assert "[?, 4]" in said
        assert "reshape" in said
        assert table.entry("flow").state is State.UNAVAILABLE
        await apply(table, 3, *lines)
        assert np.array_equal((await put(table.resolve("flow"), rows(1)).answer())[0], rows(6))

    serve(lines, main)


def test_what_the_graph_takes_and_gives_never_changes_under_its_callers(tmp_path):
    lines = [times(tmp_path, "two", 2.0), graph(tmp_path, [ask("a", "two")], {"y": "steps.a.y"})]
    wide = models.double(tmp_path / "wide.onnx", 4, 2.0)

    async def main(table):
        await apply(table, 2, replace(lines[0], path=str(wide), digest="w"), lines[1])
        assert "other tensors" in reason(table)
        assert "modelworks graph add" in reason(table)

    serve(lines, main)


def decider(folder, datatype):
    """A model that gives the whole part of a row's mean as `d`, [rows, 1]."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Cast", ["mean"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Cast", ["whole"], ["d"], to=getattr(TensorProto, datatype)),
    ]
    told = Datatype.BYTES if datatype == "STRING" else Datatype(datatype)
    file = models.write(
        folder / f"{datatype}.onnx",
        nodes,
        [models.info("x", Datatype.FP32, (None, 3))],
        [models.info("d", told, (None, 1))],
    )
    return ServedModel("decider", "1.0.0", str(file), f"sha256:{datatype}")


def deciding(folder):
    """A graph that doubles rows that `decider` calls 1, and trebles others; and its models."""
    inputs = {"inputs": {"x": "$input.x"}, "outputs": ["y"]}
    case, rest = {"when": 1, "model": "two", **inputs}, {"model": "three", **inputs}
    switch = {"on": "steps.a.d", "cases": [case], "default": rest}
    steps = [ask("a", "decider"), {"name": "s", "switch": switch}]
    two, three = times(folder, "two", 2.0), times(folder, "three", 3.0)
    return two, three, graph(folder, steps, {"y": "steps.s.y"})


def test_a_model_that_says_the_same_in_another_datatype_is_understood(tmp_path):
    lines = deciding(tmp_path)

    async def main(table):
        for generation, datatype in enumerate(("INT64", "STRING", "INT64"), 2):
            await apply(table, generation, decider(tmp_path, datatype), *lines)
            live = table.resolve("flow")
            both = (await put(live, rows(1, 5)).answer())[0]
            assert np.array_equal(both, [[2] * 3, [15] * 3])
            assert np.array_equal((await put(live, rows(1)).answer())[0], rows(2))

    serve([decider(tmp_path, "INT64"), *lines], main)


def test_who_is_under_way_is_never_judged_by_tests_of_another_datatype(tmp_path):
    lines = deciding(tmp_path)

    async def main(table):
        live = table.resolve("flow")
        over, answered = False, []

        async def one():
            while not over:
                try:
                    answered.append((await put(live, rows(1)).answer())[0][0, 0])
                except UnavailableError as error:  # what it set out with takes no more
                    assert "step 'a'" in error.message
                    await asyncio.sleep(0)

        running = [asyncio.ensure_future(one()) for _ in range(4)]
        for generation in range(2, 8):
            datatype = ("INT64", "STRING")[generation % 2]
            await apply(table, generation, decider(tmp_path, datatype), *lines)
        over = True
        await asyncio.gather(*running)
        assert set(answered) == {2.0}

    serve([decider(tmp_path, "STRING"), *lines], main)


def test_an_unloaded_model_stops_the_graph_and_a_loaded_one_starts_it(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        await table.unload("three")
        assert reason(table).startswith(
            "model 'flow' version 1.0.0 is not available: step 'b': model 'three' does not answer: "
            "unloaded on request"
        )
        member = put(live, rows(1))  # whoever held on to it
        with pytest.raises(UnavailableError, match="step 'b': "):
            await member.answer()
        await table.load("three")
        assert np.array_equal((await put(table.resolve("flow"), rows(1)).answer())[0], rows(6))

    serve(chained(tmp_path), main)


def test_a_graph_of_a_model_that_is_not_there_says_which_and_what_there_is(tmp_path):
    lines = chained(tmp_path)

    async def main(table):
        assert "step 'b': no model 'three' here; served are: flow, two" in reason(table)
        assert np.array_equal((await put(table.resolve("two"), rows(1)).answer())[0], rows(2))
        await apply(table, 2, *lines)  # the model comes
        assert np.array_equal((await put(table.resolve("flow"), rows(1)).answer())[0], rows(6))

    serve([lines[0], lines[2]], main)


def on_threads(table):
    """From now on no call of a model is short enough for the loop."""
    for name in ("two", "three"):
        table.resolve(name).loaded.cost._most = 0


def test_a_list_without_graph_and_models_answers_who_is_under_way(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        on_threads(table)
        members = [put(live, rows(value)) for value in range(5)]
        await apply(table, 2)
        for value, member in enumerate(members):
            assert np.array_equal((await member.answer())[0], rows(6 * value))
        assert table.entries() == []
        with pytest.raises(UnavailableError, match="being unloaded"):
            put(live, rows(1))

    two, three, flow = chained(tmp_path)
    serve([three, two, flow], main)  # in this order they would go


def test_closing_answers_who_is_under_way(tmp_path):
    members = []

    async def main(table):
        on_threads(table)
        members.extend(put(table.resolve("flow"), rows(value)) for value in range(5))

    serve(chained(tmp_path), main)
    assert [member.outputs[0][0, 0] for member in members] == [0, 6, 12, 18, 24]


def test_a_graph_does_not_ask_models_of_another_tenant(tmp_path):
    lines = chained(tmp_path)

    async def main(table):
        assert "step 'b': no model 'three' here" in reason(table)
        await apply(table, 2, *lines)
        await put(table.resolve("flow"), rows(1)).answer()

    serve([lines[0], replace(lines[1], tenant="other"), lines[2]], main)


def test_a_broken_model_is_the_reason_and_its_mending_the_cure(tmp_path):
    lines = chained(tmp_path)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")

    async def main(table):
        assert "step 'b': model 'three' does not answer" in reason(table)
        await apply(table, 2, *lines)
        await put(table.resolve("flow"), rows(1)).answer()

    serve([lines[0], replace(lines[1], path=str(bad)), lines[2]], main)


def test_the_order_of_the_list_does_not_matter(tmp_path):
    async def main(table):
        assert np.array_equal((await put(table.resolve("flow"), rows(1)).answer())[0], rows(6))

    serve(reversed(chained(tmp_path)), main)


@pytest.mark.parametrize(
    ("asked", "factor"), [("two", 4), ("two:1.0.0", 2), ("two@old", 2), ("two@new", 4)]
)
def test_versions_and_aliases_are_asked_as_written(tmp_path, asked, factor):
    old = times(tmp_path, "two", 2.0)
    file = models.double(tmp_path / "new.onnx", 3, 4.0)
    new = replace(old, version="2.0.0", path=str(file), digest="n", aliases=("new",))
    old = replace(old, default=False, aliases=("old",))

    async def main(table):
        live = table.resolve("flow")
        assert np.array_equal((await put(live, rows(1)).answer())[0], rows(factor))
        if asked == "two":  # the default moves, and the graph with it
            moved = [replace(old, default=True), replace(new, default=False)]
            await apply(table, 2, *moved, flow)
            assert np.array_equal((await put(live, rows(1)).answer())[0], rows(2))

    flow = graph(tmp_path, [ask("a", asked)], {"y": "steps.a.y"})
    serve([old, new, flow], main)


def test_a_graph_of_a_graph_is_refused(tmp_path):
    outer = graph(tmp_path, [ask("a", "flow")], {"y": "steps.a.y"}, name="outer")

    async def main(table):
        assert "'flow' is a graph" in reason(table, "outer")
        table.resolve("flow")

    serve([*chained(tmp_path), outer], main)


def test_a_model_that_remembers_is_not_asked_by_a_graph(tmp_path):
    file = models.echo(tmp_path / "two.onnx", [Datatype.FP32, Datatype.FP64])
    kept = Sequences((Remembered("in_FP64", "out_FP64"),))
    two = ServedModel("two", "1.0.0", str(file), "sha256:2", sequences=kept)
    step = {"name": "a", "model": "two", "inputs": {"in_FP32": "$input.x"}}
    flow = graph(tmp_path, [step], {"y": "steps.a.out_FP32"})

    async def main(table):
        assert "step 'a': model 'two' remembers" in reason(table)

    serve([two, flow], main)


def test_a_model_without_an_axis_of_rows_is_refused_with_the_cure(tmp_path):
    file = models.total(tmp_path / "total.onnx")
    total = ServedModel("total", "1.0.0", str(file), "sha256:t")
    flow = graph(tmp_path, [ask("a", "total")], {"y": "steps.a.y"})

    async def main(table):
        assert "export it with a dynamic first axis" in reason(table)

    serve([total, flow], main)


def test_a_model_that_is_not_batched_takes_part(tmp_path):
    file = models.centre(tmp_path / "centre.onnx")
    centre = ServedModel("centre", "1.0.0", str(file), "sha256:c")
    lines = [centre, graph(tmp_path, [ask("a", "centre")], {"y": "steps.a.y"})]

    async def main(table):
        live = table.resolve("flow")
        asked = [put(live, rows(value, value + 2, width=2)) for value in range(4)]
        for member in asked:
            assert np.array_equal((await member.answer())[0], rows(-1, 1, width=2))

    serve(lines, main)


def test_lazy_models_are_woken_by_the_graph_that_asks_them(tmp_path):
    async def main():
        table = ModelTable(Block(), 1, lambda: None, Policy(lazy=True))
        try:
            await apply(table, 1, *chained(tmp_path))
            entry = table.entry("flow")
            assert entry.dormant
            assert entry.live is None
            await table.revive(entry)
            live = table.resolve("flow")
            assert np.array_equal((await put(live, rows(1)).answer())[0], rows(6))
            # A model that leaves for want of memory takes its graphs to sleep with it.
            three = table.entry("three")
            three.dormant = True
            await table._drop(three, "evicted to make room; the next request reloads it")
            assert entry.dormant
            assert entry.live is None
            await table.revive(entry)
            assert three.live is not None
            live = table.resolve("flow")
            assert np.array_equal((await put(live, rows(1)).answer())[0], rows(6))
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_answers_of_a_graph_are_not_kept_for_a_model_may_change_under_it(tmp_path):
    lines = chained(tmp_path)

    async def main():
        policy = Policy(cache=AnswerCache(max_bytes=1 << 20))
        table = ModelTable(Block(), 1, lambda: None, policy)
        try:
            await apply(table, 1, *lines)
            live = table.resolve("flow")
            await put(live, rows(1)).answer()
            other = models.double(tmp_path / "five.onnx", 3, 5.0)
            changed = replace(lines[1], path=str(other), digest="d")
            await apply(table, 2, lines[0], changed, lines[2])
            assert np.array_equal((await put(live, rows(1)).answer())[0], rows(10))
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_kept_answers_of_its_models_are_given_to_a_graph(tmp_path):
    lines = chained(tmp_path)
    lines[0] = replace(lines[0], cache=AnswerCache(max_bytes=1 << 20))

    async def main(table):
        live = table.resolve("flow")
        for _ in range(4):
            members = [put(live, rows(1, 2)), put(live, rows(3))]
            assert np.array_equal((await members[0].answer())[0], rows(6, 12))
            assert np.array_equal((await members[1].answer())[0], rows(18))
        assert table.resolve("two").recorder.read().calls < 8
        assert table.resolve("three").recorder.read().calls >= 4

    serve(lines, main)


def test_steps_that_found_no_room_are_not_counted_as_something_else(monkeypatch):
    for module in (block, block_file):
        monkeypatch.setattr(module, "MODELS", 4)
    whole = block.Block()
    first = cells_of(whole, "flow", "1", "sha256:a")
    first[3] = 7
    assert cells_of(whole, "flow", "1", "sha256:a")[3] == 7
    whole.region("model", "1")
    others = whole.region("more than there is room for", "1")
    cells_of(whole, "flow", "2", "sha256:b")[3] = 7
    assert not any(others)


def test_a_file_that_is_no_graph_is_the_reason(tmp_path):
    lines = [scorer(tmp_path), graph(tmp_path, [ask("a", "scorer")], {"y": "steps.a.nothing"})]
    nowhere = replace(lines[1], name="nowhere", path=str(tmp_path / "none"))

    async def main(table):
        assert "step 'a' gives no 'nothing': it gives score" in reason(table)
        assert "no graph at" in reason(table, "nowhere")
        with pytest.raises(NotFoundError):
            table.resolve("none")

    serve([*lines, nowhere], main)
