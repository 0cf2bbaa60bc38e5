"""Events of a real NATS server: the contract, and the whole circle with a real model server."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from events_brokers import Listener, Nats
from jobs_desk import body
from modelworks.control.eventing.pump import Answer, Pump
from modelworks.core.errors import InvalidError
from modelworks.plugins import load as plugins
from modelworks.testing import onnx_models as models
from modelworks.testing.events import Broker, EventContract, OutageContract, taken
from modelworks.testing.servers import Server
from recording_server import until

pytestmark = pytest.mark.real


@pytest.fixture
def server(tmp_path):
    found = Nats(tmp_path)
    found.start()
    try:
        found.prepare()
        yield found
    finally:
        found.stop()


class TestNats(EventContract, OutageContract):
    @pytest.fixture
    def case(self, server, tmp_path):
        listener = Listener(server, "reply.here")
        yield Broker(
            bus=plugins.load("events", "nats")(),
            settings={
                "url": server.url,
                "subject": "ask.double",
                "answers": "answers",
                "ack_wait": "1",
            },
            send=server.send,
            answers=lambda: server.told("answers"),
            dead=lambda: server.told("answers.dead"),
            elsewhere=listener,
            reply="reply.here",
            required=("url", "subject", "answers"),
            impossible={"credentials": str(tmp_path / "none"), "ca": str(tmp_path / "none")},
            stop=server.stop,
            start=server.start,
        )
        listener.stop()


def test_a_subject_that_no_stream_hears_is_refused_with_the_cure(server):
    settings = {"url": server.url, "subject": "nobody.hears", "answers": "answers"}
    with pytest.raises(InvalidError, match="no stream") as refused:
        plugins.load("events", "nats")().open(settings, 4)
    assert refused.value.field == "subject"


def test_answers_that_no_stream_hears_are_refused_with_the_cure(server):
    settings = {"url": server.url, "subject": "ask.double", "answers": "nobody", "timeout": "3"}
    opened = plugins.load("events", "nats")().open(settings, 4)
    try:
        server.send(b"x", {})
        (event,) = taken(opened, 1)
        with pytest.raises(InvalidError, match="no stream") as refused:
            opened.answer(event, b"", {})
        assert refused.value.field == "answers"
    finally:
        opened.close()


def test_an_answer_that_is_published_again_after_a_kill_is_one_in_the_stream(server):
    settings = {"url": server.url, "subject": "ask.double", "answers": "answers", "ack_wait": "1"}
    opened = plugins.load("events", "nats")().open(settings, 4)
    try:
        server.send(b"x", {})
        (event,) = taken(opened, 1)
        (again,) = taken(opened, 1)  # nobody acknowledged it in time
        assert again.tries == 1
        opened.answer(event, b"yes", {})
        opened.answer(again, b"yes", {})
        assert len(server.told("answers")) == 1
    finally:
        opened.close()


@contextlib.contextmanager
def answering(server, model_url, *more):
    """`modelworks events` as a process."""
    command = [sys.executable, "-m", "modelworks.cli.main", "events", "double"]
    command += ["--from", f"{server.url}/ask.double", "--answers", "answers", "--url", model_url]
    process = subprocess.Popen([*command, "--set", "ack_wait=2", *more])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_killed_and_started_again_it_answers_every_message_once(server, tmp_path):
    """Rows in, answers out with their ids, nonsense to the dead; kill -9 in the middle."""
    path = models.double(tmp_path / "double.onnx")
    with Server(["--file", str(path)]) as served:
        for number in range(60):
            text = b"nonsense" if number == 30 else body(number, number, number)
            server.send(text, {"Correlation-Id": f"c-{number}"})
        with answering(server, served.url) as process:
            until(lambda: len(server.told("answers")) >= 5)
            process.kill()
            process.wait()
        with answering(server, served.url) as process:
            until(lambda: len(server.told("answers")) >= 59)
            until(lambda: server.pending() == 0)
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(30) == 0
        found = server.told("answers")
        assert len(found) == 59
        for headers, data in found:
            number = float(headers["correlation-id"].partition("-")[2])
            assert json.loads(data)["outputs"][0]["data"] == [2 * number] * 3
        ((headers, data),) = server.told("answers.dead")
        assert (headers["correlation-id"], data) == ("c-30", b"nonsense")
        assert "JSON" in headers["refused-because"]


def test_while_the_model_server_is_away_messages_wait_and_none_is_refused(server, tmp_path):
    path = models.double(tmp_path / "double.onnx")
    with Server(["--file", str(path)]) as served:
        port = served.port
        with answering(server, served.url) as process:
            server.send(body(1, 1, 1), {})
            until(lambda: len(server.told("answers")) == 1)
            served.kill()
            server.send(body(2, 2, 2), {})
            until(lambda: server.pending() == 1)
            with Server(["--file", str(path), "--port", str(port)]):
                until(lambda: len(server.told("answers")) == 2, 60)
            assert process.poll() is None
            assert server.told("answers.dead") == []


def test_answers_that_a_server_never_takes_are_their_messages_fault(server):
    settings = {"url": server.url, "subject": "ask.double", "answers": "answers"}
    opened = plugins.load("events", "nats")().open(settings, 4)
    large = b"x" * ((1 << 20) + 1)  # a server takes 1 MiB
    pump = Pump(opened, lambda event: Answer(large if event.id == "c-2" else b"yes", "a/b"))
    try:
        server.send(b"one", {"correlation-id": "c-1", "reply-to": "no subject"})
        server.send(b"two", {"correlation-id": "c-2"})
        server.send(b"three", {"correlation-id": "c-3"})
        pump.run(3)
        dead = {headers["correlation-id"]: data for headers, data in server.told("answers.dead")}
        assert dead == {"c-1": b"one", "c-2": b"two"}
        assert [data for _, data in server.told("answers")] == [b"yes"]
        assert server.pending() == 0
    finally:
        opened.close()


def test_a_durable_that_takes_another_subject_is_refused_with_the_cure(server):
    """Else one model is asked what was meant for the other."""
    settings = {"url": server.url, "subject": "ask.double", "answers": "answers"}
    bus = plugins.load("events", "nats")()
    bus.open(settings, 4).close()
    other = {**settings, "subject": "ask.triple"}
    with pytest.raises(InvalidError, match=r"'ask\.double' .*--set durable=NAME") as refused:
        bus.open(other, 4)
    assert refused.value.field == "durable"
    opened = bus.open({**other, "durable": "triple"}, 4)
    try:
        server.send(b"two", {}, "ask.double")
        server.send(b"three", {}, "ask.triple")
        (event,) = taken(opened, 1)
        assert (event.subject, event.data) == ("ask.triple", b"three")
    finally:
        opened.close()


def test_two_models_that_answer_the_same_message_have_an_answer_each(server):
    """A stream drops what comes twice, by the name that it comes under."""
    settings = {"url": server.url, "subject": "ask.double", "answers": "answers"}
    bus = plugins.load("events", "nats")()
    server.send(b"x", {"correlation-id": "c-1"})
    for name in ("fraud", "churn"):
        opened = bus.open({**settings, "durable": name}, 4)
        try:
            (event,) = taken(opened, 1)
            opened.answer(event, name.encode(), {})
        finally:
            opened.close()
    found = server.told("answers")
    assert [data for _, data in found] == [b"fraud", b"churn"]
    assert {headers["correlation-id"] for headers, _ in found} == {"c-1"}
