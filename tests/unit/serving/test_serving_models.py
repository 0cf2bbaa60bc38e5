"""The model table on real small models: states, names, swaps, refusals; and what loading checks."""

import asyncio
import contextlib
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from modelworks.core.caching import AnswerCache
from modelworks.core.errors import InvalidError, NotFoundError, UnavailableError
from modelworks.core.reference import parse_ref
from modelworks.core.seams import EngineOptions
from modelworks.core.served import Batching, ServedList, ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.plugins import load as plugins
from modelworks.serving import loading
from modelworks.serving.batcher import Member
from modelworks.serving.block import Block
from modelworks.serving.engine_thread import apart
from modelworks.serving.entries import State
from modelworks.serving.lists import check
from modelworks.serving.loading import load_model
from modelworks.serving.models import ModelTable
from modelworks.serving.warmup import batch_problem, made_up, warm_up
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit


@pytest.fixture
def double(tmp_path):
    path = models.double(tmp_path / "double.onnx")
    return ServedModel("double", "1.0.0", str(path), "sha256:1")


def bad(model, tmp_path, **more):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no model")
    return replace(model, path=str(path), **more)


def run(main):
    async def whole():
        changes = []
        table = ModelTable(Block(), 1, lambda: changes.append(1))
        try:
            await main(table)
        finally:
            await table.close(5)
        assert changes

    asyncio.run(asyncio.wait_for(whole(), 60))


def some(generation, *served):
    return ServedList(generation, tuple(served))


def states(table):
    return {(e.served.name, e.served.version): e.state for e in table.entries()}


def test_a_list_is_loaded_and_answers_under_every_name(double):
    async def main(table):
        assert not table.ready
        await table.apply(some(1, replace(double, aliases=("champion", "blue"))))
        live = table.resolve("double")
        assert live is table.resolve("double", "1.0.0") is table.resolve("double@champion")
        assert sorted(name for name, _ in table.names()) == [
            "double",
            "double@blue",
            "double@champion",
        ]
        assert table.ready
        assert live.batched

    run(main)


def test_what_is_not_there_is_told(double):
    async def main(table):
        await table.apply(some(1, double))
        for name, version, said in (
            ("nobody", None, "served are: double"),
            ("double", "9.0.0", "there is 1.0.0"),
            ("double@nobody", None, "no model"),
            ("nobody", "1.0.0", "no model"),
        ):
            with pytest.raises(NotFoundError, match=said):
                table.resolve(name, version)

    run(main)


def test_before_the_first_list_nobody_knows_what_is_not_there(double):
    async def main(table):
        for name in ("double", "double@champion", "none"):
            with pytest.raises(UnavailableError, match="starting"):
                table.entry(name)
        with pytest.raises(UnavailableError, match="starting"):
            table.resolve("double", "1.0.0")
        loading = asyncio.ensure_future(table.apply(some(1, double)))
        while not table.entries():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="load"):  # named, and not ready
            table.resolve("double")
        with pytest.raises(NotFoundError):
            table.entry("none")
        await loading
        assert table.resolve("double").name == "double"
        await table.apply(some(2))
        with pytest.raises(NotFoundError):
            table.entry("double")

    run(main)


def test_an_unchanged_line_is_not_touched_and_a_changed_one_is_replaced(double, tmp_path):
    async def main(table):
        await table.apply(some(1, double))
        first = table.resolve("double")
        await table.apply(some(2, replace(double, aliases=("new",))))
        assert table.resolve("double@new") is first
        triple = models.double(tmp_path / "triple.onnx", factor=3.0)
        await table.apply(some(3, replace(double, path=str(triple), digest="sha256:2")))
        second = table.resolve("double")
        assert second is not first
        with pytest.raises(NotFoundError):
            table.resolve("double@new")
        with pytest.raises(UnavailableError):
            first.batcher.submit(Silent())
        assert table.generation == 3

    run(main)


class Silent(Member):
    __slots__ = ()

    def __init__(self):
        super().__init__({"x": np.ones((1, 3), np.float32)}, 1, None, 0)

    def succeed(self, outputs):
        pass

    def fail(self, error):
        pass


def test_a_name_moves_only_to_what_is_ready(double, tmp_path):
    async def main(table):
        await table.apply(some(1, double))
        broken = bad(double, tmp_path, version="2.0.0")
        await table.apply(some(2, broken))
        assert table.resolve("double").version == "1.0.0"
        assert states(table) == {
            ("double", "1.0.0"): State.READY,
            ("double", "2.0.0"): State.UNAVAILABLE,
        }
        with pytest.raises(UnavailableError, match="ONNX"):
            table.resolve("double", "2.0.0")
        (tmp_path / "bad.onnx").write_bytes((tmp_path / "double.onnx").read_bytes())
        await table.load("double")
        assert table.resolve("double").version == "2.0.0"
        assert states(table) == {("double", "2.0.0"): State.READY}

    run(main)


def test_a_replacement_that_cannot_be_loaded_leaves_the_old_one(double, tmp_path):
    async def main(table):
        await table.apply(some(1, double))
        first = table.resolve("double")
        await table.apply(some(2, bad(double, tmp_path, digest="sha256:3")))
        assert table.resolve("double") is first
        [entry] = table.entries()
        assert entry.state is State.READY
        assert "the old one is" in entry.reason

    run(main)


def test_load_and_unload(double):
    async def main(table):
        await table.apply(some(1, replace(double, autoload=False)))
        assert table.ready
        with pytest.raises(UnavailableError, match="on request"):
            table.resolve("double")
        for _ in range(2):
            await table.load("double")
        live = table.resolve("double")
        await table.load("double")
        assert table.resolve("double") is live
        for _ in range(2):
            await table.unload("double")
        assert states(table) == {("double", "1.0.0"): State.UNAVAILABLE}
        await table.apply(some(2, replace(double, autoload=False)))
        with pytest.raises(UnavailableError, match="unloaded on request"):
            table.resolve("double")
        for verb in (table.load, table.unload):
            with pytest.raises(NotFoundError):
                await verb("nobody")

    run(main)


def test_an_alias_is_not_loaded_or_unloaded(double):
    async def main(table):
        await table.apply(some(1, replace(double, aliases=("a",))))
        with pytest.raises(NotFoundError, match="alias"):
            await table.unload("double@a")

    run(main)


def test_a_failure_at_start_is_told_and_does_not_stop_the_rest(double, tmp_path):
    async def main(table):
        await table.apply(some(1, bad(double, tmp_path, name="bad"), double))
        assert table.ready
        assert table.resolve("double")
        with pytest.raises(InvalidError):
            await table.load("bad")

    run(main)


def test_a_bug_of_ours_while_it_is_measured_is_a_failed_load_too(double, monkeypatch):
    def measure(*_):
        raise IndexError("too many indices")

    monkeypatch.setattr(loading, "measure", measure)

    async def main(table):
        await table.apply(some(1, double))
        (entry,) = table.entries()
        assert entry.state is State.UNAVAILABLE
        assert "first inferences failed: IndexError" in entry.reason

    run(main)


def test_nothing_that_works_is_not_ready(double, tmp_path):
    async def main(table):
        await table.apply(some(1, bad(double, tmp_path)))
        assert not table.ready
        await table.apply(some(2))
        assert table.ready

    run(main)


def test_loading_is_visible_meanwhile(double):
    async def main(table):
        task = asyncio.ensure_future(table.apply(some(1, double)))
        await asyncio.sleep(0)
        assert states(table) == {("double", "1.0.0"): State.LOADING}
        with pytest.raises(UnavailableError, match="loading"):
            table.resolve("double")
        assert not table.ready
        await task

    run(main)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "1.0.0"}, "twice"),
        ({"version": "2.0.0"}, "2 defaults"),
        ({"version": "2.0.0", "default": False, "aliases": ("a",)}, "alias"),
        ({"version": "2.0.0", "default": False, "batching": Batching(0, 1)}, "batching"),
        ({"name": "other", "default": False}, "0 defaults"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(double, change, said):
    first = replace(double, aliases=("a",))
    with pytest.raises(InvalidError, match=said):
        check(some(1, first, replace(first, **{"aliases": (), **change})))


def test_a_refused_list_changes_nothing(double):
    async def main(table):
        await table.apply(some(1, double))
        with pytest.raises(InvalidError):
            await table.apply(some(2, double, double))
        assert table.generation == 1
        assert table.resolve("double")

    run(main)


def session_of(path):
    return plugins.load("engines", "onnxruntime")().load(path, EngineOptions())


def test_models_whose_rows_depend_on_each_other_are_found_out(tmp_path):
    assert batch_problem(session_of(models.double(tmp_path / "d.onnx")), 1) == ""
    assert "differs" in batch_problem(session_of(models.centre(tmp_path / "c.onnx")), 1)
    assert "axis" in batch_problem(session_of(models.total(tmp_path / "t.onnx")), 1)


def test_limits_of_one_and_dependent_rows_turn_batching_off(double, tmp_path):
    assert load_model(double, 1).batching == Batching(64, 4096)
    one = load_model(replace(double, batching=Batching(1, 8)), 1)
    assert one.unbatched == "max_batch_size is 1"
    path = models.centre(tmp_path / "c.onnx")
    loaded = load_model(replace(double, path=str(path)), 1)
    assert loaded.batching.max_batch_size == 1
    assert "differs" in loaded.unbatched


@pytest.mark.parametrize("datatype", list(Datatype))
def test_every_datatype_is_warmed_up(tmp_path, datatype):
    session = session_of(models.identity(tmp_path / "m.onnx", datatype))
    assert warm_up(session) == 1
    assert batch_problem(session, 1) == ""


def test_free_axes_are_tried_until_one_fits(tmp_path):
    x, y = (models.info(name, Datatype.FP32, (None, None)) for name in "xy")
    node = models.helper.make_node("Reshape", ["x", "shape"], ["y"])
    path = models.write(
        tmp_path / "m.onnx", [node], [x], [y], {"shape": np.array([-1, 16], np.int64)}
    )
    session = session_of(path)
    assert warm_up(session) in {16, 32, 64}


def test_a_model_that_refuses_every_made_up_input_is_served_unbatched(tmp_path):
    path = models.look_up(tmp_path / "m.onnx", size=0)
    loaded = load_model(ServedModel("m", "1.0.0", str(path), ""), 1)
    assert "no made-up input suits" in loaded.unbatched
    assert loaded.batching.max_batch_size == 1
    assert not loaded.cost.inline(1)  # nobody knows what a call takes


@pytest.mark.parametrize(
    ("cache", "said"), [(None, "requests are not batched"), (AnswerCache(), "no answers are kept")]
)
def test_what_is_remarked_of_it_is_what_was_asked_for(tmp_path, cache, said):
    path = models.look_up(tmp_path / "m.onnx", size=0)

    async def main(table):
        await table.apply(some(1, ServedModel("m", "1.0.0", str(path), "sha256:m", cache=cache)))
        assert table.entry("m").reason.startswith(f"{said}: no made-up input suits")

    run(main)


def test_made_up_inputs_follow_the_signature():
    signature = Signature(
        (
            TensorSpec("text", Datatype.BYTES, (None, 1), categories=("red", "blue")),
            TensorSpec("free", Datatype.INT8, (None, None, 2)),
        ),
        (),
    )
    made = made_up(signature, 3, free=5)
    assert made["text"].shape == (3, 1)
    assert set(made["text"].ravel()) <= {b"red", b"blue"}
    assert made["free"].shape == (3, 5, 2)


def test_an_engine_that_is_not_there_or_runs_something_else(double):
    with pytest.raises(NotFoundError, match="no plug-in 'warp'"):
        load_model(replace(double, engine="warp"), 1)
    with pytest.raises(InvalidError, match="onnx"):
        load_model(replace(double, format="tflite"), 1)


def test_closing_with_requests_under_way_answers_them(double):
    async def main(table):
        await table.apply(some(1, double))
        answers = []

        class Asked(Silent):
            __slots__ = ()

            def succeed(self, outputs):
                answers.append(outputs[0].tolist())

        live = table.resolve("double")
        for _ in range(3):
            live.batcher.submit(Asked())
        await table.close(5)
        assert answers == [[[2, 2, 2]]] * 3
        assert not table.ready
        with contextlib.suppress(UnavailableError):
            await table.apply(some(2, double))

    run(main)


def test_a_load_that_takes_too_long_is_given_up_and_its_thread_keeps_nobody():
    done = threading.Event()

    async def main():
        with pytest.raises(TimeoutError):
            await apart("slow", lambda: done.wait(20), 0.05)
        assert await apart("quick", threading.current_thread, 5) is not threading.main_thread()
        with pytest.raises(InvalidError):
            await apart("bad", partial(parse_ref, "/"), 5)
        assert all(t.daemon for t in threading.enumerate() if t.name == "slow")

    asyncio.run(main())
    done.set()


@pytest.mark.parametrize(("shape", "inline"), [((None, 3), True), ((None, None), False)])
def test_a_free_axis_beside_the_batch_keeps_calls_off_the_loop(shape, inline, tmp_path):
    """Its length may make any request a million times the work of the warm-up."""
    path = models.identity(tmp_path / "m.onnx", shape=shape)
    loaded = load_model(ServedModel("m", "1.0.0", str(path), "sha256:1"), 1)
    for _ in range(50):
        loaded.cost.learn(1, 1000)  # whatever this machine was busy with
    assert loaded.cost.inline(1) is inline
