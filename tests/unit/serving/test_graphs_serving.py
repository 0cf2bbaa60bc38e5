"""Graphs over real small models: rows in order, errors with names, who leaves harms nobody."""

import asyncio
import gc
from collections import Counter

import numpy as np
import pytest

from graph_desk import Asked, ask, chained, graph, put, put_named, rows, scorer, serve, times
from modelworks.core.errors import DeadlineError, InvalidError, UnavailableError
from modelworks.core.served import Batching, ServedModel
from modelworks.edge.head import Head
from modelworks.edge.request import Sampled
from modelworks.serving.graphs.journey import Journey, Scope, StepMember
from modelworks.serving.graphs.numbers import families
from modelworks.serving.statistics import Outcome
from modelworks.serving.traces import Traces
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

SWITCH = (
    [
        ask("small", "scorer"),
        {
            "name": "chosen",
            "switch": {
                "on": "steps.small.score",
                "cases": [
                    {"when": "< 0", "model": "two", "inputs": {"x": "$input.x"}, "outputs": ["y"]},
                    {"when": ">= 10", "outputs": {"y": "$input.x"}},
                ],
                "default": {
                    "steps": [ask("once", "two"), ask("more", "three", "steps.once.y")],
                    "outputs": {"y": "steps.more.y"},
                },
            },
        },
    ],
    {"y": "steps.chosen.y", "score": "steps.small.score"},
)


def switched(folder, **more):
    lines = [times(folder, "two", 2.0), times(folder, "three", 3.0), scorer(folder)]
    return [*lines, graph(folder, *SWITCH, **more)]


def calls(table, name):
    """Engine calls and answered requests of a model."""
    numbers = table.resolve(name).recorder.read()
    return numbers.calls, numbers.outcomes[Outcome.SUCCESS]


def under_way():
    """Objects of requests that are under way, or that something forgot to let go, by their ids."""
    kinds = (Journey, Scope, StepMember)
    return {id(found): type(found).__name__ for found in gc.get_objects() if type(found) in kinds}


async def let_go(earlier):
    """Nothing is left but what was there before: the engine's thread lets go a moment later."""
    left = {}
    for _ in range(500):
        gc.collect()
        left = {key: kind for key, kind in under_way().items() if key not in earlier}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(Counter(left.values()))


def test_two_models_in_a_row(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        assert live.signature.inputs[0].shape == (None, 3)
        (y,) = await put(live, rows(1, 2)).answer()
        assert np.array_equal(y, rows(6, 12))

    serve(chained(tmp_path), main)


def test_rows_of_several_requests_share_the_calls_of_every_step(tmp_path):
    async def main(table):
        live, two = table.resolve("flow"), table.resolve("two")
        for _ in range(3):  # the first call of a size may go another way than later ones
            members = [put(live, rows(value)) for value in range(8)]
            plain = put(two, rows(50))
            for value, member in enumerate(members):
                assert np.array_equal((await member.answer())[0], rows(6 * value))
            assert np.array_equal((await plain.answer())[0], rows(100))
        assert calls(table, "two") == (3, 27)
        assert calls(table, "three") == (3, 24)
        assert calls(table, "flow") == (24, 24)

    serve(chained(tmp_path), main)


def test_every_row_goes_its_own_way_and_the_order_stays(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        given = rows(1, -1, 20, 2, 30, -5)
        y, score = await put(live, given).answer()
        assert np.array_equal(y, rows(6, -2, 20, 12, 30, -10))
        assert np.array_equal(score, given[:, :1])
        for value, factor in ((1, 6), (-1, 2), (20, 1)):
            y, _ = await put(live, rows(value)).answer()
            assert np.array_equal(y, rows(value * factor))
            y, _ = await put(live, rows(value, value)).answer()
            assert np.array_equal(y, rows(value * factor, value * factor))

    serve(switched(tmp_path), main)


def test_a_model_is_asked_for_its_own_rows_only(tmp_path):
    async def main(table):
        await put(table.resolve("flow"), rows(1, -1, 20, 2, 30, -5)).answer()
        assert table.resolve("three").recorder.read().items == 2
        assert table.resolve("two").recorder.read().items == 4

    serve(switched(tmp_path), main)


def test_an_ensemble_asks_all_at_once_and_takes_the_mean(tmp_path):
    steps = [
        ask("a", "two"),
        ask("b", "three"),
        {"name": "mean", "weighted_mean": {"of": ["steps.a.y", "steps.b.y"], "weights": [1, 3]}},
    ]

    async def main(table):
        (y,) = await put(table.resolve("flow"), rows(4, 8)).answer()
        assert np.array_equal(y, rows(11, 22))

    lines = [times(tmp_path, "two", 2.0), times(tmp_path, "three", 3.0)]
    serve([*lines, graph(tmp_path, steps, {"y": "steps.mean"})], main)


def test_equal_keys_go_the_same_way_and_shares_are_as_asked(tmp_path):
    branches = [
        {"weight": 3, "model": "two", "inputs": {"x": "$input.x"}, "outputs": ["y"]},
        {"weight": 1, "model": "three", "inputs": {"x": "$input.x"}, "outputs": ["y"]},
    ]
    steps = [{"name": "arm", "split": {"key": "$input.user", "salt": "s", "branches": branches}}]
    user = {"name": "user", "datatype": "INT64", "shape": [None]}
    line = graph(tmp_path, steps, {"y": "steps.arm.y"}, ("x", user))

    async def main(table):
        live = table.resolve("flow")
        count = 2000
        x, users = rows(*[1] * count), np.arange(count)

        (y,) = await put_named(live, x=x, user=users).answer()
        assert 0.70 < np.mean(y[:, 0] == 2) < 0.80
        assert set(np.unique(y)) == {2.0, 3.0}
        for at in range(20):
            one = slice(at, at + 1)
            (again,) = await put_named(live, x=x[one], user=users[one]).answer()
            assert np.array_equal(again[0], y[at])

    serve([times(tmp_path, "two", 2.0), times(tmp_path, "three", 3.0), line], main)


def test_without_a_key_a_request_goes_one_way_as_a_whole(tmp_path):
    branches = [
        {"weight": 1, "model": name, "inputs": {"x": "$input.x"}, "outputs": ["y"]}
        for name in ("two", "three")
    ]
    steps = [{"name": "arm", "split": {"branches": branches}}]

    async def main(table):
        live = table.resolve("flow")
        found = [(await put(live, rows(1, 1, 1)).answer())[0] for _ in range(60)]
        assert all(len(np.unique(y)) == 1 for y in found)
        assert {float(y[0, 0]) for y in found} == {2.0, 3.0}  # 60 alike: once in 10**18

    lines = [times(tmp_path, "two", 2.0), times(tmp_path, "three", 3.0)]
    serve([*lines, graph(tmp_path, steps, {"y": "steps.arm.y"})], main)


def looked_up(folder):
    """`table` fails on numbers over 99; `same` gives back what it gets."""
    file = models.look_up(folder / "table.onnx")
    table = ServedModel("table", "1.0.0", str(file), "sha256:t")
    file = models.identity(folder / "same.onnx", models.Datatype.INT64, (None, 1))
    same = ServedModel("same", "1.0.0", str(file), "sha256:s")
    steps = [
        ask("first", "same"),
        ask("risky", "table", "steps.first.y"),
        ask("beside", "same"),
        {"name": "both", "concat": {"of": ["steps.risky.y", "steps.beside.y"]}},
    ]
    return [table, same, graph(folder, steps, {"y": "steps.both"})]


def test_a_failing_step_fails_its_request_by_name_and_no_neighbour(tmp_path):
    async def main(table):
        earlier = under_way()
        live = table.resolve("flow")
        for _ in range(3):
            good = [put(live, np.array([[value]])) for value in (1, 2, 3)]
            bad = put(live, np.array([[1000]]))
            plain = put(table.resolve("table"), np.array([[7]]))
            for value, member in enumerate(good, 1):
                assert (await member.answer())[0].tolist() == [[10 * value, value]]
            assert (await plain.answer())[0].tolist() == [[70]]
            with pytest.raises(Exception, match=r"^step 'risky': "):
                await bad.answer()
        assert not live.busy
        assert live.batcher.items == 0
        del good, bad, plain, member
        await let_go(earlier)

    serve(looked_up(tmp_path), main)


def test_an_operation_that_cannot_be_done_names_its_step(tmp_path):
    steps = [
        {"name": "word", "labels": {"of": "$input.at", "labels": ["no", "yes"]}},
        ask("a", "two"),
    ]
    at = {"name": "at", "datatype": "INT64", "shape": [None]}
    outputs = {"word": "steps.word", "y": "steps.a.y"}

    async def main(table):
        live = table.resolve("flow")
        words, _ = await put_named(live, x=rows(1, 2), at=np.array([1, 0])).answer()
        assert words.tolist() == [b"yes", b"no"]
        with pytest.raises(InvalidError, match="step 'word': there are 2 labels"):
            await put_named(live, x=rows(1), at=np.array([2])).answer()
        assert not live.busy

    serve([times(tmp_path, "two", 2.0), graph(tmp_path, steps, outputs, ("x", at))], main)


@pytest.mark.parametrize("turns", range(0, 8, 2))
def test_who_leaves_at_any_stage_leaves_nothing_behind(tmp_path, turns):
    async def main(table):
        earlier = under_way()
        live = table.resolve("flow")
        for _ in range(3):
            await put(live, rows(1)).answer()
        leaving = [put(live, rows(value)) for value in range(5)]
        staying = [put(live, rows(value)) for value in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for member in leaving:
            live.batcher.cancel(member)
            live.batcher.cancel(member)  # twice is quiet
        for value, member in enumerate(staying):
            assert (await member.answer())[0][0, 0] == 6 * value
        assert not live.busy
        assert live.batcher.items == 0
        assert all(table.resolve(name).batcher.items == 0 for name in ("two", "three"))
        del leaving, staying, member
        await let_go(earlier)

    serve(chained(tmp_path), main)


def test_no_request_leaves_a_circle_behind(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        await put(live, rows(1, -1)).answer()
        gc.collect()
        gc.disable()
        earlier = under_way()
        try:
            for _ in range(20):
                await put(live, rows(1, -1, 20)).answer()
            assert not under_way().keys() - earlier.keys()
        finally:
            gc.enable()

    serve(switched(tmp_path), main)


def test_a_deadline_holds_at_every_step(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        member = put(live, rows(1))
        await member.answer()
        late = put(live, rows(1), deadline_ns=member.queued_ns)
        with pytest.raises(DeadlineError, match="step 'a': "):
            await late.answer()
        assert np.array_equal(
            (await put(live, rows(1), deadline_ns=late.queued_ns + 10**11).answer())[0], rows(6)
        )

    serve(chained(tmp_path), main)


def test_a_graph_has_a_time_out_of_its_own(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        member = put(live, rows(1))
        assert member.deadline_ns == member.received_ns + 60_000_000_000
        assert np.array_equal((await member.answer())[0], rows(6))

    serve(chained(tmp_path, batching=Batching(timeout_ms=60_000)), main)


def test_a_full_graph_refuses_and_an_empty_one_takes_anything(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        first = put(live, rows(*range(5)))
        with pytest.raises(UnavailableError, match="5 items under way and takes at most 4"):
            put(live, rows(1))
        await first.answer()
        await put(live, rows(1)).answer()

    serve(chained(tmp_path, batching=Batching(max_queue_size=4)), main)


def test_priorities_go_with_the_request_as_far_as_models_know_them(tmp_path):
    seen = []

    async def main(table):
        live, two = table.resolve("flow"), table.resolve("two")
        take = two.batcher.submit
        two.batcher.submit = lambda member: (seen.append(member.priority), take(member))
        for priority in (0, 1, 5):
            await put(live, rows(1), priority=priority).answer()
        with pytest.raises(InvalidError, match=r"priorities 1 .first. to 8, not 9"):
            put(live, rows(1), priority=9)

    lines = chained(tmp_path, batching=Batching(priority_levels=8))
    serve(lines, main)
    assert seen == [0, 1, 1]


def test_draining_answers_who_is_under_way_and_refuses_who_comes(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        member = put(live, rows(1))
        closing = asyncio.ensure_future(table.unload("flow"))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="unloaded"):
            put(live, rows(1))
        assert np.array_equal((await member.answer())[0], rows(6))
        await closing
        with pytest.raises(UnavailableError, match="unloaded on request"):
            table.resolve("flow")
        await table.load("flow")
        await put(table.resolve("flow"), rows(1)).answer()

    serve(chained(tmp_path), main)


def test_what_engines_use_again_is_not_what_others_were_given(tmp_path):
    """After some calls the engine writes every output over the one before."""
    steps = [
        ask("a", "two"),
        ask("b", "two", "steps.a.y"),
        ask("c", "two", "steps.b.y"),
        {"name": "all", "concat": {"of": ["steps.a.y", "steps.b.y", "steps.c.y"]}},
    ]

    async def main(table):
        live = table.resolve("flow")
        for value in range(30):
            (y,) = await put(live, rows(value)).answer()
            assert y.tolist() == [[2 * value] * 3 + [4 * value] * 3 + [8 * value] * 3]
        assert live.graph.bound[0].copied

    serve([times(tmp_path, "two", 2.0), graph(tmp_path, steps, {"y": "steps.all"})], main)


def test_steps_are_counted_and_timed(tmp_path):
    async def main(table):
        live = table.resolve("flow")
        for _ in range(3):
            await put(live, rows(1, -1, 20)).answer()
        told = {
            (family.name, point.labels["step"]): point.value
            for family in families(table._block, table.entries())
            for [point] in family.groups
        }
        assert told["modelworks_graph_step_runs", "small"] == 3
        assert told["modelworks_graph_step_rows", "small"] == 9
        assert told["modelworks_graph_step_rows", "chosen_0"] == 3
        assert told["modelworks_graph_step_seconds", "chosen"] > 0
        assert told["modelworks_graph_step_failures", "chosen"] == 0
        assert not any("\1" in name for name, _ in table._block.models())

    serve(switched(tmp_path), main)


def test_the_chain_is_what_its_models_say_one_by_one(tmp_path):
    async def main(table):
        given = np.random.default_rng(7).normal(size=(40, 3)).astype(np.float32)
        (y,) = await put(table.resolve("two"), given).answer()
        (z,) = await put(table.resolve("three"), y).answer()
        (whole,) = await put(table.resolve("flow"), given).answer()
        assert np.array_equal(z, whole)

    serve(chained(tmp_path), main)


def test_a_traced_request_has_a_lap_for_every_step_branches_included(tmp_path):
    traces = Traces()

    class Kept(Asked):
        """Of a caller who keeps a trace."""

        __slots__ = ("exchange",)

        def succeed(self, outputs):
            traces.note(self.exchange, 200, "flow", "1.0.0")
            super().succeed(outputs)

    async def main(table):
        live = table.resolve("flow")
        await put(live, rows(1)).answer()
        live.follow(traces)
        member = Kept(live, 2, x=rows(1, -1))
        head = Head(
            b"POST", b"/v2/models/flow/infer", b"", {b"traceparent": TRACE}, 0,
            keep_alive=True, modern=True, expects=False, coding="", sampled=True,
        )  # fmt: skip
        member.exchange = Sampled(None, head, b"")
        live.batcher.submit(member)
        await member.answer()
        await put(live, rows(1)).answer()  # of somebody who keeps none
        [told] = traces.take(10, last=True)
        names = [name for name, _, _ in told.call.laps]
        assert sorted(names) == ["chosen", "chosen_0", "more", "once", "small"]
        assert names.index("once") < names.index("more") < names.index("chosen")
        assert all(
            told.call.joined <= begin <= end <= told.call.inferred
            for _, begin, end in told.call.laps
        )

    serve(switched(tmp_path), main)
