"""Events of Kafka against the contract, with the mock cluster that librdkafka brings."""

import time
import uuid

import confluent_kafka as kafka
import pytest

from modelworks.core.errors import InvalidError
from modelworks.plugins import load as plugins
from modelworks.testing.events import Broker, EventContract, taken

# Long: the mock cluster takes seconds for each change of a group.
pytestmark = pytest.mark.long
WAIT_S = 30.0


class Cluster:
    """Brokers that live in a producer, and end with it: there is no broker to start here."""

    def __init__(self):
        self._host = kafka.Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1})
        brokers = self._host.list_topics(timeout=5).brokers.values()
        self.brokers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        self._sender = kafka.Producer({"bootstrap.servers": self.brokers, "linger.ms": 0})

    def send(self, data, headers):
        told = [(name, value.encode()) for name, value in headers.items()]
        self._sender.produce("ask", data, headers=told, key=b"k")
        assert self._sender.flush(WAIT_S) == 0

    def told(self, topic):
        reader = kafka.Consumer(
            {
                "bootstrap.servers": self.brokers,
                "group.id": uuid.uuid4().hex,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        parts = self._host.list_topics(topic, timeout=5).topics[topic].partitions
        reader.assign([kafka.TopicPartition(topic, part, 0) for part in parts])
        found, ended, deadline = [], 0, time.monotonic() + WAIT_S
        while ended < len(parts) and time.monotonic() < deadline:
            message = reader.poll(0.5)
            if message is None:
                continue
            if message.error():
                ended += 1
            else:
                headers = {name: value.decode() for name, value in message.headers() or ()}
                found.append((headers, message.value()))
        reader.close()
        return found


@pytest.fixture
def cluster():
    return Cluster()


class TestKafka(EventContract):
    @pytest.fixture
    def case(self, cluster, tmp_path):
        for topic in ("ask", "answers", "answers.dead", "reply"):
            cluster._host.list_topics(topic, timeout=5)
        return Broker(
            bus=plugins.load("events", "kafka")(),
            settings={"brokers": cluster.brokers, "subject": "ask", "answers": "answers"},
            send=cluster.send,
            answers=lambda: cluster.told("answers"),
            dead=lambda: cluster.told("answers.dead"),
            elsewhere=lambda: cluster.told("reply"),
            reply="reply",
            required=("brokers", "subject", "answers"),
            impossible={
                "ca": str(tmp_path / "none"),
                "password_file": str(tmp_path / "none"),
            },
        )


def test_how_far_we_are_is_noted_in_order_whoever_is_answered_first(cluster):
    """The second is answered, the first is not: after a restart both come again."""
    settings = {"brokers": cluster.brokers, "subject": "ask", "answers": "answers"}
    bus = plugins.load("events", "kafka")()
    opened = bus.open(settings, 8)
    cluster.send(b"1", {})
    cluster.send(b"2", {})
    cluster.send(b"3", {})
    first, second, _ = taken(opened, 3)
    opened.answer(second, b"", {})
    opened.close()
    opened = bus.open(settings, 8)
    again = taken(opened, 3)
    assert [event.data for event in again] == [b"1", b"2", b"3"]
    assert first.id == again[0].id
    opened.answer(again[1], b"", {})
    opened.answer(again[0], b"", {})
    opened.close()
    opened = bus.open(settings, 8)
    assert [event.data for event in taken(opened, 1)] == [b"3"]
    opened.close()


def test_an_answer_that_is_too_large_is_its_messages_fault(cluster):
    settings = {"brokers": cluster.brokers, "subject": "ask", "answers": "answers"}
    cluster.send(b"1", {"correlation-id": "c-1"})  # before that there is no such topic
    opened = plugins.load("events", "kafka")().open(settings, 8)
    (event,) = taken(opened, 1)
    with pytest.raises(InvalidError, match="did not take an answer") as refused:
        opened.answer(event, b"x" * (2 << 20), {})
    assert refused.value.field is None
    opened.refuse(event, refused.value.message)
    assert [headers["correlation-id"] for headers, _ in cluster.told("answers.dead")] == ["c-1"]
    opened.close()
