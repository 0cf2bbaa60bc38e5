"""Which model a message asks, where it names more than one, or at an unusual place."""

import asyncio

import numpy as np
import pytest

from grpc_calls import SERVICE, asked, service_pb2, standing
from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit
STREAM = SERVICE + "ModelStreamInfer"


@pytest.fixture
def run(tmp_path):
    """Runs a test's coroutine with a server of `double` and `other`."""

    def runs(main):
        async def whole():
            path = models.double(tmp_path / "other.onnx")
            served = ServedModel("other", "1.0.0", str(path), "sha256:0")
            async with standing(tmp_path, served) as server:
                await main(server)

        asyncio.run(asyncio.wait_for(whole(), 60))

    return runs


def named(**fields):
    """A message, or a part of one, that names a model."""
    return service_pb2.ModelInferRequest(**fields).SerializeToString()


async def model_of(server, message):
    """Which model answers; or the status and what is said."""
    call = server.dial("ModelInfer", message)
    status, why, _ = await server.done(call)
    if status:
        return status, why
    return service_pb2.ModelInferResponse.FromString(call.sent[0]).model_name


SECOND = {
    "another model": named(model_name="other"),
    "another version": named(model_version="1.0.0"),
    "a number with more bytes than it needs": b"\x8a\x00\x05other",
}


@pytest.mark.parametrize("second", SECOND)
def test_a_message_with_two_names_changes_nothing_for_those_behind_it(run, second):
    async def main(server):
        refused = (3, "model_name and model_version are to stand once, before all other fields")
        for _ in range(2):  # before the name is known, and behind
            told = await model_of(server, asked() + SECOND[second])
            assert (told[0], told[1].removeprefix("model_name: ")) == refused
            for _ in range(3):
                assert await model_of(server, asked()) == "double"
                assert await model_of(server, asked(model="other")) == "other"

    run(main)


def test_fields_in_another_order_are_read(run):
    async def main(server):
        one = service_pb2.ModelInferRequest.FromString(asked())
        one.ClearField("model_name")
        message = one.SerializeToString() + named(model_name="other")
        for _ in range(2):
            assert await model_of(server, message) == "other"
            assert await model_of(server, asked()) == "double"

    run(main)


def test_a_stream_says_which_of_its_requests_has_two_names(run):
    async def main(server):
        call = server.dial(STREAM)
        for message in (asked(id="a"), asked(id="b") + named(model_name="other"), asked(id="c")):
            call.say(message)
        call.end()
        assert (await server.done(call))[0] == 0
        found = [service_pb2.ModelStreamInferResponse.FromString(each) for each in call.sent]
        assert [each.infer_response.id for each in found] == ["a", "b", "c"]
        assert [bool(each.error_message) for each in found] == [False, True, False]
        assert (
            np.frombuffer(found[2].infer_response.raw_output_contents[0], "f4").tolist() == [2] * 3
        )

    run(main)
