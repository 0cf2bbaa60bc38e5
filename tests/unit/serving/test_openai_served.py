"""OpenAI's API over sockets, before a model that the test holds back: leaving, failing, full."""

import asyncio
import gc
import json
import socket
import struct
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from generating_served import Answer, Server
from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.openai.embeddings import Wanted
from modelworks.serving.generating.numbers import End
from modelworks.serving.generating.tokens import Tokens
from modelworks.serving.openai.vectors import _ids
from modelworks.serving.statistics import Outcome
from modelworks.testing.generating import Words

pytestmark = pytest.mark.unit
ASKED = {"model": "m", "prompt": "one two three"}
SAID = {"model": "m", "messages": [{"role": "user", "content": "one two"}]}
MASK = TensorSpec("attention_mask", Datatype.INT64, (None, None))
DONE = b"data: [DONE]\n\n"


class Talking(Words):
    """`Words` that knows how a conversation is written, and waits with it for the test."""

    context = 100
    adapters = ()

    def __init__(self, outstanding=0):
        super().__init__()
        self.outstanding = outstanding
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Event()

    def chat(self, messages):
        self.asked.set()
        assert self.go.wait(30)
        if messages[0]["role"] == "judge":
            raise InvalidError("no judges here", field="messages")
        return " ".join(message["content"] for message in messages)


@pytest.fixture
def serve(monkeypatch):
    """Start one; everything is over, and nothing left, when the test ends."""
    servers = []

    def start(session=None, **more):
        server = Server(session or Talking(), monkeypatch, **more)
        servers.append(server)
        return server

    yield start
    for server in servers:
        with server:
            server.settled()


def ask(server, path, body, method="POST", headers=""):
    data = json.dumps(body).encode() if body is not None else b""
    head = f"{method} /v1/{path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {len(data)}\r\n"
    sock = server.connect()
    sock.sendall(head.encode() + b"\r\n" + data)
    return sock


def answered(server, path, body, method="POST"):
    """Status and JSON of a whole answer."""
    with ask(server, path, body, method) as sock:
        answer = Answer(sock)
        found = answer.status, answer.json(), answer.headers
        answer.close()
    return found


def chunks(answer):
    """The events of a stream; the last one is DONE."""
    data = b""
    while chunk := answer.chunk():
        data += chunk
    assert data.endswith(DONE)
    return [json.loads(one[6:]) for one in data.removesuffix(DONE).split(b"\n\n") if one]


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# -- answers


def test_a_conversation_goes_through_the_models_own_way_of_writing_it(serve):
    status, found, _ = answered(serve(), "chat/completions", SAID | {"max_tokens": 3})
    assert status == 200
    assert found["choices"][0]["message"]["content"] == "one two one "
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"]["prompt_tokens"] == 2


def test_a_model_without_a_way_gets_a_line_a_message(serve):
    said = SAID | {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
    _, found, _ = answered(serve(Words()), "chat/completions", said)
    assert found["choices"][0]["message"]["content"] == "user: hello assistant: "


def test_without_a_bound_the_context_is_one(serve):
    _, found, _ = answered(serve(), "chat/completions", SAID)
    assert found["usage"]["completion_tokens"] == Talking.context


def test_an_event_comes_before_the_next_is_made(serve):
    session = Talking()
    server = serve(session, held=True)
    with ask(server, "chat/completions", SAID | {"stream": True, "max_tokens": 2}) as sock:
        session.allow(1)
        answer = Answer(sock)
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        first = answer.chunk()
        assert b'"role":"assistant"' in first
        assert b'"content":"one "' in first
        session.allow(1)
        assert [one["choices"][0]["finish_reason"] for one in chunks(answer)] == [None, "length"]
        answer.close()


# -- refusals, in OpenAI's form


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "code"),
    [
        ("completions", ASKED | {"model": "nobody"}, 404, "model", "model_not_found"),
        ("completions", ASKED | {"model": "m:lora"}, 404, "model", "model_not_found"),
        ("completions", ASKED | {"model": "m:1.0.0:"}, 404, "model", "model_not_found"),
        ("completions", ASKED | {"n": 3}, 400, "n", "unsupported"),
        ("completions", [], 400, "body", None),
        ("chat/completions", SAID | {"messages": []}, 400, "messages", None),
        ("embeddings", {"model": "m", "input": "a"}, 400, "model", "unsupported"),
        ("embeddings", {"model": "m", "input": []}, 400, "input", None),
    ],
)
def test_refusals_have_openais_form(serve, path, body, status, param, code):
    found = answered(serve(), path, body)
    assert found[0] == status
    error = found[1]["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert (error["param"], error["code"]) == (param, code)


def test_other_methods_are_refused(serve):
    assert answered(serve(), "models", {}, "POST")[0] == 405


def test_a_template_that_refuses_is_the_callers_to_know(serve):
    said = SAID | {"messages": [{"role": "judge", "content": "x"}]}
    status, found, _ = answered(serve(), "chat/completions", said)
    assert (status, found["error"]["message"]) == (400, "no judges here")


def test_models_are_told_with_their_state(serve):
    server = serve()
    _, found, _ = answered(server, "models", None, "GET")
    assert [one["id"] for one in found["data"]] == ["m", "m:1.0.0"]
    _, one, _ = answered(server, "models/m", None, "GET")
    assert (one["id"], one["ready"], one["name"]) == ("m", True, "m")  # KServe asks here too
    assert answered(server, "models/nobody", None, "GET")[0] == 404


def test_an_engine_that_fails_is_told_of_whole_and_in_a_stream(serve):
    server = serve()
    boom = ASKED | {"prompt": "one two boom"}
    status, found, _ = answered(server, "completions", boom)
    assert (status, found["error"]["type"]) == (500, "server_error")
    with ask(server, "completions", boom | {"stream": True}) as sock:
        answer = Answer(sock)
        data = b""
        while chunk := answer.chunk():
            data += chunk
        answer.close()
    assert b"the third word" in data
    assert DONE not in data


def test_a_time_out_is_over_while_the_conversation_is_written(serve):
    session = Talking()
    server = serve(session)
    session.go.clear()
    try:
        with ask(server, "chat/completions", SAID, headers="X-Timeout-Ms: 50\r\n") as sock:
            answer = Answer(sock)
            assert answer.status == 504
            assert answer.json()["error"]["code"] == "timeout"
            answer.close()
    finally:
        session.go.set()
    assert answered(server, "chat/completions", SAID | {"max_tokens": 1})[0] == 200
    assert session.begun == 2  # the trial at its load, and the one that was not late
    assert server.requests().outcomes[Outcome.EXPIRED] == 1


# -- tokens


def test_tokens_under_way_are_bounded_and_given_back(serve):
    session = Talking(outstanding=20)
    server = serve(session, held=True)
    with ask(server, "completions", ASKED | {"max_tokens": 12}) as first:
        server.until(lambda: session.open == 1)
        status, found, headers = answered(server, "completions", ASKED | {"max_tokens": 3})
        assert (status, found["error"]["param"]) == (429, "max_tokens")
        assert found["error"]["code"] == "rate_limit_exceeded"
        assert headers["retry-after"] == "1"
        session.allow(12)
        answer = Answer(first)
        assert answer.status == 200
        answer.close()
    server.settled()
    session.allow(3)
    assert answered(server, "completions", ASKED | {"max_tokens": 3})[0] == 200
    server.until(lambda: server.numbers().ends[End.REFUSED] == 1)


def test_admission_counts_no_more_than_the_context():
    tokens = Tokens(100, 40)
    back = tokens.admit(10, 1_000_000)
    assert tokens.under_way == 40
    back()
    assert tokens.under_way == 0
    with pytest.raises(InvalidError, match="more than the 100"):
        Tokens(100, 1000).admit(50, 51)
    with pytest.raises(InvalidError, match="no room for an answer"):
        tokens.admit(40, 1)


# -- leaving


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_before_the_first_token_or_after_it_stops_the_work(serve, leave, stream):
    session = Talking()
    server = serve(session, held=True)
    for place, tokens in enumerate((0, 2), 1):
        sock = ask(server, "chat/completions", SAID | {"stream": stream})
        server.until(lambda: session.open == 1)
        session.allow(tokens)
        if stream and tokens:
            answer = Answer(sock)
            assert answer.chunk()
            answer.close()
        leave(sock)
        server.until(lambda wanted=place: session.cancelled == wanted)
    server.until(lambda: server.numbers().ends[End.LEFT] == 2)


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_who_leaves_while_the_conversation_is_written_begins_nothing(serve, leave):
    session = Talking()
    server = serve(session)
    session.go.clear()
    before = server.listener.connections
    sock = ask(server, "chat/completions", SAID)
    assert session.asked.wait(30)
    leave(sock)
    server.until(lambda: server.listener.connections == before)
    session.go.set()
    assert answered(server, "chat/completions", SAID | {"max_tokens": 1})[0] == 200
    assert session.begun == 2  # the trial at its load, and the one that stayed


def test_nothing_stays_of_those_who_came_and_went(serve):
    session = Talking()
    server = serve(session)

    def tasks():
        return server.call(lambda: len(asyncio.all_tasks(server.loop)))

    def round_of(count):
        for place in range(count):
            stream = place % 2 == 0
            sock = ask(server, "chat/completions", SAID | {"stream": stream, "max_tokens": 5})
            if place % 3:
                answer = Answer(sock)
                assert answer.status == 200
                answer.close()
            reset(sock)
        server.settled()
        server.until(lambda: not server.listener.connections)
        server.until(lambda: tasks() == before)
        gc.collect()
        return len(gc.get_objects())

    before = tasks()
    objects = round_of(20)
    assert round_of(200) - objects < 1000


def test_token_ids_that_would_be_filled_up_beyond_reason_are_refused():
    """A body of few bytes: many short inputs, filled up to the longest."""
    spec = TensorSpec("input_ids", Datatype.INT64, (None, None))
    live = SimpleNamespace(name="m", signature=Signature((spec, MASK), ()))
    most = 128
    few = Wanted("m", (), ((1,),) * (most - 1) + ((1,) * 8192,), base64=False, dimensions=0)
    assert _ids(live, few)["input_ids"].shape == (most, 8192)
    with pytest.raises(InvalidError, match="send fewer at a time") as caught:
        _ids(live, replace(few, tokens=(*few.tokens, (1,))))
    assert caught.value.field == "input"
