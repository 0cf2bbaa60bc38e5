"""Answers piece by piece through a gateway: each as it comes, and leaving goes through."""

import socket
import struct

import pytest

from gateway_served import Door, one
from generating_served import Answer, Server
from modelworks.serving.generating.numbers import End
from modelworks.testing.generating import Words

pytestmark = pytest.mark.unit
TEXT = "one two three"


@pytest.fixture
def served(monkeypatch):
    """A server that waits to be allowed each token, and a gateway before it."""
    with Server(Words(), monkeypatch, held=True) as server:
        url = f"http://127.0.0.1:{server.port}"
        with Door(one(url, name="m")) as door:
            # Whoever asks, asks the gateway.
            server.connect = lambda: socket.create_connection(("127.0.0.1", door.port), timeout=30)
            yield server
        server.settled()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_an_event_passes_before_the_next_is_made(served):
    with served.ask(TEXT, "generate_stream", max_tokens=3) as sock:
        served.session.allow(1)
        answer = Answer(sock)
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = answer.events()
        for word in ("one ", "two ", "three "):
            assert next(events)["text_output"] == word
            served.session.allow(1)
        assert list(events) == []
        served.ask(TEXT, sock=sock, max_tokens=1)  # the connection lives on
        served.session.allow(1)
        assert Answer(sock).json()["text_output"] == "one "
        answer.close()


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize("made", [0, 2])
def test_who_leaves_stops_the_work_behind_it(served, leave, verb, made):
    sock = served.ask(TEXT, verb, max_tokens=1000)
    served.until(lambda: served.session.open == 1)
    served.session.allow(made)
    served.until(lambda: served.numbers().tokens_out == made)
    leave(sock)
    served.until(lambda: served.session.cancelled == 1)
    served.until(lambda: served.numbers().ends[End.LEFT] == 1)


def test_a_server_that_breaks_off_is_seen_to(served):
    with served.ask(TEXT, "generate_stream") as sock:
        served.session.allow(1)
        answer = Answer(sock)
        assert answer.chunk()
        served.call(lambda: [one.cut() for one in list(served.listener._hub.connections)])
        with pytest.raises((ValueError, ConnectionError)):  # no further chunk, no last one
            answer.chunk()
        answer.close()
