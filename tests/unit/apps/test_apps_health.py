"""The health check of an image: what it says of servers that are well, ill and not there."""

import socket
import threading

import pytest

from modelworks.apps import health

pytestmark = pytest.mark.unit


@pytest.fixture
def answering():
    """A server that says one thing to everybody; its port."""
    listening = []

    def start(answer):
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def run():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(1000)
                    client.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        return server.getsockname()[1]

    yield start
    for server in listening:
        server.close()


def test_ready(answering):
    assert health.ready("0.0.0.0", answering(b"HTTP/1.1 200 OK\r\n\r\n")) == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "not ready: HTTP/1.1 503"),
        (b"", "not ready: no answer"),
    ],
)
def test_not_ready(answering, answer, words):
    assert words in health.ready("127.0.0.1", answering(answer))


def test_nobody_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "does not answer" in health.ready("127.0.0.1", taken.getsockname()[1])


def test_it_reads_what_the_server_reads(answering, monkeypatch, capsys):
    monkeypatch.setenv("MODELWORKS_SERVER_HOST", "0.0.0.0")
    monkeypatch.setenv("MODELWORKS_SERVER_PORT", str(answering(b"HTTP/1.1 200 OK\r\n\r\n")))
    assert health.main() == 0
    monkeypatch.setenv("MODELWORKS_SERVER_PORT", str(answering(b"HTTP/1.1 503 X\r\n\r\n")))
    assert health.main() == 1
    assert "503" in capsys.readouterr().err
