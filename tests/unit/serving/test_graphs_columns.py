"""Graphs over models that are trained again: the same tensors, and other columns and classes."""

import asyncio
import json

import pytest

from graph_desk import ask, graph, put
from modelworks.core.served import ServedList, ServedModel
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.protocol.predictions import predictions
from modelworks.serving.block import Block
from modelworks.serving.models import ModelTable
from modelworks.serving.tap import Tap
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit


class Notes:
    """In the place of the outbox: it knows by which signature each notes."""

    def __init__(self):
        self.signatures = []

    def tap(self, served, signature):
        self.signatures.append(signature)
        return Tap(lambda: None, lambda: 1 << 20, len(self.signatures) - 1, 1.0, 1 << 20)


def trained(folder, digest, features, classes):
    """A model that gives its three columns as the probabilities of three classes."""
    signature = Signature(
        (TensorSpec("x", Datatype.FP32, (None, 3)),),
        (TensorSpec("y", Datatype.FP32, (None, 3), Role.PROBABILITIES),),
        Layout.MATRIX,
        features,
        classes,
    )
    file = models.double(folder / f"{digest}.onnx", 3, 1.0)
    return ServedModel("two", "1.0.0", str(file), digest, signature=signature)


async def label(live):
    """Of a plain row."""
    body = json.dumps({"rows": [{"a": 0.7, "b": 0.2, "c": 0.1}]}).encode()
    outputs = await put(live, live.rows(body).inputs["x"]).answer()
    return predictions(live.signature, outputs)[0]["label"]


def test_plain_rows_and_labels_are_those_of_the_model_that_answers_now(tmp_path):
    flow = graph(tmp_path, [ask("a", "two")], {"y": "steps.a.y"})
    first = trained(tmp_path, "first", ("a", "b", "c"), ("p", "q", "r"))
    again = trained(tmp_path, "again", ("c", "b", "a"), ("s", "t", "u"))

    async def main():
        notes = Notes()
        table = ModelTable(Block(), 1, lambda: None, outbox=notes)
        try:
            await table.apply(ServedList(1, (first, flow)))
            live = table.resolve("flow")
            under_way = live.graph.bound
            assert await label(live) == "p"
            await table.apply(ServedList(2, (again, flow)))
            assert table.resolve("flow") is live
            assert await label(live) == await label(table.resolve("two")) == "u"
            assert notes.signatures[live.tap.number] == live.signature
            assert live.graph.bound is not under_way  # they end with the model they set out with
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(main(), 60))
