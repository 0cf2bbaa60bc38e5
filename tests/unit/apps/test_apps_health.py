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

    def start(answer, path=None):
        if path is None:
            server = socket.create_server(("127.0.0.1", 0))
        else:
            server = socket.create_server(str(path), family=socket.AF_UNIX)
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
        return None if path else server.getsockname()[1]

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


def test_a_socket_of_its_own_is_asked_in_place_of_a_port_that_others_share(
    answering, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("MODELWORKS_SERVER_PORT", str(answering(b"HTTP/1.1 200 OK\r\n\r\n")))
    monkeypatch.setenv("MODELWORKS_SERVER_UNIX", str(tmp_path / "s"))
    assert health.main() == 1
    assert f"{tmp_path / 's'} does not answer" in capsys.readouterr().err
    answering(b"HTTP/1.1 200 OK\r\n\r\n", tmp_path / "s")
    assert health.main() == 0
    answering(b"HTTP/1.1 503 Loading\r\n\r\n", tmp_path / "t")
    monkeypatch.setenv("MODELWORKS_SERVER_UNIX", str(tmp_path / "t"))
    assert health.main() == 1
    assert "503 Loading" in capsys.readouterr().err
