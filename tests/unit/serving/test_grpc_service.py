"""The gRPC calls of a server, without a network: what is answered, refused, left and ended."""

import asyncio
import gc
import json
import warnings
from functools import partial
from time import perf_counter_ns

import numpy as np
import pytest

from grpc_calls import SERVICE, Gate, asked, standing
from modelworks.core.caching import AnswerCache
from modelworks.core.graphs import FILE, GRAPH
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from modelworks.core.served import Batching, ServedList, ServedModel
from modelworks.core.tensor import Datatype
from modelworks.edge.key_ring import KeyRing
from modelworks.serving.grpc.exchange import Asked
from modelworks.serving.grpc.inferring import MessageMember
from modelworks.serving.grpc.relay import WAYS
from modelworks.serving.grpc.statuses import refusal
from modelworks.serving.grpc.stream import Line
from modelworks.serving.statistics import Outcome, read
from modelworks.serving.traces import Traces
from modelworks.testing import onnx_models as models

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.grpc as triton
    from grpc_health.v1 import health_pb2
    from grpc_reflection.v1alpha import reflection_pb2
    from tritonclient.grpc import service_pb2

pytestmark = pytest.mark.unit
HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


@pytest.fixture
def run(tmp_path):
    """Runs a test's coroutine with a server; further models by `more`."""

    def runs(main, *more):
        async def whole():
            async with standing(tmp_path, *more) as server:
                await main(server)

        asyncio.run(asyncio.wait_for(whole(), 60))

    return runs


def answered(call):
    """The arrays of an answer to `ModelInfer`."""
    assert call.status == (0, "", ()), call.status
    (message,) = call.sent
    return triton.InferResult(service_pb2.ModelInferResponse.FromString(message)).as_numpy("y")


def streamed(call):
    """The answers of a stream: id and refusal of each."""
    found = [service_pb2.ModelStreamInferResponse.FromString(message) for message in call.sent]
    return [(each.infer_response.id, each.error_message) for each in found]


def outcomes(server, model="double"):
    return read(server.block, server.block.models()[model, "1.0.0"]).outcomes


def test_a_prediction(run):
    async def main(server):
        for name in ("double", "double@champion"):
            for turn in range(3):  # the first is read in full, those behind it by template
                array = np.full((turn + 1, 3), turn, "f4")
                call = server.dial("ModelInfer", asked(array, name, id=f"r{turn}"))
                await server.done(call)
                assert np.array_equal(answered(call), 2 * array)
                assert service_pb2.ModelInferResponse.FromString(call.sent[0]).id == f"r{turn}"
        call = server.dial("ModelInfer", asked(model_version="1.0.0"))
        await server.done(call)
        assert outcomes(server)[Outcome.SUCCESS] == 7

    run(main)


def test_rows_of_many_calls_go_together(run):
    async def main(server):
        gate = Gate(server.table.resolve("double"))
        gate.go.set()
        calls = [
            server.dial("ModelInfer", asked(np.full((1, 3), turn, "f4"))) for turn in range(20)
        ]
        for turn, call in enumerate(calls):
            await server.done(call)
            assert np.array_equal(answered(call), np.full((1, 3), 2.0 * turn))
        assert gate.calls < 10

    run(main)


class Posted:
    """A request by HTTP, without a connection."""

    method, query, gone, on_gone = b"POST", b"", False, None
    path = b"/v2/models/double/infer"
    trace, request_id = None, ""

    def __init__(self, value):
        entry = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [value] * 3}
        self.body = json.dumps({"inputs": [entry]}).encode()
        self.headers = {}
        self.received_ns = perf_counter_ns()
        self.told = None

    def reply(self, status, body, content_type, headers=()):
        self.told = (status, json.loads(body))


def test_both_protocols_share_a_batch_and_each_gets_his_own(run):
    async def main(server):
        gate = Gate(server.table.resolve("double"))
        first = server.dial("ModelInfer", asked())
        await server.until(lambda: gate.calls == 1)
        pairs = []
        for value in range(12):
            posted = Posted(value)
            server.app(posted)
            call = server.dial("ModelInfer", asked(np.full((1, 3), 100 + value, "f4")))
            pairs.append((value, posted, call))
        gate.go.set()
        await server.done(first)
        for value, posted, call in pairs:
            await server.done(call)
            assert np.array_equal(answered(call), np.full((1, 3), 200.0 + 2 * value))
            status, told = posted.told
            assert (status, told["outputs"][0]["data"]) == (200, [2.0 * value] * 3)
        assert gate.calls == 2

    run(main)


REFUSED = [
    (asked(model="nobody"), 5, "no model 'nobody' here"),
    (asked(model_version="9"), 5, "no version '9'"),
    (asked(model=""), 3, "the name of a model is wanted"),
    (b"\x0a\x06double\x12", 3, "does not end"),
    (b"\x0a\x06double\x2a\x05a", 3, "damaged"),
    (b"\xff\xff\xff", 3, "damaged"),
    (asked(np.ones((1, 4), "f4")), 3, "inputs[0].shape: "),
    (asked(np.ones((1, 3), "f8")), 3, "24 bytes of data"),
]


@pytest.mark.parametrize(("message", "code", "words"), REFUSED)
def test_what_is_refused_says_why(run, message, code, words):
    async def main(server):
        for _ in range(2):
            call = server.dial("ModelInfer", message)
            status, why, _ = await server.done(call)
            assert status == code
            assert words in why
            assert not call.sent

    run(main)


def test_sequences_are_refused_where_none_are_kept(run):
    async def main(server):
        message = service_pb2.ModelInferRequest.FromString(asked())
        message.parameters["sequence_id"].int64_param = 7
        message.parameters["sequence_start"].bool_param = True
        status, why, _ = await server.done(server.dial("ModelInfer", message.SerializeToString()))
        assert status in {3, 12}
        assert "sequence" in why

    run(main)


@pytest.mark.parametrize("name", ["TraceSetting", "LogSettings", "SystemSharedMemoryRegister"])
def test_what_is_not_offered_says_so(run, name):
    async def main(server):
        status, why, _ = server.dial(name, b"").status
        assert status == 12
        assert "set" in why or "shared memory" in why
        assert server.dial("SystemSharedMemoryStatus", b"").sent == [b""]
        status, why, _ = server.dial("/inference.GRPCInferenceService/Nothing").status
        assert status == 12
        assert "there is no call" in why

    run(main)


def test_a_call_without_a_message(run):
    async def main(server):
        for name in ("ModelInfer", *WAYS):
            call = server.dial(name)
            call.end()
            assert call.status[0] == 13
            assert "without its message" in call.status[1]

    run(main)


def test_a_second_message_is_thrown_away(run):
    async def main(server):
        call = server.dial("ModelInfer")
        call.say(asked())
        call.say(asked(np.full((1, 3), 9, "f4")))
        await server.done(call)
        assert np.array_equal(answered(call), np.full((1, 3), 2.0))
        assert outcomes(server)[Outcome.SUCCESS] == 1

    run(main)


def test_calls_that_wait_leave_the_queue_when_the_client_leaves(run):
    async def main(server):
        live = server.table.resolve("double")
        gate = Gate(live)
        first = server.dial("ModelInfer", asked())
        await server.until(lambda: gate.calls == 1)
        waiting = [server.dial("ModelInfer", asked()) for _ in range(5)]
        stream = server.dial("ModelStreamInfer")
        for at in range(4):
            stream.say(asked(id=f"s{at}"))
        assert live.batcher.items == 9
        waiting[1].leave()
        waiting[3].leave()
        stream.leave()
        assert live.batcher.items == 3
        assert not server.service.streams
        first.leave()  # it is aboard: nobody is told
        gate.go.set()
        for at in (0, 2, 4):
            await server.done(waiting[at])
            assert np.array_equal(answered(waiting[at]), np.full((1, 3), 2.0))
        assert not first.sent
        assert not stream.sent
        assert outcomes(server)[Outcome.CANCELLED] == 6
        assert not live.busy

    run(main)


def test_deadlines_of_the_call_and_of_the_request(run):
    async def main(server):
        gate = Gate(server.table.resolve("double"))
        first = server.dial("ModelInfer", asked())
        await server.until(lambda: gate.calls == 1)
        late = server.dial("ModelInfer", asked(), timeout_us=20_000)
        message = service_pb2.ModelInferRequest.FromString(asked())
        message.parameters["timeout"].int64_param = 20_000
        other = server.dial("ModelInfer", message.SerializeToString(), timeout_us=60_000_000)
        for call in (late, other):
            status, why, _ = await server.done(call)
            assert status == 4
            assert "time-out" in why
        gate.go.set()
        await server.done(first)
        assert outcomes(server)[Outcome.EXPIRED] == 2

    run(main)


def test_a_full_queue_says_when_to_come_again(run, tmp_path):
    path = models.double(tmp_path / "small.onnx")
    small = ServedModel("small", "1.0.0", str(path), "", batching=Batching(2, 2))

    async def main(server):
        gate = Gate(server.table.resolve("small"))
        aboard = server.dial("ModelInfer", asked(model="small"))
        await server.until(lambda: gate.calls == 1)
        calls = [server.dial("ModelInfer", asked(model="small")) for _ in range(4)]
        status, why, trailers = calls[-1].status
        assert status == 14
        assert "try again later" in why
        assert trailers == ((b"grpc-retry-pushback-ms", b"1000"),)
        gate.go.set()
        for call in (aboard, *calls[:2]):
            assert (await server.done(call))[0] == 0

    run(main, small)


def test_a_model_that_is_asleep_is_loaded_for_a_call(run, tmp_path):
    async def main(server):
        await server.table.unload("double")
        status, why, _ = await server.done(server.dial("ModelInfer", asked()))
        assert status == 14
        assert "unloaded on request" in why
        assert server.dial("ModelReady", b"\x0a\x06double").sent == [b""]  # false is the default
        entry = server.table.entry("double")
        entry.dormant = True  # as a lazy server's are
        call = server.dial("ModelInfer", asked())
        gone = server.dial("ModelInfer", asked())
        assert call.status is None
        gone.leave()
        await server.done(call)
        assert np.array_equal(answered(call), np.full((1, 3), 2.0))
        assert not gone.sent

    run(main)


def test_a_new_version_answers_from_the_next_call_on(run, tmp_path):
    triple = models.double(tmp_path / "triple.onnx", factor=3.0)

    async def main(server):
        assert np.array_equal(await both(server), np.full((1, 3), 2.0))
        new = ServedModel("double", "2.0.0", str(triple), "sha256:1")
        await server.table.apply(ServedList(2, (new,)))
        assert np.array_equal(await both(server), np.full((1, 3), 3.0))

    async def both(server):
        call = server.dial("ModelInfer", asked())
        await server.done(call)
        return answered(call)

    run(main)


# -- streams


def test_a_stream_answers_each_request_in_order(run):
    async def main(server):
        gate = Gate(server.table.resolve("double"))
        call = server.dial("ModelStreamInfer")
        call.say(asked(id="a"))
        call.say(asked(model="nobody", id="b"))  # refused at once, told in its turn
        call.say(asked(id="c"))
        call.say(b"\xff")
        assert not call.sent
        gate.go.set()
        await server.until(lambda: len(call.sent) == 4)
        found = streamed(call)
        assert [name for name, _ in found] == ["a", "b", "c", ""]
        assert [bool(why) for _, why in found] == [False, True, False, True]
        assert call.status is None
        call.say(asked(id="d"))
        call.end()
        assert (await server.done(call))[0] == 0
        assert streamed(call)[-1] == ("d", "")
        assert not server.service.streams

    run(main)


def test_a_stream_whose_key_is_revoked_is_answered_no_more(tmp_path):
    file = KeyFile(tmp_path / "keys")
    headers = {b"authorization": b"Bearer " + file.add("shop", Role.PREDICT).encode()}
    file.add("other", Role.PREDICT)
    ring = KeyRing(tmp_path / "keys")

    async def main():
        async with standing(tmp_path, keys=ring) as server:
            call = server.dial("ModelStreamInfer", headers=headers)
            call.say(asked(id="a"))
            await server.until(lambda: len(call.sent) == 1)
            file.revoke("shop")
            ring.look()
            call.say(asked(id="b"))
            await server.until(lambda: len(call.sent) == 2)
            assert streamed(call)[0] == ("a", "")
            name, why = streamed(call)[1]
            assert name == "b"
            assert "key" in why
            call.end()
            assert (await server.done(call))[0] == 0

    asyncio.run(asyncio.wait_for(main(), 60))


def test_an_empty_stream_ends(run):
    async def main(server):
        call = server.dial("ModelStreamInfer")
        call.end()
        assert call.status == (0, "", ())
        assert not server.service.streams

    run(main)


def test_a_stream_may_want_its_first_refusal_as_status(run):
    async def main(server):
        gate = Gate(server.table.resolve("double"))
        call = server.dial("ModelStreamInfer", headers={b"triton_grpc_error": b"true"})
        call.say(asked(id="a"))
        await server.until(lambda: gate.calls == 1)
        call.say(asked(id="b"))
        call.say(asked(model="nobody"))
        assert call.status[0] == 5
        assert server.table.resolve("double").batcher.items == 0  # b has left
        gate.go.set()
        await server.until(lambda: not server.table.resolve("double").busy)
        assert not call.sent
        assert not server.service.streams

    run(main)


def test_a_stream_is_bounded(run):
    async def main(server):
        gate = Gate(server.table.resolve("double"))
        call = server.dial("ModelStreamInfer")
        for at in range(200):
            call.say(asked(id=f"{at}"))
        call.end()
        assert call.held
        assert server.table.resolve("double").batcher.items <= 64
        gate.go.set()
        assert (await server.done(call))[0] == 0
        assert [name for name, _ in streamed(call)] == [f"{at}" for at in range(200)]

    run(main)


def test_a_client_that_does_not_read_is_not_read(run):
    async def main(server):
        call = server.dial("ModelStreamInfer")
        call.waiting = 9 << 20
        call.say(asked(id="a"))
        call.say(asked(id="b"))
        assert call.held
        await server.until(lambda: len(call.sent) == 1)
        call.waiting = 0
        call.on_drained()
        assert not call.held
        await server.until(lambda: len(call.sent) == 2)
        call.leave()

    run(main)


def test_the_end_of_the_server_ends_streams_and_watchers(run):
    async def main(server):
        gate = Gate(server.table.resolve("double"))
        idle, busy = server.dial("ModelStreamInfer"), server.dial("ModelStreamInfer")
        busy.say(asked(id="a"))
        watch = server.dial(HEALTH + "Watch", b"")
        server.app.draining = True
        server.service.drain()
        assert idle.status[0] == 14
        assert busy.status is None
        assert busy.held
        assert watch.status[0] == 14
        assert statuses(watch) == ["SERVING", "NOT_SERVING"]
        late = server.dial("ModelStreamInfer")
        assert late.status[0] == 14
        gate.go.set()
        assert (await server.done(busy))[0] == 14
        assert streamed(busy) == [("a", "")]
        assert not server.service.streams
        assert not server.service.health.watchers

    run(main)


# -- health, reflection, documents


def statuses(call):
    kind = health_pb2.HealthCheckResponse
    return [kind.ServingStatus.Name(kind.FromString(message).status) for message in call.sent]


def test_health(run):
    async def main(server):
        for name in ("", "inference.GRPCInferenceService", "grpc.health.v1.Health"):
            message = health_pb2.HealthCheckRequest(service=name).SerializeToString()
            assert statuses(server.dial(HEALTH + "Check", message)) == ["SERVING"]
        unknown = health_pb2.HealthCheckRequest(service="x").SerializeToString()
        assert server.dial(HEALTH + "Check", unknown).status[0] == 5
        assert server.dial(HEALTH + "Check", b"\xff").status[0] == 3
        assert server.dial(HEALTH + "Watch", b"\xff").status[0] == 3
        watch, other = server.dial(HEALTH + "Watch", b""), server.dial(HEALTH + "Watch", unknown)
        await server.table.unload("double")
        await server.table.load("double")
        assert statuses(watch) == ["SERVING", "NOT_SERVING", "SERVING"]
        assert statuses(other) == ["SERVICE_UNKNOWN"]
        watch.leave()
        other.leave()
        assert not server.service.health.watchers

    run(main)


def test_reflection(run):
    async def main(server):
        for path in (REFLECTION, REFLECTION.replace("v1", "v1alpha")):
            call = server.dial(path)
            ask = partial(reflection_pb2.ServerReflectionRequest, host="h")
            for question in (
                ask(list_services=""),
                ask(file_containing_symbol="inference.ModelInferRequest"),
                ask(file_containing_symbol="inference.GRPCInferenceService.ModelInfer"),
                ask(file_by_filename="grpc/health/v1/health.proto"),
                ask(file_containing_symbol="nothing"),
                ask(all_extension_numbers_of_type="inference.ModelInferRequest"),
                ask(file_containing_extension={"containing_type": "x", "extension_number": 1}),
                ask(),
            ):
                call.say(question.SerializeToString())
            call.end()
            assert call.status == (0, "", ())
            told = [reflection_pb2.ServerReflectionResponse.FromString(m) for m in call.sent]
            names = [service.name for service in told[0].list_services_response.service]
            assert "inference.GRPCInferenceService" in names
            assert "grpc.reflection.v1alpha.ServerReflection" in names
            assert told[1].file_descriptor_response == told[2].file_descriptor_response
            assert told[3].file_descriptor_response.file_descriptor_proto
            assert [each.error_response.error_code for each in told[4:]] == [5, 0, 5, 12]
            assert told[0].original_request.host == told[0].valid_host == "h"
            broken = server.dial(path)
            broken.say(b"\xff")
            assert broken.status[0] == 3

    run(main)


def test_documents_say_what_http_says(run):
    async def main(server):
        def ask(verb, **fields):
            message = getattr(service_pb2, f"{verb}Request")(**fields).SerializeToString()
            call = server.dial(verb, message)
            assert call.status[0] == 0, call.status
            return getattr(service_pb2, f"{verb}Response").FromString(call.sent[0])

        assert ask("ServerLive").live
        assert ask("ServerReady").ready
        assert ask("ModelReady", name="double").ready
        assert ask("ModelReady", name="double", version="1.0.0").ready
        assert not ask("ModelReady", name="nobody").ready
        metadata = ask("ServerMetadata")
        assert (metadata.name, metadata.version) == ("modelworks", "1.2.3")
        model = ask("ModelMetadata", name="double")
        assert list(model.versions) == ["1.0.0"]
        assert list(model.inputs[0].shape) == [-1, 3]
        config = ask("ModelConfig", name="double").config
        assert (config.name, config.max_batch_size) == ("double", 64)
        assert config.input[0].data_type == 11
        assert config.dynamic_batching.default_queue_policy.max_queue_size == 4096
        await server.done(server.dial("ModelInfer", asked(np.ones((5, 3), "f4"))))
        for stats in (
            ask("ModelStatistics"),
            ask("ModelStatistics", name="double"),
            ask("ModelStatistics", name="double", version="1.0.0"),
        ):
            (found,) = stats.model_stats
            assert found.inference_count == 5
            assert found.inference_stats.success.count == 1
            assert found.batch_stats[0].batch_size == 5
        index = ask("RepositoryIndex").models
        assert [(each.name, each.state) for each in index] == [("double", "READY")]
        for name in ("ModelMetadata", "ModelConfig", "ModelStatistics"):
            for fields, code in (({"name": "nobody"}, 5), ({"name": "double", "version": "9"}, 5)):
                message = getattr(service_pb2, f"{name}Request")(**fields).SerializeToString()
                assert server.dial(name, message).status[0] == code
        assert server.dial("ModelMetadata", b"").status[0] == 3
        assert server.dial("ModelMetadata", b"\x0a\x02\xff\xff").status == (
            *(3, "name: the message is damaged: it is no UTF-8 text", ()),
        )

    run(main)


def test_load_and_unload(run):
    async def main(server):
        named = service_pb2.RepositoryModelUnloadRequest(model_name="double").SerializeToString()
        assert (await server.done(server.dial("RepositoryModelUnload", named)))[0] == 0
        ready = service_pb2.RepositoryIndexRequest(ready=True).SerializeToString()
        assert server.dial("RepositoryIndex", ready).sent == [b""]
        assert (await server.done(server.dial("RepositoryModelLoad", named)))[0] == 0
        assert server.dial("RepositoryIndex", ready).sent != [b""]
        unknown = service_pb2.RepositoryModelLoadRequest(model_name="nobody").SerializeToString()
        assert server.dial("RepositoryModelLoad", unknown).status[0] == 5
        assert server.dial("RepositoryModelLoad", b"").status[0] == 3
        asked_for = service_pb2.RepositoryModelLoadRequest(model_name="double")
        asked_for.parameters["file:1/model.onnx"].bytes_param = b"\x00\xff"
        status, why, _ = server.dial("RepositoryModelLoad", asked_for.SerializeToString()).status
        assert status == 12
        assert "file:1/model.onnx" in why

    run(main)


def test_refusals_from_http():
    assert refusal(429, b'{"error":"much"}', ((b"Retry-After", b"7"),)) == (
        *(8, "much", ((b"grpc-retry-pushback-ms", b"7000"),)),
    )
    assert refusal(400, b'{"error":"x is bad","field":"x"}', ())[1] == "x is bad"
    assert refusal(400, b'{"error":"bad","field":"x"}', ())[1] == "x: bad"
    assert refusal(500, b"<html>", ()) == (13, "HTTP status 500", ())
    assert [refusal(code, b"{}", ())[0] for code in (401, 403, 404, 409, 501, 503, 504)] == [
        *(16, 7, 5, 9, 12, 14, 4)
    ]


def test_a_graph_and_a_cache_by_grpc(run, tmp_path):
    """What is asked through a graph is what its model says; what was kept is given again."""
    folder = tmp_path / "graph"
    folder.mkdir()
    step = {"name": "only", "model": "double", "inputs": {"x": "$input.x"}}
    document = {
        "apiVersion": "modelworks/v1",
        "kind": "Graph",
        "metadata": {"name": "chain"},
        "spec": {"inputs": ["x"], "steps": [step], "outputs": {"y": "steps.only.y"}},
    }
    (folder / FILE).write_text(json.dumps(document))
    chain = ServedModel("chain", "1.0.0", str(folder), "sha256:0", GRAPH, GRAPH)
    path = models.double(tmp_path / "kept.onnx")
    kept = ServedModel("kept", "1.0.0", str(path), "sha256:7", cache=AnswerCache())

    async def main(server):
        x = np.random.default_rng(3).normal(size=(4, 3)).astype("f4")
        found = []
        for name in ("double", "chain", "kept", "kept"):
            call = server.dial("ModelInfer", asked(x, name))
            await server.done(call)
            found.append(answered(call).tobytes())
        assert set(found) == {(2 * x).tobytes()}
        bad = server.dial("ModelInfer", asked(np.ones((1, 4), "f4"), "chain"))
        assert (await server.done(bad))[0] == 3
        stats = service_pb2.ModelStatisticsRequest(name="kept").SerializeToString()
        told = service_pb2.ModelStatisticsResponse.FromString(
            server.dial("ModelStatistics", stats).sent[0]
        )
        assert told.model_stats[0].inference_stats.cache_hit.count == 1

    run(main, chain, kept)


def test_traces_and_exemplars(run):
    """A call whose trace is kept is told of with its model and what the engine took."""
    sampled = {b"traceparent": b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"}
    other = {b"traceparent": b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-00"}

    async def main(server):
        traces = Traces()
        server.app.export(traces)
        server.app.refresh()
        for headers in (sampled, other, sampled, {}):
            await server.done(server.dial("ModelInfer", asked(), headers=headers))
        await server.done(server.dial("ModelInfer", asked(model="nobody"), headers=sampled))
        stream = server.dial("ModelStreamInfer", headers=sampled)
        stream.say(asked())
        stream.end()
        await server.done(stream)
        told = traces.take(10, last=True)
        assert [each.status for each in told] == [200, 200, 404, 200]
        assert {each.trace for each in told} == {"ab" * 16}
        assert told[1].path == SERVICE + "ModelInfer"
        assert told[3].path == SERVICE + "ModelStreamInfer"
        assert (told[1].model, told[1].version) == ("double", "1.0.0")
        assert told[1].call is not None
        assert told[1].call.rows == 1
        assert told[2].call is None
        assert server.app.families()  # with an exemplar or without

    run(main)


def test_nothing_is_left_of_what_has_ended(run):
    """Calls and streams that were answered, refused, cancelled: freed without a collection."""
    kinds = (Asked, Line, MessageMember)

    async def main(server):
        gate = Gate(server.table.resolve("double"))
        gate.go.set()
        gc.collect()
        gc.disable()
        try:
            for turn in range(40):
                call = server.dial("ModelInfer", asked())
                refused = server.dial("ModelInfer", asked(np.ones((1, 4), "f4")))
                gone = server.dial("ModelInfer", asked())
                gone.leave()
                stream, left = server.dial("ModelStreamInfer"), server.dial("ModelStreamInfer")
                for each in (stream, left):
                    each.say(asked(id=f"{turn}"))
                    each.say(asked(model="nobody"))
                left.leave()
                stream.end()
                for each in (call, refused, stream):
                    await server.done(each)
            await server.until(lambda: not server.table.resolve("double").busy)
            del call, refused, gone, stream, left, each
            await asyncio.sleep(0)
            alive = [type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds)]
            assert len(alive) < 10  # of 240: the engine's thread still holds its last batch
        finally:
            gc.enable()

    run(main)


def test_texts_and_halves(run, tmp_path):
    more = [
        ServedModel(kind, "1.0.0", str(models.identity(tmp_path / f"{kind}.onnx", kind)), "")
        for kind in (Datatype.BYTES, Datatype.FP16, Datatype.BF16, Datatype.BOOL)
    ]

    async def main(server):
        for each, raw in zip(
            more, (b"\x01\0\0\0a\0\0\0\0", b"\0<\0@", b"\x80\x3f\0\x40", b"\x01\0"), strict=True
        ):
            made = service_pb2.ModelInferRequest(model_name=each.name)
            made.inputs.add(name="x", datatype=each.name, shape=[1, 2])
            made.raw_input_contents.append(raw)
            call = server.dial("ModelInfer", made.SerializeToString())
            await server.done(call)
            answer = service_pb2.ModelInferResponse.FromString(call.sent[0])
            assert list(answer.raw_output_contents) == [raw]
            assert SERVICE

    run(main, *more)
