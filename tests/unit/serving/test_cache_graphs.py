"""Models that keep answers or sequences as steps of a graph."""

from dataclasses import replace

import pytest

from graph_desk import chained, put, rows, serve
from modelworks.core.caching import AnswerCache
from modelworks.core.errors import InvalidError
from modelworks.core.served import ServedList
from modelworks.serving.cache.numbers import read_cache
from modelworks.serving.lists import check

pytestmark = pytest.mark.unit


def counted(block, name):
    found = read_cache(block, block.models()[name, "1.0.0"])
    return found.hits, found.misses


def test_a_step_finds_what_another_way_computed(tmp_path):
    two, three, flow = chained(tmp_path)
    lines = [replace(two, cache=AnswerCache()), replace(three, cache=AnswerCache()), flow]

    async def main(table):
        block = table._block
        (first,) = await put(table.resolve("two"), rows(1)).answer()
        assert first.tolist() == [[2, 2, 2]]
        for _ in range(2):
            (said,) = await put(table.resolve("flow"), rows(1)).answer()
            assert said.tolist() == [[6, 6, 6]]
        assert counted(block, "two") == (2, 1)
        assert counted(block, "three") == (1, 1)

    serve(lines, main)


def test_a_graph_itself_keeps_nothing(tmp_path):
    *_, flow = chained(tmp_path)
    with pytest.raises(InvalidError, match="is a graph: say cache of the models"):
        check(ServedList(1, (replace(flow, cache=AnswerCache()),)))
