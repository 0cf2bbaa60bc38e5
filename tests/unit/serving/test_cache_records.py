"""What a request that was given a kept answer leaves in the records, and the bytes that it gets."""

import asyncio
import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from modelworks.core.caching import AnswerCache
from modelworks.core.errors import InvalidError
from modelworks.core.served import ServedList, ServedModel
from modelworks.core.stateful import Sequences, State
from modelworks.protocol.records.calls import CACHED, read_head, unpack_calls
from modelworks.serving.block import Block
from modelworks.serving.cache.numbers import read_cache
from modelworks.serving.lists import check
from modelworks.serving.models import ModelTable
from modelworks.serving.repeated import act_of, infer, infer_again, predict, predict_again
from modelworks.serving.tap import Tap
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit


class Request:
    """An exchange: the bytes that came, and what was answered."""

    def __init__(self, body, **headers):
        self.body = body
        self.headers = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        self.received_ns = time.perf_counter_ns()
        self.gone = False
        self.on_gone = None
        self.answers = []
        self.trace = None
        self.request_id = "r"

    def reply(self, status, body, kind, headers=()):
        self.answers.append((status, body, kind, headers))

    def leave(self):
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()


def body_of(*values, **more):
    x = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": list(values)}
    return json.dumps({"inputs": [x], **more}).encode()


def serving(tmp_path, main, **line):
    path = models.double(tmp_path / "m.onnx")
    given = {"cache": AnswerCache(), **line}
    served = ServedModel("m", "1.0.0", str(path), "sha256:1", **given)

    async def whole():
        block = Block()
        table = ModelTable(block, 1, lambda: None)
        await table.apply(ServedList(1, (served,)))
        try:
            await main(table.resolve("m"), block)
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(whole(), 60))


async def settle(live):
    for _ in range(200):
        await asyncio.sleep(0)
    while live.busy:  # noqa: ASYNC110 - a call that went to the engine's thread
        await asyncio.sleep(0.001)


def told_by(tap):
    return [one for data, _ in tap.take() for one in unpack_calls(read_head(data), data[32:])]


def test_same_bytes_get_same_bytes_and_records_say_where_they_came_from(tmp_path):
    async def main(live, block):
        live.tap = Tap(lambda: None, lambda: 1 << 20, 1, 1.0, 1 << 20)
        binary = body_of(1, 2, 3, parameters={"binary_data_output": True})
        for body in (body_of(1, 2, 3), binary, b'{"rows": [{"x": [1, 2, 3]}]}'):
            act = predict_again if body.startswith(b'{"rows') else infer_again
            first, second = Request(body), Request(body)
            for request in (first, second):
                act(live, request)
                await settle(live)
            assert first.answers == second.answers
            assert first.answers[0][0] == 200
        told = told_by(live.tap)
        assert [one.times[0] == CACHED for one in told] == [False, True, True, True, True, True]
        assert told[0].answer == told[1].answer
        assert told[2].answer_json == told[3].answer_json > 0
        assert [one.status for one in told] == [200, 200, 200, 200, 0, 0]
        found = read_cache(block, block.models()["m", "1.0.0"])
        assert (found.hits, found.misses) == (5, 1)

    serving(tmp_path, main)


def test_a_client_that_leaves_takes_nothing_along(tmp_path):
    async def main(live, block):
        stays, leaves = Request(body_of(1, 2, 3)), Request(body_of(1, 2, 3))
        infer_again(live, leaves)
        infer_again(live, stays)
        leaves.leave()
        await settle(live)
        assert leaves.answers == []
        assert stays.answers[0][0] == 200
        assert not live.batcher._riding
        assert not live.batcher._flights

    serving(tmp_path, main)


def test_what_may_not_be_asked_is_refused_though_the_answer_is_known(tmp_path):
    async def main(live, block):
        good = Request(body_of(1, 2, 3))
        infer_again(live, good)
        await settle(live)
        bad = Request(body_of(1, 2, 3), x_timeout_ms=b"soon")
        infer_again(live, bad)
        await settle(live)
        assert (good.answers[0][0], bad.answers[0][0]) == (200, 400)

    serving(tmp_path, main)


def test_only_models_with_a_cache_go_that_way():
    plain = SimpleNamespace(batcher=object())
    assert act_of(plain, infer) is infer
    assert act_of(plain, predict) is predict


def test_without_a_cache_nothing_stands_before_the_batcher(tmp_path):
    async def main(live, block):
        assert type(live.batcher).__name__ == "Batcher"
        assert act_of(live, infer) is infer
        request = Request(body_of(1, 2, 3))
        infer(live, request)
        await settle(live)
        assert request.answers[0][0] == 200

    serving(tmp_path, main, cache=None)


LINE = ServedModel("m", "1.0.0", "/m.onnx", "sha256:1")
REMEMBERS = Sequences((State("h", "h_out"),))


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (replace(LINE, cache=AnswerCache(max_bytes=1)), "models[0].cache.max_bytes"),
        (replace(LINE, cache=AnswerCache(ttl_s=-1)), "models[0].cache.ttl_s"),
        (replace(LINE, cache=AnswerCache(ttl_s=float("nan"))), "models[0].cache.ttl_s"),
        (replace(LINE, cache=AnswerCache(backend="memcached://a")), "models[0].cache.backend"),
        (replace(LINE, cache=AnswerCache(backend="redis://")), "models[0].cache.backend"),
        (replace(LINE, cache=AnswerCache(backend="redis://a:0")), "models[0].cache.backend"),
        (replace(LINE, cache=AnswerCache(backend="redis://a/b")), "models[0].cache.backend"),
        (replace(LINE, cache=AnswerCache(backend="redis://a:x")), "models[0].cache.backend"),
        (replace(LINE, cache=AnswerCache(backend="redis://a")), "models[0].cache.ttl_s"),
        (replace(LINE, cache=AnswerCache(timeout_ms=0)), "models[0].cache.timeout_ms"),
        (replace(LINE, cache=AnswerCache(), sequences=REMEMBERS), "models[0].cache"),
        (replace(LINE, cache=AnswerCache(), format="graph"), "models[0].cache"),
        (replace(LINE, sequences=Sequences(())), "models[0].sequences.state"),
        (replace(LINE, sequences=replace(REMEMBERS, max=0)), "models[0].sequences.max"),
        (replace(LINE, sequences=replace(REMEMBERS, idle_s=0)), "models[0].sequences.idle_s"),
        (
            replace(LINE, sequences=Sequences((State("h", "o"), State("h", "p")))),
            "models[0].sequences.state",
        ),
        (
            replace(LINE, sequences=Sequences((State("h", "o", initial="../../secret.npy"),))),
            "models[0].sequences.state[0].initial",
        ),
        (
            replace(LINE, sequences=Sequences((State("h", "o", axis=99),))),
            "models[0].sequences.state[0].axis",
        ),
    ],
)
def test_lines_that_cannot_be(line, field):
    with pytest.raises(InvalidError) as caught:
        check(ServedList(1, (line,)))
    assert caught.value.field == field


def test_a_password_is_not_said_again():
    wrong = replace(LINE, cache=AnswerCache(backend="redis://me:secret@host/x"))
    with pytest.raises(InvalidError) as caught:
        check(ServedList(1, (wrong,)))
    assert "secret" not in caught.value.message
