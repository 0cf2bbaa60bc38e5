"""A server that ends, and calls of gRPC that would keep it from ending."""

import asyncio

import pytest

from grpc_calls import standing
from modelworks.protocol.oip_grpc.beside import CODEC

pytestmark = pytest.mark.unit
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTIONS = [
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    for version in ("v1", "v1alpha")
]
QUESTION = CODEC.encode("grpc.reflection.v1.ServerReflectionRequest", {"list_services": ""})


@pytest.fixture
def run(tmp_path):
    def runs(main):
        async def whole():
            async with standing(tmp_path) as server:
                await main(server)

        asyncio.run(asyncio.wait_for(whole(), 60))

    return runs


def told(call):
    return [
        CODEC.decode("grpc.health.v1.HealthCheckResponse", each)["status"] for each in call.sent
    ]


def test_who_watches_anew_while_the_server_ends(run):
    async def main(server):
        first = server.dial(WATCH, b"")
        server.app.draining = True
        server.service.drain()
        assert told(first) == ["SERVING", "NOT_SERVING"]
        again = server.dial(WATCH, b"")
        assert told(again) == ["NOT_SERVING"]
        assert again.status[0] == 14
        unknown = server.dial(
            WATCH, CODEC.encode("grpc.health.v1.HealthCheckRequest", {"service": "x"})
        )
        assert (told(unknown), unknown.status[0]) == ([], 14)
        assert server.service.health.watchers == 0

    run(main)


@pytest.mark.parametrize("path", REFLECTIONS)
def test_open_calls_of_reflection(run, path):
    async def main(server):
        left, damaged, done, stays = (server.dial(path) for _ in range(4))
        left.leave()
        damaged.say(b"\xff")
        assert damaged.status[0] == 3
        done.say(QUESTION)
        done.end()
        assert done.status[0] == 0
        stays.say(QUESTION)
        server.service.drain()
        assert stays.status[0] == 14
        assert len(stays.sent) == 1
        assert server.dial(path).status[0] == 14

    run(main)
