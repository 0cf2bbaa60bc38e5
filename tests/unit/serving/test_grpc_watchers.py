"""Each who watches the health of a server knows how it is, whatever else happens meanwhile."""

import asyncio

import pytest

from grpc_calls import standing
from modelworks.protocol.oip_grpc.beside import CODEC

pytestmark = pytest.mark.unit
WATCH = "/grpc.health.v1.Health/Watch"


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


def test_who_comes_between_a_change_and_its_telling_takes_nothing_from_the_others(run):
    async def main(server):
        first = server.dial(WATCH, b"")
        server.app.draining = True
        second = server.dial(WATCH, b"")
        server.service.refresh()
        assert told(first) == ["SERVING", "NOT_SERVING"]
        assert told(second) == ["NOT_SERVING"]

    run(main)


def test_who_had_not_read_the_last_one_is_told_when_he_has(run):
    async def main(server):
        slow, quick = server.dial(WATCH, b""), server.dial(WATCH, b"")
        slow.waiting = 7
        await server.table.unload("double")
        assert told(slow) == ["SERVING"]
        slow.waiting = 0
        slow.on_drained()
        slow.on_drained()  # there is no news
        quick.on_drained()
        assert told(slow) == told(quick) == ["SERVING", "NOT_SERVING"]

    run(main)
