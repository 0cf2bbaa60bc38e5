"""Events of a real Mosquitto: the contract, and a circle with a real model server."""

import json
import threading
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from events_brokers import Mosquitto, Post
from jobs_desk import body
from modelworks.client.wire import Wire
from modelworks.control.eventing.asking import asker
from modelworks.control.eventing.pump import Answer, Pump
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.plugins import load as plugins
from modelworks.testing import onnx_models as models
from modelworks.testing.events import Broker, EventContract, OutageContract, taken
from modelworks.testing.servers import Server
from recording_server import until
from store_servers import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def server(tmp_path):
    found = Mosquitto(tmp_path)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def post(server):
    found = Post(server, "answers", "answers/dead", "reply/here")
    yield found
    found.stop()


@pytest.fixture
def listening(server):
    """Settings, and a session that the broker keeps."""
    settings = {"url": server.url, "subject": "ask/+", "answers": "answers"}
    plugins.load("events", "mqtt")().open(settings, 4).close()
    return settings


class TestMqtt(EventContract, OutageContract):
    @pytest.fixture
    def case(self, server, listening, post, tmp_path):
        return Broker(
            bus=plugins.load("events", "mqtt")(),
            settings=listening,
            send=post.send,
            answers=lambda: list(post.came["answers"]),
            dead=lambda: list(post.came["answers/dead"]),
            elsewhere=lambda: list(post.came["reply/here"]),
            reply="reply/here",
            required=("url", "subject", "answers"),
            impossible={
                "ca": str(tmp_path / "none"),
                "url": "http://127.0.0.1",
                "answers": "a/#",
                "password_file": str(tmp_path / "none"),
            },
            stop=server.stop,
            start=server.start,
        )


def test_nobody_there_is_told():
    settings = {"url": f"mqtt://127.0.0.1:{free_port()}", "subject": "a", "answers": "b"}
    with pytest.raises(UnavailableError, match="does not answer"):
        plugins.load("events", "mqtt")().open(settings, 4)


def test_rows_are_answered_and_nonsense_is_refused(server, listening, post, tmp_path):
    path = models.double(tmp_path / "double.onnx")
    with Server(["--file", str(path)]) as served:
        wire = Wire(served.url, "model server", "")
        opened = plugins.load("events", "mqtt")().open(listening, 8)
        pump = Pump(opened, asker(wire, "double", "infer"))
        thread = threading.Thread(target=pump.run)
        thread.start()
        try:
            for number in range(40):
                text = b"nonsense" if number == 7 else body(number, number, number)
                post.send(text, {"correlation-id": f"c-{number}"})
            until(lambda: len(post.came["answers"]) == 39 and post.came["answers/dead"])
        finally:
            pump.stop()
            thread.join()
            opened.close()
            wire.close()
        for headers, data in post.came["answers"]:
            number = float(headers["correlation-id"].partition("-")[2])
            assert json.loads(data)["outputs"][0]["data"] == [2 * number] * 3
        ((headers, _),) = post.came["answers/dead"]
        assert headers["correlation-id"] == "c-7"
        assert (pump.tally.answered, pump.tally.refused) == (39, 1)


def test_a_broker_that_sends_more_than_it_was_asked_for_loses_nothing(listening, post):
    opened = plugins.load("events", "mqtt")().open(listening, 4)
    try:
        for number in range(60):
            post.send(b"x", {"correlation-id": f"c-{number}"})
        found = []
        until(lambda: found.extend(opened.take(60, 0.5)) or found)
        for event in found:  # what is answered makes room for the next ones
            opened.answer(event, b"yes", {})
            found.extend(opened.take(60, 0.5) if event is found[-1] else ())
    finally:
        opened.close()
    assert sorted(int(event.id[2:]) for event in found) == list(range(60))


def test_topics_of_answers_stand_for_one(listening):
    with pytest.raises(InvalidError, match="one topic is wanted") as refused:
        plugins.load("events", "mqtt")().open({**listening, "dead": "x/+"}, 4)
    assert refused.value.field == "dead"


def test_an_answer_for_a_topic_that_cannot_be_is_this_messages_fault(listening, post):
    opened = plugins.load("events", "mqtt")().open(listening, 4)
    pump = Pump(opened, lambda _: Answer(b"yes", "a/b"))
    try:
        post.send(b"one", {"correlation-id": "c-1", "Reply-To": "every/#"})
        post.send(b"two", {"correlation-id": "c-2"})
        pump.run(2)
        until(lambda: post.came["answers"] and post.came["answers/dead"])
    finally:
        opened.close()
    ((headers, data),) = post.came["answers/dead"]
    assert (headers["correlation-id"], data) == ("c-1", b"one")
    assert "wildcards" in headers["refused-because"]
    assert [data for _, data in post.came["answers"]] == [b"yes"]


def test_a_message_without_a_number_is_answered_and_the_connection_stands(listening, post):
    """QoS 0 is acknowledged by nobody: a broker ends a connection that does it all the same."""
    opened = plugins.load("events", "mqtt")().open(listening, 4)
    try:
        post.send(b"one", {"correlation-id": "c-1"}, qos=0)
        post.send(b"two", {"correlation-id": "c-2"})
        for event in taken(opened, 2):
            opened.answer(event, b"answer to " + event.data, {})
        post.send(b"three", {"correlation-id": "c-3"})
        (event,) = taken(opened, 1)
        opened.answer(event, b"answer to three", {})
        assert event.id == "c-3"
        assert opened._session == 1
    finally:
        opened.close()
    until(lambda: len(post.came["answers"]) == 3)


def test_an_answer_that_may_not_be_written_is_told_and_its_message_comes_again(tmp_path):
    """Such a broker acknowledges what it has thrown away, and says so in the acknowledgement."""
    server = Mosquitto(tmp_path, "topic readwrite ask/#\ntopic readwrite answers/dead\n")
    settings = {"url": server.url, "subject": "ask/+", "answers": "answers"}
    bus = plugins.load("events", "mqtt")()
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        post = Post(server, "answers/dead")
        stack.callback(post.stop)
        with closing(bus.open(settings, 4)) as opened:
            post.send(b"one", {"correlation-id": "c-1"})
            (event,) = taken(opened, 1)
            with pytest.raises(InvalidError, match="Not authorized") as refused:
                opened.answer(event, b"yes", {})
            assert refused.value.field == "answers"
        with closing(bus.open(settings, 4)) as opened:
            (event,) = taken(opened, 1)
            assert event.id == "c-1"
            with pytest.raises(InvalidError, match="Not authorized") as refused:
                opened.answer(replace(event, reply="elsewhere"), b"yes", {})
            assert refused.value.field is None  # its own fault alone
            opened.refuse(event, refused.value.message)
            until(lambda: post.came["answers/dead"])
