"""Unix sockets: rights, stale paths, two servers, the path's end."""

import contextlib
import fcntl
import os
import socket
import stat
import threading

import pytest

from edge_served import SMALL, Served, read_all
from exchanges.kinds import GET
from modelworks.core.errors import ConflictError, InvalidError
from modelworks.edge import unix
from modelworks.edge.unix import listen_unix

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.sock"


@pytest.fixture
def listen():
    with contextlib.ExitStack() as stack:

        def start(path, mode=0o600):
            found = listen_unix(path, mode, 8)
            stack.callback(found.sock.close)
            return found

        yield start


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(str(path))
    return sock


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_rights(listen, path, mode):
    old = os.umask(0o077)
    try:
        listen(path, mode)
    finally:
        os.umask(old)
    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == mode


def test_a_stale_path_is_replaced(listen, path):
    listen_unix(path, 0o600, 8).sock.close()  # as after a kill
    assert path.exists()
    listen(path)
    connect(path).close()


def test_a_path_that_somebody_listens_on_is_left_alone(listen, path):
    listen(path)
    with pytest.raises(ConflictError, match="another program listens") as caught:
        listen(path)
    assert caught.value.field == "unix"
    connect(path).close()


def test_a_file_is_left_alone(listen, path):
    path.write_text("mine")
    with pytest.raises(ConflictError, match="is no socket"):
        listen(path)
    assert path.read_text() == "mine"


def test_a_link_is_left_alone(listen, path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConflictError):
        listen(path)


def test_too_long_a_path(listen, tmp_path):
    with pytest.raises(InvalidError, match="107 bytes"):
        listen(tmp_path / ("x" * 120))


def test_no_such_folder(listen, tmp_path):
    with pytest.raises(InvalidError, match="cannot listen"):
        listen(tmp_path / "none" / "s.sock")


def test_one_of_many_that_start_at_once_wins(path):
    listen_unix(path, 0o600, 8).sock.close()
    won, lost = [], []

    def start():
        try:
            won.append(listen_unix(path, 0o600, 8))
        except ConflictError:
            lost.append(1)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(won), len(lost)) == (1, 7)
    connect(path).close()
    won[0].sock.close()


def test_a_lock_that_somebody_keeps_is_not_waited_for(listen, path, monkeypatch):
    monkeypatch.setattr(unix, "_LOCK_S", 0.1)
    handle = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    listen(path)
    os.close(handle)


def test_the_path_is_removed_by_who_made_it(listen, path):
    first = listen(path)
    first.remove()
    first.remove()
    assert not path.exists()
    second = listen(path)
    first.remove()  # not its own any more
    assert path.exists()
    second.remove()


class OnPath(Served):
    def __init__(self, sock, path) -> None:
        super().__init__(SMALL)
        self.sock, self.path = sock, path

    def bound(self):
        return self.sock

    def connect(self):
        return connect(self.path)


def test_requests_and_a_drain(path):
    made = listen_unix(path, 0o600, 8)
    with OnPath(made.sock, path) as served:
        assert served.talk(GET + b"\r\n").endswith(b"GET /ok? ")
        with served.connect() as busy, served.connect() as idle:
            busy.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            served.until(lambda: served.held)
            made.remove()
            served.loop.call_soon_threadsafe(
                lambda: served.loop.call_later(
                    0.2, served.held[0].reply, 200, b"late", b"text/plain"
                )
            )
            served.drain(5)
            assert read_all(busy).endswith(b"late")
            assert read_all(idle) == b""
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(FileNotFoundError):
            late.connect(str(path))
