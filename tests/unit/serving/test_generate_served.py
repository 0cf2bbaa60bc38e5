"""`/generate` and `/generate_stream` over sockets: answers, refusals, and every way to leave."""

import json
import socket
import struct
import threading
from contextlib import closing
from dataclasses import replace

import httpx
import pytest

from generating_served import LIMITS, Answer, Server
from modelworks.core.served import Batching, ServedList
from modelworks.serving import loading
from modelworks.serving.generating import sending
from modelworks.serving.generating.numbers import End
from modelworks.serving.statistics import Outcome, Stage
from modelworks.serving.traces import Traces
from modelworks.testing.generating import Words

pytestmark = pytest.mark.unit
TEXT = "one two three"


@pytest.fixture
def serve(monkeypatch):
    """Start one; everything is over, and nothing left, when the test ends."""
    servers = []

    def start(session=None, **more):
        server = Server(session or Words(), monkeypatch, **more)
        servers.append(server)
        return server

    yield start
    for server in servers:
        with server:
            server.settled()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half(sock):
    sock.shutdown(socket.SHUT_WR)


LEAVING = [socket.socket.close, reset, half]


# -- answers


def test_a_whole_answer(serve):
    server = serve()
    with server.ask(TEXT, parameters={"max_tokens": 4}, id="n-1") as sock:
        answer = Answer(sock)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "id": "n-1",
            "model_name": "m",
            "model_version": "1.0.0",
            "text_output": "one two three one ",
            "finish_reason": "length",
            "num_input_tokens": 3,
            "num_output_tokens": 4,
        }
        answer.close()


def test_events(serve):
    server = serve()
    with server.ask(TEXT, "generate_stream", max_tokens=4, stop=["ee"]) as sock:
        answer = Answer(sock)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        found = list(answer.events())
        assert "".join(one["text_output"] for one in found) == "one two thr"
        assert all(one["model_name"] == "m" for one in found)
        assert "finish_reason" not in found[0]
        assert found[-1]["finish_reason"] == "stop"
        assert found[-1]["num_output_tokens"] == 3
        server.ask(TEXT, "generate_stream", sock=sock, max_tokens=1)  # the connection lives on
        assert len(list(Answer(sock).events())) == 1
        answer.close()


def test_an_event_comes_before_the_next_is_made(serve):
    session = Words()
    server = serve(session, held=True)
    with server.ask(TEXT, "generate_stream", max_tokens=3) as sock:
        session.allow(1)
        answer = Answer(sock)
        events = answer.events()
        assert next(events)["text_output"] == "one "
        session.allow(1)
        assert next(events)["text_output"] == "two "
        session.allow(1)
        assert next(events)["text_output"] == "three "
        assert list(events) == []
        answer.close()


def test_over_http_2(serve):
    session = Words()
    server = serve(session, held=True)
    url = f"http://127.0.0.1:{server.port}/v2/models/m/generate_stream"
    body = {"text_input": TEXT, "max_tokens": 2}
    with httpx.Client(http1=False, http2=True, timeout=30) as client:
        session.allow(1)  # the head leaves with the first piece
        with client.stream("POST", url, json=body) as answer:
            lines = answer.iter_lines()
            assert '"one "' in next(lines)
            session.allow(1)
            rest = list(lines)
            assert '"two "' in rest[1]
        assert client.post(url, json={"text_input": 7}).status_code == 400
    session.allow(1)
    client = httpx.Client(http1=False, http2=True, timeout=30)
    with client, client.stream("POST", url, json=body) as answer:
        next(answer.iter_lines())
    server.until(lambda: session.cancelled == 1)  # its connection was left in the middle
    server.until(lambda: server.numbers().ends[End.LEFT] == 1)


def test_a_version_may_be_named_and_stream_turned_off(serve):
    server = serve()
    path = "/v2/models/m/versions/1.0.0"
    with server.ask(TEXT, "generate_stream", path=path, max_tokens=3, stream=False) as sock:
        answer = Answer(sock)
        [only] = answer.events()
        assert only["text_output"] == "one two three "
        answer.close()


def test_a_long_prompt_is_read_beside_the_loop(serve):
    server = serve(Words(context=10_000))
    with server.ask("word " * 2000, max_tokens=1) as sock:
        answer = Answer(sock)
        assert answer.json()["num_input_tokens"] == 2000
        answer.close()


def test_what_the_model_is_asked_at_infer(serve):
    server = serve()
    inputs = [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["one two"]}]
    body = json.dumps({"inputs": inputs}).encode()
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(head.encode() + body)
        answer = Answer(sock)
        [output] = answer.json()["outputs"]
        assert output["data"] == ["one two " * 4]
        answer.close()


# -- refusals


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("more", "status", "field"),
    [
        ({"max_tokens": 0}, 400, "parameters.max_tokens"),
        ({"nobody": 1}, 400, "parameters.nobody"),
        ({"adapter": "x"}, 400, "adapter"),
        ({"text_input": "word " * 1001}, 400, "prompt"),
        ({"text_input": "w " * 5000}, 400, "prompt"),
        ({"text_input": 7}, 400, "text_input"),
    ],
)
def test_what_cannot_be_is_refused_before_the_head_leaves(serve, verb, more, status, field):
    server = serve()
    with server.ask(**({"text": TEXT, "verb": verb} | _renamed(more))) as sock:
        answer = Answer(sock)
        assert answer.status == status
        assert answer.json()["field"] == field
        answer.close()
    server.until(lambda: server.requests().outcomes[Outcome.INVALID] == 1)


def _renamed(more):
    return {"text" if name == "text_input" else name: value for name, value in more.items()}


def test_generate_answers_with_one_object(serve):
    with serve().ask(TEXT, stream=True) as sock:
        answer = Answer(sock)
        assert answer.status == 400
        assert "/generate_stream" in answer.json()["error"]
        answer.close()


def test_a_full_engine_is_told_of(serve):
    session = Words(most=1)
    server = serve(session, held=True)
    with server.ask(TEXT, "generate_stream", max_tokens=1) as first:
        server.until(lambda: session.open == 1)
        with server.ask(TEXT, "generate_stream") as second:
            answer = Answer(second)
            assert answer.status == 503
            assert answer.headers["retry-after"] == "2"
            answer.close()
        session.allow(1)
        answer = Answer(first)
        assert answer.status == 200
        assert list(answer.events())
        answer.close()
    server.until(lambda: server.numbers().ends[End.REFUSED] == 1)


def test_more_than_may_be_open_are_refused(serve):
    session = Words()
    server = serve(session, held=True, batching=Batching(max_queue_size=2))
    with server.ask(TEXT, max_tokens=1) as one, server.ask(TEXT, max_tokens=1) as two:
        server.until(lambda: session.open == 2)
        with server.ask(TEXT) as third:
            answer = Answer(third)
            assert answer.status == 503
            assert "max_queue_size" in answer.json()["error"]
            answer.close()
        session.allow(1)
        for sock in (one, two):
            answer = Answer(sock)
            assert answer.status == 200
            answer.close()


def test_an_engine_that_fails_is_told_of_in_the_stream(serve):
    server = serve()
    with server.ask("one two boom", "generate_stream") as sock:
        answer = Answer(sock)
        found = list(answer.events())
        assert [one.get("text_output") for one in found] == ["one ", "two ", None]
        assert "the third word" in found[-1]["error"]
        answer.close()
    with server.ask("one two boom") as sock:
        answer = Answer(sock)
        assert answer.status == 500
        answer.close()
    server.until(lambda: server.numbers().ends[End.FAILED] == 2)


# -- time


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
def test_a_time_out_before_the_first_piece(serve, verb):
    session = Words()
    server = serve(session, held=True)
    with server.ask(TEXT, verb, headers="X-Timeout-Ms: 50\r\n") as sock:
        answer = Answer(sock)
        assert answer.status == 504
        answer.close()
    server.until(lambda: session.cancelled == 1)
    server.until(lambda: server.numbers().ends[End.LATE] == 1)


def test_a_time_out_of_nothing_is_none(serve):
    with serve().ask(TEXT, headers="X-Timeout-Ms: 0\r\n", max_tokens=1) as sock:
        answer = Answer(sock)
        assert answer.status == 200
        answer.close()


def test_a_time_out_that_is_no_number_is_refused(serve):
    with serve().ask(TEXT, headers="X-Timeout-Ms: soon\r\n", max_tokens=1) as sock:
        answer = Answer(sock)
        assert answer.status == 400
        answer.close()


def test_a_trace_knows_the_model_and_the_whole_time(serve):
    session = Words()
    server = serve(session, held=True)
    traces = Traces()
    server.call(lambda: server.app.export(traces))
    trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    with server.ask(TEXT, "generate_stream", headers=trace, max_tokens=2) as sock:
        session.allow(1)
        answer = Answer(sock)
        events = answer.events()
        next(events)
        assert server.call(lambda: traces.take(9, last=True)) == []
        session.allow(1)
        assert len(list(events)) == 1
        answer.close()
    [told] = server.call(lambda: traces.take(9, last=True))
    assert (told.model, told.version, told.status) == ("m", "1.0.0", 200)


def test_a_time_out_in_the_middle_is_an_event(serve):
    session = Words()
    server = serve(session, held=True)
    with server.ask(TEXT, "generate_stream", headers="X-Timeout-Ms: 300\r\n") as sock:
        session.allow(1)
        answer = Answer(sock)
        first, last = answer.events()
        assert first["text_output"] == "one "
        assert "time-out" in last["error"]
        answer.close()
    server.until(lambda: session.cancelled == 1)


def test_the_models_own_time_out_is_that_of_the_first_piece(serve):
    session = Words()
    server = serve(session, held=True, batching=Batching(timeout_ms=150))
    with server.ask(TEXT, "generate_stream", max_tokens=2) as sock:
        session.allow(1)
        answer = Answer(sock)
        events = answer.events()
        assert next(events)["text_output"] == "one "
        with server.ask(TEXT) as other:
            late = Answer(other)  # comes after the time-out of both
            assert late.status == 504
            late.close()
        session.allow(1)
        assert next(events)["text_output"] == "two "
        answer.close()


# -- leaving


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize("stage", ["queued", "first", "middle"])
def test_who_leaves_stops_the_work(serve, leave, verb, stage):
    session = Words()
    server = serve(session, held=True)
    sock = server.ask(TEXT, verb, max_tokens=1000)
    with closing(sock):
        server.until(lambda: session.open == 1)
        made = {"queued": 0, "first": 1, "middle": 5}[stage]
        session.allow(made)
        server.until(lambda: server.numbers().tokens_out == made)
        leave(sock)
        server.until(lambda: session.cancelled == 1)
    server.until(lambda: server.numbers().ends[End.LEFT] == 1)
    assert server.requests().outcomes[Outcome.CANCELLED] == 1


def test_who_leaves_with_the_last_piece_harms_nobody(serve):
    session = Words()
    server = serve(session, held=True)
    with server.ask(TEXT, "generate_stream", max_tokens=2) as other:
        server.until(lambda: session.open == 1)
        sock = server.ask(TEXT, "generate_stream", max_tokens=1)
        server.until(lambda: session.open == 2)
        session.allow(1)
        reset(sock)
        session.allow(1)
        answer = Answer(other)
        assert "".join(one["text_output"] for one in answer.events()) == "one two "
        answer.close()


def test_who_leaves_while_a_long_prompt_is_read_stops_it(serve, monkeypatch):
    session = Words(context=10_000)
    reading, go = threading.Event(), threading.Event()
    begin = session.generate

    def slowly(prompt, sampling, tell):
        reading.set()
        assert go.wait(30)
        return begin(prompt, sampling, tell)

    server = serve(session, held=True)
    monkeypatch.setattr(session, "generate", slowly)
    sock = server.ask("word " * 2000)
    assert reading.wait(30)
    sock.close()
    server.until(lambda: not server.listener.connections)
    go.set()
    server.until(lambda: session.cancelled == 1)


def test_who_does_not_read_is_let_go(serve):
    """More waits than the socket's and our own bounds hold."""
    session = Words()
    server = serve(session)
    sock = server.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with server.ask("word" * 20_000, "generate_stream", sock=sock, max_tokens=1_000_000):
        server.until(lambda: session.cancelled == 1, 60)
    server.until(lambda: server.numbers().ends[End.SLOW] == 1)


def test_who_reads_too_slowly_is_let_go_after_a_time(serve, monkeypatch):
    """Less waits than the larger bound, for longer than the smaller one may."""
    monkeypatch.setattr(sending, "SECONDS", 0.1)
    monkeypatch.setattr(sending, "MOST", 1 << 40)
    session = Words()
    server = serve(session, held=True)
    with server.ask("word" * 20_000, "generate_stream", max_tokens=1_000_000):
        server.until(lambda: session.open == 1)
        session.allow(100)  # some megabytes: more than sockets hold
        server.until(lambda: session.cancelled == 1)
    server.until(lambda: server.numbers().ends[End.SLOW] == 1)


def test_who_reads_again_in_time_is_kept(serve, monkeypatch):
    monkeypatch.setattr(sending, "MOST", 1 << 40)
    session = Words()
    server = serve(session, held=True)
    with server.ask("word" * 20_000, "generate_stream", max_tokens=100) as sock:
        server.until(lambda: session.open == 1)
        session.allow(100)
        server.until(lambda: server.numbers().tokens_out == 100)
        answer = Answer(sock)
        assert sum(len(one["text_output"]) for one in answer.events()) == 100 * 80_001
        answer.close()


# -- the end of the model


def test_an_unload_lets_what_is_open_end(serve):
    session = Words()
    server = serve(session, held=True)
    with server.ask(TEXT, "generate_stream", max_tokens=2) as sock:
        session.allow(1)
        answer = Answer(sock)
        events = answer.events()
        assert next(events)["text_output"] == "one "
        unloading = threading.Thread(target=server.wait, args=(server.table.unload("m"),))
        unloading.start()
        server.until(lambda: server.table.entry("m").live is None)
        with server.ask(TEXT) as other:
            refused = Answer(other)
            assert refused.status == 503
            refused.close()
        session.allow(1)
        assert next(events)["finish_reason"] == "length"
        answer.close()
        unloading.join(30)
    assert session._closed


def test_what_is_open_is_counted_while_a_version_is_changed_in_place(serve):
    session, second = Words(), Words()
    server = serve(session, held=True)
    with server.ask(TEXT, "generate_stream", max_tokens=2) as sock:
        session.allow(1)
        answer = Answer(sock)
        events = answer.events()
        next(events)
        loading._engine(server.served)[0].session = second
        changed = replace(server.served, batching=Batching(max_queue_size=7))
        apply = server.table.apply(ServedList(2, (changed,)))
        applying = threading.Thread(target=server.wait, args=(apply,))
        applying.start()
        server.until(lambda: server.table.resolve("m").served.batching.max_queue_size == 7)
        assert server.numbers().open == 1
        session.allow(1)
        assert next(events)["finish_reason"] == "length"
        answer.close()
        applying.join(30)
    assert session._closed
    assert server.numbers().open == 0


def test_a_model_that_is_taken_away_tells_who_reads(serve):
    session = Words()
    server = serve(session, held=True)
    live = server.call(lambda: server.table.resolve("m"))
    with server.ask(TEXT, "generate_stream") as sock:
        session.allow(1)
        answer = Answer(sock)
        events = answer.events()
        assert next(events)["text_output"] == "one "
        assert server.wait(live.generations.drain(0.05))
        assert "unloaded" in next(events)["error"]
        assert list(events) == []
        answer.close()
    assert server.numbers().ends[End.UNLOADED] == 1


def test_an_engine_that_closes_by_itself_is_told_of(serve):
    session = Words()
    server = serve(session, held=True)
    with server.ask(TEXT) as sock:
        server.until(lambda: session.open == 1)
        session.close()
        answer = Answer(sock)
        assert answer.status == 503
        answer.close()


def test_what_means_nothing_to_it_is_said_in_the_index(serve):
    server = serve(batching=Batching(latency_goal_ms=50, priority_levels=3))
    with server.connect() as sock:
        sock.sendall(b"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        answer = Answer(sock)
        [told] = answer.json()
        assert told["state"] == "READY"
        assert "only max_queue_size and timeout_ms" in told["reason"]
        answer.close()


# -- what is counted


def test_numbers(serve):
    session = Words()
    server = serve(session)
    before = server.requests()
    for tokens in (1, 3):
        with server.ask(TEXT, max_tokens=tokens) as sock:
            answer = Answer(sock)
            assert answer.json()
            answer.close()
    found = server.numbers()
    assert (found.tokens_in, found.tokens_out, found.open) == (6, 4, 0)
    assert found.ends[End.LENGTH] == 2
    assert found.first.count == 2
    assert found.further.count == 2
    now = server.requests()
    assert now.outcomes[Outcome.SUCCESS] - before.outcomes[Outcome.SUCCESS] == 2
    assert now.stages[Stage.TOTAL].count - before.stages[Stage.TOTAL].count == 2
    assert now.last_ms > 0
    with server.connect() as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = Answer(sock)
        text = answer._file.read(int(answer.headers["content-length"])).decode()
        answer.close()
    pairs = 'model="m",version="1.0.0"'
    assert f'modelworks_generations_total{{{pairs},end="length"}} 2' in text
    assert f'modelworks_generation_tokens_total{{{pairs},direction="out"}} 4' in text
    assert f"modelworks_time_to_first_token_seconds_count{{{pairs}}} 2" in text
    assert f"modelworks_time_between_tokens_seconds_count{{{pairs}}} 2" in text


def test_many_at_once_and_nothing_is_left(serve):
    """Three hundred streams; every third client leaves in the middle."""
    session = Words(most=300)
    server = serve(session, held=True, limits=LIMITS)
    socks = [server.ask(TEXT, "generate_stream", max_tokens=6) for _ in range(300)]
    server.until(lambda: session.open == 300)
    session.allow(3)
    server.until(lambda: server.numbers().tokens_out == 900)
    for sock in socks[::3]:
        sock.close()
    server.until(lambda: session.cancelled == 100)
    session.allow(3)
    for place, sock in enumerate(socks):
        if place % 3:
            with sock:
                answer = Answer(sock)
                text = "".join(one["text_output"] for one in answer.events())
                assert text == "one two three " * 2
                answer.close()
    server.settled()
    found = server.numbers()
    assert found.ends[End.LENGTH] == 200
    assert found.ends[End.LEFT] == 100
    live = server.call(lambda: server.table.resolve("m"))
    assert not live.generations
    assert not live.busy


def test_a_list_without_it_takes_it_away(serve):
    server = serve()
    server.wait(server.table.apply(ServedList(2, ())))
    with server.ask(TEXT) as sock:
        answer = Answer(sock)
        assert answer.status == 404
        answer.close()
