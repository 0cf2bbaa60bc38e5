"""The sink of Kafka against its contract, with the mock cluster that librdkafka brings."""

import json
import time

import confluent_kafka as kafka
import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.plugins import load as plugins
from modelworks.testing.sinks import SinkContract, Sunk, records

pytestmark = pytest.mark.contract


class Cluster:
    """Brokers that live in a producer, and end with it: there is no broker to start here."""

    def __init__(self):
        self._host = kafka.Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 2})
        brokers = self._host.list_topics(timeout=5).brokers.values()
        self.brokers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def stop(self):
        self._host = None

    def received(self):
        reader = kafka.Consumer(
            {
                "bootstrap.servers": self.brokers,
                "group.id": "reader",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        topics = self._host.list_topics(timeout=5).topics
        parts = topics["records"].partitions if "records" in topics else {}
        reader.assign([kafka.TopicPartition("records", part, 0) for part in parts])
        found, ended, deadline = [], 0, time.monotonic() + 20
        while ended < len(parts) and time.monotonic() < deadline:
            message = reader.poll(0.5)
            if message is None:
                continue
            if message.error():
                ended += message.error().code() == kafka.KafkaError._PARTITION_EOF
            else:
                found.append(json.loads(message.value()))
        reader.close()
        return found


@pytest.fixture
def cluster():
    return Cluster()


class TestKafka(SinkContract):
    @pytest.fixture
    def case(self, cluster, tmp_path):
        return Sunk(
            sink=plugins.load("sinks", "kafka")(),
            settings={"brokers": cluster.brokers, "topic": "records"},
            received=cluster.received,
            stop=cluster.stop,
            start=lambda: None,
            required=("brokers", "topic"),
            impossible={"ca": str(tmp_path / "none")},
        )

    def test_nobody_there_is_said_in_time_and_the_same_ones_may_come_again(self, case):
        """The mock cluster cannot come back: only that it is said."""
        opened = case.sink.open({**case.settings, "timeout": "2"})
        opened.send(records(3))
        case.stop()
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            opened.send(records(4, first=3))
        assert time.monotonic() - began < 8
        opened.close()


def test_nobody_at_all_is_said_when_it_is_opened():
    with pytest.raises(UnavailableError):
        plugins.load("sinks", "kafka")().open(
            {"brokers": "127.0.0.1:1", "topic": "records", "timeout": "1"}
        )


def test_a_user_needs_a_password(cluster):
    with pytest.raises(InvalidError, match="password_file"):
        plugins.load("sinks", "kafka")().open(
            {"brokers": cluster.brokers, "topic": "records", "user": "me"}
        )
