"""HTTP as it goes wrong: every way ends in one of our errors, within its time."""

import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.client.data import DataPlane, model_path, plain_rows
from modelworks.client.wire import Wire, problem
from modelworks.core import errors
from modelworks.core.reference import parse_ref

pytestmark = pytest.mark.unit


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """A server that answers every connection with the same bytes."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.1)
    raw: list[bytes] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                peer, _ = listening.accept()
            except TimeoutError:
                continue
            with peer:
                peer.settimeout(5)
                peer.recv(65536)
                peer.sendall(raw[0])
                if not raw[0]:
                    stop.wait(5)

    thread = threading.Thread(target=run)
    thread.start()

    def begin(answer: bytes) -> str:
        raw.append(answer)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield begin
    stop.set()
    thread.join(timeout=10)
    listening.close()


def _http(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_a_good_answer(answering):
    wire = Wire(answering(_http(200, b'{"a": 1}')), "server", "start it")
    assert wire.json("GET", "/") == {"a": 1}


def test_an_empty_answer_is_none(answering):
    assert Wire(answering(_http(204, b"")), "server", "start it").json("DELETE", "/") is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (_http(200, b"<html>"), errors.CrashedError),
        (_http(500, b"oops"), errors.CrashedError),
        (_http(404, b'{"error": "no model"}'), errors.NotFoundError),
        (_http(400, b"[]"), errors.InvalidError),
        (_http(302, b"", "Location: http://127.0.0.1:1/"), errors.CrashedError),
        (b"not http at all\r\n\r\n", errors.UnavailableError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", errors.UnavailableError),
    ],
)
def test_bad_answers(answering, answer, kind):
    with pytest.raises(kind) as caught:
        Wire(answering(answer), "server", "start it").json("GET", "/")
    assert type(caught.value) is kind


def test_silence_ends_at_the_deadline(answering):
    with pytest.raises(errors.DeadlineError, match=r"0\.2 s"):
        Wire(answering(b""), "server", "start it").json("GET", "/", seconds=0.2)


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "file:///etc/passwd", "http:///x"])
def test_no_url(url):
    with pytest.raises(errors.InvalidError) as caught:
        Wire(url, "server", "start it")
    assert caught.value.field == "url"


def test_a_bare_address_is_http():
    assert Wire("127.0.0.1:8000", "server", "x").url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.UnauthenticatedError),
        (403, errors.ForbiddenError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (413, errors.InvalidError),
        (501, errors.UnsupportedError),
        (503, errors.UnavailableError),
        (504, errors.DeadlineError),
        (500, errors.CrashedError),
    ],
)
def test_a_status_alone_is_an_error(status, kind):
    error = problem(status, b"", {"Retry-After": "7"}, "server")
    assert type(error) is kind
    assert str(status) in error.message
    if isinstance(error, errors.UnavailableError):
        assert error.retry_after == 7


@pytest.mark.parametrize(
    "kind",
    [
        errors.InvalidError,
        errors.RefusedError,
        errors.UnauthenticatedError,
        errors.ForbiddenError,
        errors.NotFoundError,
        errors.ConflictError,
        errors.UnsupportedError,
        errors.UnavailableError,
        errors.DeadlineError,
        errors.CorruptError,
        errors.CrashedError,
    ],
)
def test_the_word_decides_over_the_status(kind):
    body = json.dumps({"detail": "why", "kind": kind.__name__, "field": "f"}).encode()
    error = problem(418, body, {}, "server")
    assert type(error) is kind
    assert (error.message, error.field) == ("why", "f")


def test_a_missing_library_on_the_other_side_keeps_its_words():
    body = json.dumps(
        {"detail": "needs it", "kind": "MissingExtraError", "extra": "torch", "missing": "torch"}
    )
    error = problem(501, body.encode(), {}, "server")
    assert isinstance(error, errors.MissingExtraError)
    assert (str(error), error.message, error.extra) == ("needs it", "needs it", "torch")


@given(st.integers(300, 599), st.binary() | st.builds(lambda v: json.dumps(v).encode(), st.none()))
def test_any_answer_is_an_error_in_one_line(status, body):
    error = problem(status, body, {"Retry-After": "soon"}, "server")
    assert isinstance(error, errors.ModelworksError)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("fraud", "fraud"),
        ("fraud@champion", "fraud@champion"),
        ("fraud:1.4.0", "fraud/versions/1.4.0"),
    ],
)
def test_model_paths(text, path):
    assert model_path(parse_ref(text)) == path


def test_plain_rows_of_frames_and_arrays():
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, float("nan")]})
    assert plain_rows(frame) == [{"a": 1, "b": "x", "c": 1.5}, {"a": 2, "b": None, "c": None}]
    assert plain_rows(np.eye(2, dtype=np.float32)) == [[1.0, 0.0], [0.0, 1.0]]
    assert plain_rows([{"a": np.int64(3), "b": b"t", "c": pd.NA}]) == [
        {"a": 3, "b": "t", "c": None}
    ]
    assert plain_rows({"a": True}) == [{"a": True}]
    json.dumps(plain_rows(frame.assign(d=pd.Timestamp("2026-01-01"))))


@pytest.mark.parametrize("rows", [None, 3, "text", object()])
def test_what_is_no_rows(rows):
    with pytest.raises(errors.InvalidError) as caught:
        plain_rows(rows)
    assert caught.value.field == "rows"


TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1]}
OUTPUT = {"name": "y", "datatype": "INT16", "shape": [2], "parameters": {"binary_data_size": 4}}


def _tensors(**answer: object) -> bytes:
    """A server whose every answer is the model's metadata too."""
    return json.dumps({"inputs": [TENSOR], **answer}).encode()


def test_tensors_go_and_come_back(answering):
    head = _tensors(model_name="m", outputs=[{**TENSOR, "shape": [1], "data": [1.5]}])
    plane = DataPlane(answering(_http(200, head)))
    assert plane.infer("m", {"x": [1.0]})["x"].tolist() == [1.5]
    plane.close()


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (_tensors(), ()),
        (_tensors(outputs=[{**TENSOR, "data": [1]}]), ()),
        (_tensors(model_name="m", outputs=[OUTPUT]), ()),
        (_tensors(model_name="m", outputs=[]), ("Inference-Header-Content-Length: 9999",)),
        (_tensors(model_name="m", outputs=[]), ("Inference-Header-Content-Length: many",)),
        (_tensors(model_name="m", outputs=[]), ("Inference-Header-Content-Length: -1",)),
    ],
)
def test_what_is_no_inference_answer_is_not_the_callers_fault(answering, body, header):
    plane = DataPlane(answering(_http(200, body, *header)))
    with pytest.raises(errors.CrashedError, match="no inference answer"):
        plane.infer("m", {"x": [1.0]})
    plane.close()


def test_ready_is_false_where_nobody_listens():
    plane = DataPlane("http://127.0.0.1:9")
    assert plane.ready() is False
    assert plane.ready("fraud") is False
