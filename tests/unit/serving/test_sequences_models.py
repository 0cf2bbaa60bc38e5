"""Models that remember in a model table: replaced, unloaded, refused, told of."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from modelworks.core.errors import ConflictError, InvalidError, UnavailableError
from modelworks.core.served import Batching, ServedList, ServedModel
from modelworks.core.stateful import Sequences, State
from modelworks.core.tensor import Datatype
from modelworks.protocol.openmetrics import write_text
from modelworks.serving import documents
from modelworks.serving.block import Block
from modelworks.serving.entries import State as At
from modelworks.serving.models import ModelTable
from modelworks.serving.routing.router import Router
from modelworks.serving.sequences.numbers import families
from modelworks.serving.sizing import as_set
from modelworks.serving.statistics import Recorder
from modelworks.testing import onnx_models as models
from sequence_desk import Told

pytestmark = pytest.mark.unit
SEQUENCES = Sequences((State("h", "h_out"),), drain_s=5.0)


def adding(folder, name="adding", factor=1.0, width=1):
    """`y = h_out = h + factor * x`."""
    shape = (None, width)
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "h"], ["y"]),
        helper.make_node("Identity", ["y"], ["h_out"]),
    ]
    file = models.write(
        folder / f"{name}.onnx",
        nodes,
        [models.info(one, Datatype.FP64, shape) for one in ("x", "h")],
        [models.info(one, Datatype.FP64, shape) for one in ("y", "h_out")],
        {"factor": np.float64(factor)},
    )
    return ServedModel("m", "1.0.0", str(file), f"sha256:{name}", sequences=SEQUENCES)


def serve(line, main, block=None):
    async def whole():
        table = ModelTable(block or Block(), 1, lambda: None)
        try:
            await table.apply(ServedList(1, (line,)))
            await main(table)
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(whole(), 60))


async def tell(table, *arguments, **marks):
    live = table.resolve("m")
    step = Told(*arguments, **marks)
    step.live = live
    live.batcher.submit(step)
    async with asyncio.timeout(30):
        while not step.answers:  # noqa: ASYNC110 - a member tells nobody
            await asyncio.sleep(0.001)
    return step.answers[0], step.live


def test_what_callers_see_and_what_is_told(tmp_path):
    async def main(table):
        assert (await tell(table, 7, 2, start=True))[0] == 2
        assert (await tell(table, 7, 3))[0] == 5
        live = table.resolve("m")
        assert [spec.name for spec in live.signature.inputs] == ["x"]
        assert [spec.name for spec in live.signature.outputs] == ["y"]
        assert live.busy  # it is not evicted
        told = json.loads(documents.config(live, as_set(1, 1)))
        assert told["sequence_batching"]["state"] == [{"input_name": "h", "output_name": "h_out"}]
        text = write_text(families(table._block)).decode()
        assert 'modelworks_sequences_open{model="m",version="1.0.0"} 1' in text
        assert 'modelworks_sequences_ended_total{model="m",version="1.0.0",reason="end"} 0' in text

    serve(adding(tmp_path), main)


def test_an_open_sequence_keeps_no_copy_for_a_shadow_waiting(tmp_path):
    async def main(table):
        router = Router(table._block)
        router.begin(table, lambda *_: None, Recorder.of_server(table._block))
        await tell(table, 7, 2, start=True)
        async with asyncio.timeout(30):
            while router._busy():  # noqa: ASYNC110 - a queue tells nobody that it is empty
                await asyncio.sleep(0.001)
        assert table.resolve("m").busy

    serve(adding(tmp_path), main)


def test_a_request_has_one_row_where_requests_share_no_call_too(tmp_path):
    async def main(table):
        assert not table.resolve("m").batched
        with pytest.raises(InvalidError, match="one row, not 3"):
            await tell(table, 7, 2, start=True, rows=3)
        assert (await tell(table, 7, 2, start=True))[0] == 2

    serve(replace(adding(tmp_path), batching=Batching(max_batch_size=1)), main)


def test_a_file_in_the_place_of_another_ends_what_that_one_began(tmp_path):
    async def main(table):
        await tell(table, 7, 2, start=True)
        old = table.resolve("m")
        changed = adding(tmp_path, "ten", factor=10.0)
        applied = asyncio.ensure_future(table.apply(ServedList(2, (changed,))))
        async with asyncio.timeout(30):
            while table.resolve("m") is old:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        assert (await tell(table, 8, 1, start=True)) == (10, table.resolve("m"))
        assert (await tell(table, 7, 1)) == (3, old)
        assert (await tell(table, 7, 1, end=True)) == (4, old)
        await asyncio.wait_for(applied, 4)  # it did not wait for the whole of `drain_s`
        with pytest.raises(InvalidError, match="not open here"):
            await tell(table, 7, 1)
        assert (await tell(table, 8, 1))[0] == 20

    serve(adding(tmp_path), main)


def test_another_form_of_inputs_takes_over_nothing(tmp_path):
    async def main(table):
        await tell(table, 7, 2, start=True)
        wide = adding(tmp_path, "wide", width=2)
        await asyncio.wait_for(table.apply(ServedList(2, (wide,))), 4)
        with pytest.raises(InvalidError, match="not open here"):
            await tell(table, 7, 1)

    serve(adding(tmp_path), main)


def test_unloading_waits_for_open_sequences(tmp_path):
    async def main(table):
        await tell(table, 7, 2, start=True)
        with pytest.raises(ConflictError, match="1 open sequences: end them, or wait"):
            await table.unload("m")
        await tell(table, 7, 2, end=True)
        await table.unload("m")
        with pytest.raises(UnavailableError, match="unloaded on request"):
            table.resolve("m")

    serve(adding(tmp_path), main)


def test_what_is_no_longer_on_the_list_goes_at_once(tmp_path):
    async def main(table):
        await tell(table, 7, 2, start=True)
        await asyncio.wait_for(table.apply(ServedList(2, ())), 4)
        assert table.entries() == []

    serve(adding(tmp_path), main)


def test_several_workers_refuse_it(tmp_path):
    async def main(table):
        (entry,) = table.entries()
        assert entry.state is At.UNAVAILABLE
        assert "this server has 2 workers: serve it with --workers 1" in entry.reason

    serve(adding(tmp_path), main, Block(2))


def test_every_input_a_state_is_refused(tmp_path):
    line = replace(adding(tmp_path), sequences=Sequences((State("h", "h_out"), State("x", "y"))))

    async def main(table):
        (entry,) = table.entries()
        assert "callers have nothing to send" in entry.reason

    serve(line, main)
