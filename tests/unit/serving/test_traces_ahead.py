"""Traces of models with something in front of their queue: a cache, sequences, a graph."""

import asyncio
import json
import warnings

import numpy as np
import pytest
from onnx import helper

from grpc_calls import asked, standing
from modelworks.core.caching import AnswerCache
from modelworks.core.graphs import FILE, GRAPH
from modelworks.core.served import ServedModel
from modelworks.core.stateful import Sequences, State
from modelworks.core.tensor import Datatype
from modelworks.serving.traces import Traces
from modelworks.testing import onnx_models as models

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.grpc import service_pb2

pytestmark = pytest.mark.unit
SAMPLED = {b"traceparent": b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"}


def chain(folder):
    """A graph of one step."""
    home = folder / "graph"
    home.mkdir()
    step = {"name": "only", "model": "double", "inputs": {"x": "$input.x"}}
    document = {
        "apiVersion": "modelworks/v1",
        "kind": "Graph",
        "metadata": {"name": "chain"},
        "spec": {"inputs": ["x"], "steps": [step], "outputs": {"y": "steps.only.y"}},
    }
    (home / FILE).write_text(json.dumps(document))
    return ServedModel("chain", "1.0.0", str(home), "sha256:0", GRAPH, GRAPH)


def adding(folder):
    """A model that remembers: `y = h_out = h + x`."""
    tensor = [models.info(name, Datatype.FP32, (None, 3)) for name in ("x", "h", "y", "h_out")]
    nodes = [
        helper.make_node("Add", ["x", "h"], ["y"]),
        helper.make_node("Identity", ["y"], ["h_out"]),
    ]
    file = models.write(folder / "adding.onnx", nodes, tensor[:2], tensor[2:])
    sequences = Sequences((State("h", "h_out"),))
    return ServedModel("adding", "1.0.0", str(file), "sha256:a", sequences=sequences)


def began():
    """Parameters of a sequence's first step."""
    value = service_pb2.InferParameter
    return {"sequence_id": value(int64_param=7), "sequence_start": value(bool_param=True)}


def test_what_the_engine_took_is_told_whatever_stands_before_it(tmp_path):
    file = models.double(tmp_path / "kept.onnx")
    kept = ServedModel("kept", "1.0.0", str(file), "sha256:k", cache=AnswerCache())

    async def main():
        async with standing(tmp_path, kept, adding(tmp_path), chain(tmp_path)) as server:
            traces = Traces()
            server.app.export(traces)
            server.app.refresh()
            x = np.ones((1, 3), "f4")
            for name in ("kept", "kept", "adding", "chain"):
                start = began() if name == "adding" else {}
                call = server.dial("ModelInfer", asked(x, name, parameters=start), headers=SAMPLED)
                await server.done(call)
                assert call.status == (0, "", ())
            computed, again, remembered, through = traces.take(10, last=True)
            assert computed.call.rows == remembered.call.rows == through.call.rows == 1
            assert again.call is None  # nothing was computed for it
            assert [name for name, *_ in through.call.laps] == ["only"]
            await server.done(server.dial("ModelInfer", asked(x, "chain")))
            assert traces.take(10, last=True) == []

    asyncio.run(asyncio.wait_for(main(), 60))
