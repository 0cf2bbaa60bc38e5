"""The sink of NATS against its contract, with a real server that is killed and comes back."""

import pytest

from modelworks.core.errors import InvalidError
from modelworks.plugins import load as plugins
from modelworks.testing.sinks import SinkContract, Sunk, records
from sink_receivers import NatsServer

pytestmark = pytest.mark.real


@pytest.fixture
def server(tmp_path):
    found = NatsServer(tmp_path)
    found.start()
    try:
        found.stream()
        yield found
    finally:
        found.stop()


class TestNats(SinkContract):
    @pytest.fixture
    def case(self, server, tmp_path):
        return Sunk(
            sink=plugins.load("sinks", "nats")(),
            settings={"url": server.url, "subject": "records.{model}"},
            received=server.received,
            stop=server.stop,
            start=server.start,
            required=("url", "subject"),
            impossible={"credentials": str(tmp_path / "none"), "ca": str(tmp_path / "none")},
        )


def test_the_stream_drops_what_comes_twice(server):
    opened = plugins.load("sinks", "nats")().open({"url": server.url, "subject": "records.all"})
    opened.send(records(5))
    opened.send(records(5))
    opened.close()
    assert len(server.received()) == 5


def test_a_subject_that_no_stream_hears_is_refused_with_the_cure(server):
    settings = {"url": server.url, "subject": "elsewhere", "timeout": "3"}
    opened = plugins.load("sinks", "nats")().open(settings)
    with pytest.raises(InvalidError, match="no stream") as refused:
        opened.send(records(1))
    assert refused.value.field == "subject"
    opened.close()
