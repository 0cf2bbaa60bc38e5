"""Graphs of a lazy server, and the models that they wake."""

import asyncio

import numpy as np
import pytest

from graph_desk import ask, graph, put, rows, times
from modelworks.core.served import ServedList
from modelworks.serving.block import Block
from modelworks.serving.lifetimes import read_lifetime
from modelworks.serving.models import ModelTable
from modelworks.serving.policy import Policy

pytestmark = pytest.mark.unit


def test_a_model_that_two_steps_ask_is_loaded_once(tmp_path):
    steps = [ask("a", "two"), ask("b", "two:1.0.0", "steps.a.y")]
    lines = (times(tmp_path, "two", 2.0), graph(tmp_path, steps, {"y": "steps.b.y"}))

    async def main():
        block = Block()
        table = ModelTable(block, 1, lambda: None, Policy(lazy=True))
        try:
            await table.apply(ServedList(1, lines))
            await table.revive(table.entry("flow"))
            (y,) = await put(table.resolve("flow"), rows(1)).answer()
            assert np.array_equal(y, rows(4))
            found = read_lifetime(block, block.models()["two", "1.0.0"])
            assert (found.loads, found.unloads) == (1, 0)
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(main(), 60))
